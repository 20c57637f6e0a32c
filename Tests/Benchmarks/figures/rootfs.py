"""A root filesystem's import, its promotion under many droplets, and the delta between two versions."""
import hashlib
import json
import os
import time

from figures.conversion import limit, printed_cost
from figures.startup import filled
from support import data, peers, process, server
from support.table import Row, median

CONNECTIONS = 16
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def measure(bench):
    size = bench.scaled(300_000_000, 60_000_000)
    old, new = (data.large_rootfs(size, version) for version in (1, 2))
    count = bench.scaled(40_000, 4_000)
    return f"a rootfs ({size / 1e6:.0f} MB unpacked)", [
        *_conversion(bench, old), *_delta(bench, old, new), *_rotation(bench, count), *_rebase(bench, count)]


def _conversion(bench, rootfs):
    costs, limits = [], []
    for _ in range(bench.rounds(5)):
        limits.append(limit(bench, rootfs))
        costs.append(printed_cost(process.run(bench.programs.conversion, rootfs, "gzip", "rootfs")[0]))
    cpu, wall = (median(getattr(cost, name) for cost in costs) for name in ("cpu", "wall"))
    least, least_wall = (median(getattr(cost, name) for cost in limits) for name in ("cpu", "wall"))
    cpu_ratio, wall_ratio = (
        median(getattr(ours, name) / getattr(other, name) for ours, other in zip(costs, limits))
        for name in ("cpu", "wall"))
    return [
        Row("conversion, CPU", f"{cpu:.2f} s", f"{least:.2f} s  ISA-L and SHA-256 in C", cpu_ratio, 1.25),
        Row("conversion, wall time", f"{wall:.2f} s", f"{least_wall:.2f} s  the same, one thread", wall_ratio, 1.25),
    ]


def _delta(bench, old, new):
    """Both imports and the delta in one fresh server, so that its peak is that of them all."""
    with bench.directory("delta") as work, server.serve(bench.programs, os.path.join(work, "data")) as cistern:
        start = time.monotonic()
        cistern.take_rootfs(bench.programs, "1", old, promote=True)
        imported = time.monotonic() - start
        cistern.take_rootfs(bench.programs, "2", new)
        start = time.monotonic()
        delta = cistern.operate(f"/api/v1/rootfs/{server.STACK}/2/delta?from=1")
        seconds = time.monotonic() - start
        peak = cistern.peak_mib
    size, whole = delta["layer"]["size"], delta["rootfsSize"]
    return [
        Row("import into a server, with all that it checks", f"{imported:.2f} s"),
        Row("delta, one package upgraded", f"{seconds:.2f} s", "10 s", seconds / 10, 1),
        Row("memory at the peak, imports and delta", f"{peak:.0f} MiB", "256 MiB", peak / 256, 1),
        Row("bytes that a node with the old one fetches", f"{size / 1e6:.1f} MB",
            f"{whole / 1e6:.1f} MB  the new one's layers", size / whole, 0.1),
    ]


def _rotation(bench, count):
    """Promotes a new version in a store with many droplets, then pulls each droplet's manifest by its tag."""
    target = filled(bench, count)
    with bench.directory("rotation") as work:
        paths = os.path.join(work, "paths")
        with open(paths, "w", encoding="utf-8") as file:
            for number in range(1, count + 1):
                # As fill-store names them.
                name = hashlib.sha256(f"droplet {number}".encode()).hexdigest()
                file.write(f"/v2/cloudfoundry/{name[:32]}/manifests/{name}\n")
        with server.serve(bench.programs, target) as cistern:
            version = f"bench-{time.time_ns()}"
            cistern.take_rootfs(bench.programs, version, data.rootfs(work, version))
            times = []
            for name in [version, "1"] * bench.rounds(4) + [version]:
                start = time.monotonic()
                status, answer = cistern.ask(
                    "PUT", f"/api/v1/rootfs/{server.STACK}/current", json.dumps({"version": name}))
                times.append(time.monotonic() - start)
                if status != 200:
                    raise process.Failed(f"the promotion was answered {status}: {answer}")
            # What ran before the promotion was pulled before it: first with nothing in memory, then on the other version.
            passes = []
            for name in ["1", version]:
                cistern.ask("PUT", f"/api/v1/rootfs/{server.STACK}/current", json.dumps({"version": name}))
                before = cistern.cpu
                passes.append((_pull_all(cistern, paths, count), cistern.cpu - before))
            # The store is as it was for the next run.
            cistern.ask("PUT", f"/api/v1/rootfs/{server.STACK}/current", '{"version": "1"}')
            cistern.ask("DELETE", f"/api/v1/rootfs/{server.STACK}/{version}?force=true")
    promotion = median(times) * 1000
    (first, first_cpu), (seconds, cpu) = passes
    return [
        Row(f"promotion, {count:,} droplets", f"{promotion:.1f} ms", "50 ms", promotion / 50, 1),
        Row(f"{count:,} images pulled by tag, first after a start ({first_cpu:.1f} s of CPU)", f"{first:.1f} s"),
        Row(f"{count:,} new images after the promotion ({cpu:.1f} s of CPU)", f"{seconds:.1f} s", "10 s",
            seconds / 10, 1),
    ]


def _pull_all(cistern, paths, count):
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support", "each.lua")
    environment = {**os.environ, "BENCH_PATHS": paths}
    output, cost = process.run(
        "wrk", "-t", "1", "-c", CONNECTIONS, "-d", "300s", "--timeout", "30s", "-s", script, "-H",
        "Accept: " + MANIFEST, "-H", "Authorization: " + cistern.authorization("pull"),
        f"http://127.0.0.1:{cistern.plain_port}", env=environment)
    if f"answered {count}\n" not in output:
        raise process.Failed(f"not every manifest was answered: {output[-300:]}")
    return cost.wall


def _rebase(bench, count):
    """What a rebase of each image costs at a registry that stores images, from a sample."""
    sample = bench.scaled(200, 50)
    with bench.directory("rebase") as work, peers.docker_registry(os.path.join(work, "registry")) as (registry, port):
        images = [peers.RebasedImage(port, f"app-{number}") for number in range(sample)]
        before, start = process.cpu_seconds(registry.pid), time.monotonic()
        for image in images:
            image.rebase()
        seconds = (time.monotonic() - start) / sample * count
        cpu = (process.cpu_seconds(registry.pid) - before) / sample * count
    return [
        Row(f"rebase of {count:,} as crane does it, one by one", "",
            f"{seconds:.0f} s  docker-registry, estimated from {sample}"),
        Row("of that, the registry's CPU alone", "", f"{cpu:.0f} s  estimated"),
    ]
