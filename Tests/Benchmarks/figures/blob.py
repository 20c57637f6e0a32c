"""Blobs, in CPU a byte, against a tuned nginx that serves the same bytes."""
import contextlib
import os
import time

from support import data, peers, process, server
from support.table import Row, median

PARALLEL = 4


def _download(pid, url, count, size, *options):
    """The server's CPU in seconds for each GB."""
    before = process.cpu_seconds(pid)
    output = process.run(
        "curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-immediate", "--parallel-max",
        str(PARALLEL), "--write-out", "%{size_download}\n", *options,
        *[argument for _ in range(count) for argument in (url, "--output", "/dev/null")])[0]
    cpu = process.cpu_seconds(pid) - before
    received = sum(map(int, output.split()))
    if received != count * size:
        raise process.Failed(f"{received} bytes came from {url} instead of {count * size}")
    return cpu / received * 1e9


def _uses_sendfile(bench, cistern, url, options):
    """Whether strace sees a download leave by sendfile and nothing of its size by another way."""
    log = os.path.join(bench.work, "strace")
    with process.running("strace", "-q", "-f", "-c", "-o", log, "-p", str(cistern.pid)) as tracer:
        process.wait_for(lambda: _is_traced(cistern.pid), 10, "strace is attached")
        _download(cistern.pid, url, 1, cistern.blob_size, *options)
        tracer.send_signal(2)
        tracer.wait(timeout=20)
    with open(log, encoding="utf-8") as file:
        calls = {line.split()[-1]: int(line.split()[3]) for line in file if line.strip()[:1].isdigit()}
    return calls.get("sendfile", calls.get("sendfile64", 0)), calls.get("pread64", 0)


def _is_traced(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return "TracerPid:\t0\n" not in file.read()


def measure(bench):
    droplet = bench.droplet()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(bench.directory("blob"))
        cistern = stack.enter_context(server.serve(bench.programs, os.path.join(work, "data")))
        cistern.import_rootfs(bench.programs, work)
        tag = cistern.upload("app", data.Variant(droplet, 0))["sha256"]
        layer = cistern.manifest("app", tag)[1]["layers"][-1]
        size = cistern.blob_size = layer["size"]
        path = f"/v2/cloudfoundry/app/blobs/{layer['digest']}"
        ours = ("--header", "Authorization: " + cistern.authorization("pull"))
        tls = ("--http1.1", "--insecure", "--tls13-ciphers", peers.CIPHER)
        plain_url = f"http://127.0.0.1:{cistern.plain_port}{path}"

        root = os.path.join(work, "root")
        os.mkdir(root)
        process.run("curl", "--silent", "--fail", *ours, plain_url, "--output", os.path.join(root, "blob"))
        nginx, plain_port, tls_port = stack.enter_context(peers.nginx(os.path.join(work, "nginx"), root))

        rows = []
        # Enough bytes for a round to take tens of the clock's ticks.
        for name, amount, ours_url, their_url, options, target in [
            ("without TLS", bench.scaled(25e9, 2e9), plain_url, f"http://127.0.0.1:{plain_port}/blob", (), 1.0),
            ("with TLS", bench.scaled(6e9, 1e9), f"https://127.0.0.1:{cistern.tls_port}{path}",
             f"https://127.0.0.1:{tls_port}/blob", tls, 1.1),
        ]:
            # Both have sent the file before they are measured.
            _download(cistern.pid, ours_url, PARALLEL, size, *ours, *options)
            _download(nginx.pid, their_url, PARALLEL, size, *options)
            costs, others = [], []
            rounds = bench.rounds(5)
            share = max(PARALLEL, int(amount / rounds / size))
            for _ in range(rounds):
                costs.append(_download(cistern.pid, ours_url, share, size, *ours, *options))
                others.append(_download(nginx.pid, their_url, share, size, *options))
            ratio = median(one / other for one, other in zip(costs, others) if other)
            rows.append(Row(
                f"CPU {name}", f"{median(costs):.3f} s/GB", f"{median(others):.3f} s/GB  nginx", ratio, target))
        sendfiles, reads = _uses_sendfile(bench, cistern, plain_url, ours)
        if sendfiles == 0:
            raise process.Failed("no sendfile was seen while a blob was downloaded without TLS")
        rows.append(Row("calls of one download without TLS", f"{sendfiles} sendfile, {reads} pread"))
    return f"blob of {size / 1e6:.0f} MB, {PARALLEL} downloads at a time", rows
