"""A whole upload through the server, in its own CPU: TLS, checksums, conversion, storage."""
import os
import time

from figures.conversion import limit
from support import data, server
from support.table import Row, median


def measure(bench):
    droplet = bench.droplet()
    rows, ratios, costs, limits, walls = [], [], [], [], []
    variant = data.Variant(droplet, 0)
    sha256 = variant.sha256
    for _ in range(bench.rounds(5)):
        limits.append(limit(bench, droplet).cpu)
        with bench.directory("upload") as work, server.serve(bench.programs, os.path.join(work, "data")) as cistern:
            before, start = cistern.cpu, time.monotonic()
            cistern.upload("upload", variant, sha256)
            costs.append(cistern.cpu - before)
            walls.append(time.monotonic() - start)
        ratios.append(costs[-1] / limits[-1])
    rows.append(Row(
        f"server's CPU (wall {median(walls):.1f} s)", f"{median(costs):.2f} s",
        f"{median(limits):.2f} s  the limit of a conversion", median(ratios), 1.6))
    size = os.path.getsize(droplet)
    return f"upload of the droplet over TLS ({size / 1e6:.0f} MB sent)", rows
