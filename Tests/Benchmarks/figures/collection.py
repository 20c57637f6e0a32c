"""Garbage collection over many small blobs, and what clients notice of it."""
import http.client
import json
import os
import shutil
import threading
import time

from figures.manifest import load
from support import data, process, server
from support.table import Row, median

PASSWORD = "operator"
REPOSITORIES = (40_000, 800)


def _filled(bench, blobs, repositories):
    """A data directory with so many repositories, kept for later runs; a tenth of the blobs is garbage."""
    target = os.path.join(data.cache(), f"registry-{blobs}")

    def fill(what):
        process.run(
            bench.programs.fill_store, what, os.path.join(target, "store"), blobs, repositories, timeout=1500)

    if not os.path.exists(os.path.join(target, "stamp")):
        shutil.rmtree(target, ignore_errors=True)
        with server.serve(bench.programs, target):
            pass
        fill("repositories")
        with open(os.path.join(target, "stamp"), "w", encoding="utf-8"):
            pass
    else:
        fill("garbage")
    return target


def _collect(cistern, query=""):
    connection = http.client.HTTPConnection("127.0.0.1", cistern.plain_port, timeout=600)
    headers = {"Authorization": cistern.authorization(PASSWORD)}

    def ask(method, path, status):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != status:
            raise process.Failed(f"{method} {path} was answered {answer.status}: {body[:300]!r}")
        return json.loads(body)

    start = time.monotonic()
    operation = ask("POST", "/api/v1/gc" + query, 202)
    while operation["state"] == "running":
        time.sleep(0.02)
        operation = ask("GET", f"/api/v1/operations/{operation['id']}", 200)
    if operation["state"] != "done":
        raise process.Failed(f"the collection is {operation['state']}: {operation['failure']}")
    return time.monotonic() - start, operation["report"]["retired"]


def _round(bench, target, is_warm):
    """One collection, after a dry run or not: its seconds, those of the dry run, the peak of memory, and manifests a
    second without it, before and after, and meanwhile."""
    with server.serve(bench.programs, target, "--gc-interval-seconds", "0") as cistern:
        header = "Authorization: " + cistern.authorization("pull")
        url = f"http://127.0.0.1:{cistern.plain_port}/v2/bench/r0/manifests/1"

        def rates():
            return [load(cistern.pid, url, 2, header)[1] for _ in range(bench.rounds(4))]

        alone = rates()
        dry = _collect(cistern, "?dry-run=true")[0] if is_warm else None
        meanwhile, took = [], []
        worker = threading.Thread(target=lambda: took.append(_collect(cistern)))
        worker.start()
        while worker.is_alive():
            meanwhile.append(load(cistern.pid, url, 2, header)[1])
        worker.join()
        alone += rates()
        seconds, retired = took[0]
        if retired < bench.scaled(*REPOSITORIES):
            raise process.Failed(f"only {retired} blobs were collected")
        return seconds, dry, cistern.peak_mib, median(alone), median(meanwhile[:-1] or meanwhile)


def measure(bench):
    blobs, repositories = bench.scaled(1_000_000, 20_000), bench.scaled(*REPOSITORIES)
    rows = []
    # As the first collection of all, or the first after what the last one wrote down was lost: it reads everything.
    target = _filled(bench, blobs, repositories)
    shutil.rmtree(os.path.join(target, "store", "objects", "collection"), ignore_errors=True)
    all_read, _, _, alone, meanwhile = _round(bench, target, False)
    share = 100 * meanwhile / alone
    for is_warm in (False, True):
        # What was not read for long is read from the disk, which costs more than all the rest.
        when = "after a dry run" if is_warm else "first after a start"
        results = [_round(bench, _filled(bench, blobs, repositories), is_warm) for _ in range(bench.rounds(3))]
        seconds, dry, peak, alone, meanwhile = zip(*results)
        time = median(seconds)
        loss = median(without / with_it for without, with_it in zip(alone, meanwhile))
        rows += [
            Row(f"time, {when}, while manifests are served ({min(seconds):.0f} to {max(seconds):.0f} s)",
                f"{time:.1f} s", "60 s", time / 60, 1),
            Row("manifests a second meanwhile", f"{median(meanwhile):,.0f}/s", f"{median(alone):,.0f}/s  without it",
                loss, 1.25),
            Row("memory at the peak", f"{max(peak):.0f} MiB", "256 MiB", max(peak) / 256, 1),
        ]
    return f"garbage collection over {blobs:,} blobs of {repositories:,} repositories, a tenth garbage", rows + [
        Row("time of a dry run alone, first after a start", f"{median(dry):.1f} s"),
        Row(f"time of one that reads every repository; manifests keep {share:.0f} %", f"{all_read:.1f} s")]
