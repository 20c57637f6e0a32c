"""A blob's push, in time, beside the least that taking it costs."""
import hashlib
import os
import socket
import time

from support import process, server
from support.server import free_port
from support.table import Row, median


def _blob(work, size):
    """A file of noise, the same in every run, and its digest."""
    path, digest, block = os.path.join(work, "blob"), hashlib.sha256(), hashlib.sha256(b"blob").digest() * 32768
    with open(path, "wb") as file:
        for index in range(size // len(block)):
            piece = index.to_bytes(8, "big") + block[8:]
            digest.update(piece)
            file.write(piece)
    return path, f"sha256:{digest.hexdigest()}"


def _send(port, path, head=b"", seconds=120):
    """Seconds from the first byte sent until something is answered, and the answer's beginning."""
    with open(path, "rb") as file, socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        start = time.monotonic()
        connection.sendall(head)
        connection.sendfile(file)
        answer = connection.recv(4096)
        return time.monotonic() - start, answer


def _least(bench, work, path):
    port = free_port()
    program = bench.tool("receive", "-lcrypto")
    # A file of its own each time, as ours: what is written over has its memory at hand.
    received = os.path.join(work, f"received-{port}")
    with process.running(program, port, os.path.getsize(path), received):
        process.wait_for(lambda: _listens(port), 10, "receive listens")
        seconds = _send(port, path)[0]
    os.unlink(received)
    return seconds


def _listens(port):
    """Whether somebody listens, without taking the one connection that there is."""
    wanted = f"0100007F:{port:04X}"
    with open("/proc/net/tcp", encoding="utf-8") as file:
        return any(line.split()[1] == wanted and line.split()[3] == "0A" for line in list(file)[1:])


def measure(bench):
    size = bench.scaled(1 << 30, 128 << 20)
    ours, least = [], []
    with bench.directory("push") as work, server.serve(bench.programs, os.path.join(work, "data")) as cistern:
        path, digest = _blob(work, size)
        authorization = cistern.authorization("operator")
        for index in range(bench.rounds(6)):
            # Another repository's blob of the same digest is taken in full too: nothing is known before it is here.
            head = (
                f"POST /v2/push/r{index}/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: bench\r\n"
                f"Authorization: {authorization}\r\nContent-Length: {os.path.getsize(path)}\r\n\r\n").encode()
            # In turns: the second one finds memory that the first one gave back.
            if index % 2:
                least.append(_least(bench, work, path))
            seconds, answer = _send(cistern.plain_port, path, head)
            if not answer.startswith(b"HTTP/1.1 201"):
                raise process.Failed(f"the push was answered {answer[:100]!r}")
            ours.append(seconds)
            if not index % 2:
                least.append(_least(bench, work, path))
    ratio = median(ours) / median(least)
    return f"push of a blob of {size >> 20} MiB in one request, no TLS", [
        Row("time", f"{median(ours):.2f} s", f"{median(least):.2f} s  receive, SHA-256, write, fsync in C", ratio, 1.25),
    ]
