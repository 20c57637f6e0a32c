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
    start = time.monotonic()
    connection.request("POST", "/api/v1/gc" + query, headers={"Authorization": cistern.authorization(PASSWORD)})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise process.Failed(f"the collection was answered {answer.status}: {body[:300]!r}")
    return time.monotonic() - start, json.loads(body)["retired"]


def measure(bench):
    blobs = bench.scaled(1_000_000, 20_000)
    repositories = bench.scaled(40_000, 800)
    target = _filled(bench, blobs, repositories)
    with server.serve(bench.programs, target, "--gc-interval-seconds", "0") as cistern:
        header = "Authorization: " + cistern.authorization("pull")
        url = f"http://127.0.0.1:{cistern.plain_port}/v2/bench/r0/manifests/1"
        before = load(cistern.pid, url, bench.scaled(5, 2), header)[1]
        dry, _ = _collect(cistern, "?dry-run=true")
        rates, took = [], []
        worker = threading.Thread(target=lambda: took.append(_collect(cistern)))
        worker.start()
        while worker.is_alive():
            rates.append(load(cistern.pid, url, 2, header)[1])
        worker.join()
        peak = cistern.peak_mib
    seconds, retired = took[0]
    if retired < repositories:
        raise process.Failed(f"only {retired} blobs were collected")
    rate = median(rates[:-1] or rates)
    return f"garbage collection over {blobs:,} blobs of {repositories:,} repositories, a tenth garbage", [
        Row(f"time, {retired:,} blobs go, manifests are served", f"{seconds:.1f} s", "60 s", seconds / 60, 1),
        Row("time of a dry run alone", f"{dry:.1f} s"),
        Row("memory at the peak", f"{peak:.0f} MiB", "256 MiB", peak / 256, 1),
        Row("manifests a second meanwhile", f"{rate:,.0f}/s", f"{before:,.0f}/s  without it", before / rate, 1.25),
    ]
