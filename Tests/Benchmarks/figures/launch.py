"""What `launch` adds to the program it starts, and how large it is."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from support import process  # noqa: E402
from support.table import Row, median  # noqa: E402

SHELL = "/bin/sh"


def measure(bench):
    launch = bench.programs.launch
    # An app lies in /home/vcap/app; a mount namespace has one without touching this machine's.
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    pairs = bench.scaled(600, 100)
    output, _ = process.run(*own, sys.executable, "-B", __file__, launch, pairs)
    times = json.loads(output)
    rows = []
    for name, script in [("sh -c true", "bare"), ("the same, with a script in .profile.d", "profile")]:
        alone, through = zip(*times[script])
        extra = median(after - before for before, after in times[script]) * 1000
        rows.append(Row(
            f"adds to {name}" if not rows else name, f"{median(through) * 1000:.2f} ms",
            f"{median(alone) * 1000:.2f} ms  alone", extra, 2 if not rows else None, " ms"))
    size = os.path.getsize(launch) / 1e6
    return f"launch ({pairs} pairs)", rows + [Row("size", f"{size:.2f} MB", "8 MB", size / 8, 1)]


def _seconds(arguments):
    start = time.perf_counter()
    child = os.posix_spawn(arguments[0], arguments, {"PATH": "/usr/bin:/bin"})
    _, status = os.waitpid(child, 0)
    if status != 0:
        sys.exit(f"{' '.join(arguments)} ended with status {status}")
    return time.perf_counter() - start


def _pairs(launch, count):
    """The seconds of the shell alone and through `launch`; each goes first half of the time."""
    times = []
    for number in range(count):
        commands = [[SHELL, "-c", "true"], [launch, SHELL, "-c", "true"]]
        order = [0, 1] if number % 2 else [1, 0]
        pair = [0.0, 0.0]
        for index in order:
            pair[index] = _seconds(commands[index])
        times.append(pair)
    return times


def _main(launch, count):
    with open(launch, "rb") as file:
        program = file.read()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/home"], check=True)
    launch = "/home/launch"
    with open(launch, "wb") as file:
        file.write(program)
    os.chmod(launch, 0o755)
    os.makedirs("/home/vcap/app/.profile.d")
    bare = _pairs(launch, count)
    with open("/home/vcap/app/.profile.d/one.sh", "w", encoding="utf-8") as file:
        file.write("export ONE=1\n")
    print(json.dumps({"bare": bare, "profile": _pairs(launch, count)}))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
