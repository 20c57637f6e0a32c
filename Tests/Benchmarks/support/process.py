"""Programs started, measured and ended by their own process id."""
import contextlib
import ctypes
import os
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A program that a measurement needs did not do its part."""


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(arguments, **options):
    return subprocess.Popen(
        [str(argument) for argument in arguments], preexec_fn=_die_with_parent, **options)


class Cost:
    """What a program used: seconds of CPU (user and system) and of time."""

    def __init__(self, cpu, wall):
        self.cpu, self.wall = cpu, wall

    def __add__(self, other):
        return Cost(self.cpu + other.cpu, self.wall + other.wall)


def run(*arguments, timeout=300, **options):
    """Runs a program to its end and returns its output and cost."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    before, start = os.times(), time.monotonic()
    process = _start(arguments, **options)
    try:
        output, errors = process.communicate(timeout=timeout)
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Failed(f"{arguments[0]} took more than {timeout} s") from error
        raise
    after = os.times()
    if process.returncode != 0:
        text = (errors or b"").decode(errors="replace").strip()
        raise Failed(f"{' '.join(map(str, arguments[:4]))} … failed ({process.returncode}): {text[-600:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return (output or b"").decode(errors="replace"), Cost(cpu, time.monotonic() - start)


@contextlib.contextmanager
def running(*arguments, **options):
    """A server for as long as the block lasts; ended by SIGTERM, and by SIGKILL if that takes over 20 s."""
    process = _start(arguments, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stat_cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(child) for child in file.read().split()]


def cpu_seconds(pid):
    """User and system time so far of a process and of its children that run now."""
    return sum(_stat_cpu(process) for process in [pid, *children(pid)])


def status_kib(pid, field):
    """A size in /proc/PID/status, such as VmHWM, in KiB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise Failed(f"process {pid} has no {field}")


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise Failed(f"not within {seconds} s: {what}")
