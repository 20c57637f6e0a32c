"""What `launch` adds to the program it starts, and how large it is."""
import os
import shutil
import time

from support import process
from support.table import Row, median


def _seconds(arguments, environment):
    start = time.perf_counter()
    child = os.posix_spawn(arguments[0], arguments, environment)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise process.Failed(f"{' '.join(arguments)} ended with status {status}")
    return time.perf_counter() - start


def measure(bench):
    shell = shutil.which("sh")
    launch = bench.programs.launch
    with bench.directory("app") as home:
        environment = {"HOME": home, "PATH": "/usr/bin:/bin"}
        alone, through, added = [], [], []
        for number in range(bench.scaled(600, 100)):
            # Each goes first half of the time.
            pair = [[shell, "-c", "true"], [launch, shell, "-c", "true"]]
            if number % 2:
                first = _seconds(pair[0], environment)
                second = _seconds(pair[1], environment)
            else:
                second = _seconds(pair[1], environment)
                first = _seconds(pair[0], environment)
            alone.append(first)
            through.append(second)
            added.append(second - first)
    extra = median(added) * 1000
    size = os.path.getsize(launch) / 1e6
    return "launch", [
        Row("adds to sh -c true", f"{median(through) * 1000:.2f} ms",
            f"{median(alone) * 1000:.2f} ms  alone", extra, 2, " ms"),
        Row("size", f"{size:.2f} MB", "8 MB", size / 8, 1),
    ]
