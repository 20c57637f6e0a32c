"""How the costs grow with the number of droplets, with that of one app's droplets, and of a stack's versions."""
import os
import statistics
import subprocess
import threading
import time

from figures.manifest import load
from figures.startup import filled
from support import data, process, server
from support.table import Row, median

APP = "many"


def _list(bench, cistern):
    """Seconds until the command line printed the first droplet, and until it printed the last one."""
    start = time.monotonic()
    with subprocess.Popen(
            [bench.programs.cistern, "droplet", "list"], env=cistern.environment, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        child.stdout.readline()
        first = time.monotonic() - start
        lines = 2 + sum(1 for _ in child.stdout)
    if child.returncode != 0:
        raise process.Failed(f"droplet list ended with {child.returncode}")
    return first, time.monotonic() - start, lines - 1


def _ready(bench, directory):
    """Seconds from exec to a ready server, and its memory then, in MiB."""
    ready = []
    for _ in range(bench.rounds(5)):
        start = time.monotonic()
        with server.serve(bench.programs, directory) as cistern:
            ready.append(time.monotonic() - start)
            memory = cistern.peak_mib
    return median(ready), memory


def _size(bench, count):
    """What a store with so many droplets costs."""
    directory = filled(bench, count)
    result = {}
    result["ready"], result["memory"] = _ready(bench, directory)
    with server.serve(bench.programs, directory, "--gc-interval-seconds", "0") as cistern:
        tag = os.listdir(os.path.join(directory, "store", "objects", "bits", "droplets", "records", "model"))[0]
        url = f"http://127.0.0.1:{cistern.plain_port}/v2/cloudfoundry/model/manifests/{tag}"
        header = "Authorization: " + cistern.authorization("pull")
        alone = [load(cistern.pid, url, 2, header)[1] for _ in range(bench.rounds(3))]
        meanwhile, took = [], []

        def collect():
            start = time.monotonic()
            cistern.operate("/api/v1/gc")
            took.append(time.monotonic() - start)

        worker = threading.Thread(target=collect)
        worker.start()
        while worker.is_alive():
            meanwhile.append(load(cistern.pid, url, 1, header)[1])
        worker.join()
        if not took:
            raise process.Failed("the collection failed")
        result["collection"] = took[0]
        start = time.monotonic()
        cistern.operate("/api/v1/gc?dry-run=true")
        result["dry run"] = time.monotonic() - start
        # The last of several is over the end of the collection.
        result["share"] = statistics.mean(meanwhile[:-1] or meanwhile) / median(alone)
        before = cistern.cpu
        result["first"], result["list"], listed = _list(bench, cistern)
        result["list cpu"] = cistern.cpu - before
        if listed != count + 1:
            raise process.Failed(f"{listed} of {count + 1} droplets were listed")
        result["peak"] = cistern.peak_mib
    return result


def _cpu(cistern, requests, ask):
    """Milliseconds of the server's CPU for a request."""
    ask(0)
    before = cistern.cpu
    for number in range(1, requests + 1):
        ask(number)
    return (cistern.cpu - before) / requests * 1000


def _wide(bench):
    """What an app with many droplets costs on a stack with many versions, in milliseconds of CPU."""
    droplets, versions = bench.scaled(1000, 100), bench.scaled(200, 20)
    with bench.directory("wide") as work:
        directory = os.path.join(work, "data")
        with server.serve(bench.programs, directory) as cistern:
            cistern.import_rootfs(bench.programs, work)
            tag = cistern.upload("model", data.Variant(data.droplet(66_000_000), 0))["sha256"]
            for version in range(2, versions + 1):
                cistern.take_rootfs(bench.programs, str(version), data.rootfs(work, str(version)), promote=True)
        process.run(bench.programs.fill_store, os.path.join(directory, "store"), "model", droplets, APP)
        with server.serve(bench.programs, directory) as cistern:
            requests = bench.scaled(200, 50)

            def get(path, status):
                def ask(number):
                    found, _ = cistern.ask("GET", path.format(digest=f"sha256:{number:064x}"))
                    if found != status:
                        raise process.Failed(f"GET {path} was answered {found}")
                return ask

            name = f"/v2/cloudfoundry/{APP}"
            return {
                "tag list": _cpu(cistern, requests, get(name + "/tags/list", 200)),
                "unknown digest": _cpu(cistern, requests, get(name + "/manifests/{digest}", 404)),
                "upload": _cpu(
                    cistern, bench.scaled(50, 10), lambda number: cistern.upload(APP, data.Variant(data.small_droplet(), number))),
            }


def measure(bench):
    counts = bench.scaled((4_000, 40_000, 400_000), (400, 4_000))
    results = [_size(bench, count) for count in counts]
    largest = results[-1]

    def row(figure, name, form, limit=None, unit=""):
        shown = " / ".join(form.format(result[name]) for result in results) + unit
        if limit is None:
            return Row(figure, shown)
        return Row(figure, shown, form.format(limit) + unit, largest[name] / limit, 1)

    rows = [
        row("ready", "ready", "{:.3f}", 0.25, " s"),
        row("memory when ready", "memory", "{:.0f}", None, " MiB"),
        row("the first collection", "collection", "{:.1f}", 60, " s"),
        Row("manifests a second meanwhile", " / ".join(f"{100 * result['share']:.0f}" for result in results) + " %",
            "80 %", 0.8 / largest["share"], 1),
        row("a dry run after it, alone", "dry run", "{:.1f}", None, " s"),
        row("droplet list, first row printed", "first", "{:.2f}", None, " s"),
        row("droplet list, all", "list", "{:.1f}", None, " s"),
        row("… the server's CPU", "list cpu", "{:.1f}", None, " s"),
        row("memory at the peak", "peak", "{:.0f}", 256, " MiB"),
    ]
    if os.environ.get("MILLION", "") not in ("", "0"):
        ready, memory = _ready(bench, filled(bench, 1_000_000))
        rows.append(Row("ready with 1,000,000 droplets", f"{ready:.3f} s, {memory:.0f} MiB", "0.250 s", ready / 0.25, 1))
    wide = _wide(bench)
    for name, cost in wide.items():
        rows.append(Row(f"{name}, CPU, {bench.scaled(1000, 100):,} droplets of an app, {bench.scaled(200, 20)} versions",
                        f"{cost:.1f} ms", "5 ms", cost / 5, 1))
    return f"how it grows: {' / '.join(f'{count:,}' for count in counts)} droplets", rows
