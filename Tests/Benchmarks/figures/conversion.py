"""A droplet's conversion, against what its parts cost in plain C with nothing in between."""
import os
import re

from support import process
from support.table import Row, median

TITLE = "conversion of a droplet ({size:.0f} MB unpacked)"


def printed_cost(output):
    """From the line that limit.c and ConversionBench print."""
    cpu, wall = (float(re.search(rf"{name} ([\d.]+) s", output).group(1)) for name in ("cpu", "wall"))
    return process.Cost(cpu, wall)


def limit(bench, droplet):
    return printed_cost(process.run(bench.tool("limit", "-lisal", "-lcrypto"), droplet)[0])


def _umoci(bench, droplet):
    """Unpacks the droplet and adds it to an image as a layer, which umoci compresses."""
    with bench.directory("umoci") as work:
        image = os.path.join(work, "image")
        process.run("umoci", "init", "--layout", image)
        process.run("umoci", "new", "--image", f"{image}:bench")
        tar = os.path.join(work, "layer.tar")
        with open(tar, "wb") as file:
            cost = process.run("gzip", "-dc", droplet, stdout=file)[1]
        return cost + process.run("umoci", "raw", "add-layer", "--image", f"{image}:bench", tar)[1]


def _gzip(bench, droplet):
    """What gzip -6 makes of the droplet's tar: its bytes, and what that cost."""
    with bench.directory("gzip") as work:
        tar, layer = os.path.join(work, "tar"), os.path.join(work, "layer")
        with open(tar, "wb") as file:
            cost = process.run("gzip", "-dc", droplet, stdout=file)[1]
        with open(layer, "wb") as file:
            cost += process.run("gzip", "-6nc", tar, stdout=file)[1]
        return os.path.getsize(layer), cost


def _predecessor(bench, droplet):
    with bench.directory("predecessor") as work:
        return process.run(bench.tool("predecessor", "-lz", "-lcrypto"), droplet, work)[1]


def measure(bench):
    droplet = bench.droplet()
    costs, limits = [], []
    for _ in range(bench.rounds(5)):
        limits.append(limit(bench, droplet))
        fast = process.run(bench.programs.conversion, droplet)[0]
        costs.append(printed_cost(fast))
    cpu, wall = median(c.cpu for c in costs), median(c.wall for c in costs)
    bench.limit_cpu = least = median(c.cpu for c in limits)
    least_wall = median(c.wall for c in limits)
    cpu_ratio = median(ours.cpu / other.cpu for ours, other in zip(costs, limits))
    wall_ratio = median(ours.wall / other.wall for ours, other in zip(costs, limits))
    rows = [
        Row("CPU", f"{cpu:.2f} s", f"{least:.2f} s  ISA-L and SHA-256 in C", cpu_ratio, 1.25),
        Row("wall time", f"{wall:.2f} s", f"{least_wall:.2f} s  the same, one thread", wall_ratio, 0.75),
    ]
    small = process.run(bench.programs.conversion, droplet, "small")[0]
    sizes = [int(output.split(" bytes", 1)[0]) for output in (small, fast)]
    small_cpu = printed_cost(small).cpu
    rows.append(
        Row("bytes with layers.level small", f"{sizes[0] / 1e6:.1f} MB",
            f"{sizes[1] / 1e6:.1f} MB  fast, CPU {cpu:.2f} s instead of {small_cpu:.2f} s", sizes[0] / sizes[1], 1))
    size, cost = _gzip(bench, droplet)
    rows += [
        Row("bytes with layers.level small, beside zlib", f"{sizes[0] / 1e6:.1f} MB",
            f"{size / 1e6:.1f} MB  gzip -6 of the same tar", sizes[0] / size, 1.01),
        Row("CPU with layers.level small, beside zlib", f"{small_cpu:.2f} s", f"{cost.cpu:.2f} s  gzip -d, gzip -6",
            small_cpu / cost.cpu),
    ]
    for name, other in [("gzip -d, umoci raw add-layer", _umoci), ("the predecessor's way, in C", _predecessor)]:
        cost = other(bench, droplet)
        rows.append(Row("CPU, beside another way", f"{cpu:.2f} s", f"{cost.cpu:.2f} s  {name}", cpu / cost.cpu))
    return TITLE.format(size=bench.droplet_size / 1e6), rows
