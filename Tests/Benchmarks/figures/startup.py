"""From exec to a ready server, with many droplets in its store."""
import os
import shutil
import signal
import time

from support import data, process, server
from support.table import Row, median


def filled(bench, count):
    """A data directory with so many droplets, kept for later runs of the same programs."""
    target = os.path.join(data.cache(), f"store-{count}")
    stamp = os.path.join(target, "stamp")
    programs = " ".join(
        f"{os.path.getsize(program)}-{os.path.getmtime(program):.0f}"
        for program in (bench.programs.cistern, bench.programs.fill_store))
    if os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as file:
            if file.read() == programs:
                return target
    shutil.rmtree(target, ignore_errors=True)
    with server.serve(bench.programs, target) as cistern:
        cistern.import_rootfs(bench.programs, bench.work)
        cistern.upload("model", data.Variant(data.droplet(66_000_000), 0))
    process.run(bench.programs.fill_store, os.path.join(target, "store"), "model", count, timeout=3000)
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(programs)
    return target


def _start(bench, directory, ends_by=signal.SIGTERM):
    """Seconds from exec until /readyz is answered with 200."""
    start = time.monotonic()
    with server.serve(bench.programs, directory) as cistern:
        ready = time.monotonic() - start
        os.kill(cistern.pid, ends_by)
    return ready


def measure(bench):
    count = bench.scaled(40_000, 4_000)
    directory = filled(bench, count)
    _start(bench, directory)
    times = [_start(bench, directory) for _ in range(bench.rounds(9))]
    with bench.directory("empty") as work:
        _start(bench, os.path.join(work, "data"))
        empty = [_start(bench, os.path.join(work, "data")) for _ in range(bench.rounds(9))]
    milliseconds = median(times) * 1000
    return "start", [
        Row(f"ready with {count:,} droplets", f"{milliseconds:.0f} ms", "200 ms", milliseconds / 200, 1),
        Row("ready with none", f"{median(empty) * 1000:.0f} ms"),
    ]
