"""The server's memory at its peak (VmHWM), each time of a fresh process."""
import concurrent.futures
import os
import time

from support import data, process, server
from support.table import Row


def _peak(bench, variants, **options):
    """Uploads all variants at once; the server's peak in MiB and how long it took."""
    hashes = [variant.sha256 for variant in variants]
    with bench.directory("memory") as work, server.serve(
            bench.programs, os.path.join(work, "data"), **options) as cistern:
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(len(variants)) as pool:
            uploads = [
                pool.submit(cistern.upload, f"memory-{index}", variant, sha256)
                for index, (variant, sha256) in enumerate(zip(variants, hashes))]
            for upload in uploads:
                upload.result()
        return cistern.peak_mib, time.monotonic() - start


def _row(figure, peak, target):
    return Row(figure, f"{peak:.0f} MiB", f"{target} MiB", peak / target, 1)


def _idle(bench):
    with bench.directory("memory") as work, server.serve(bench.programs, os.path.join(work, "data")) as cistern:
        return cistern.peak_mib


def measure(bench):
    rows = [Row("started, idle", f"{_idle(bench):.0f} MiB")]

    size = bench.scaled(2048, 256)
    packed = data.packed_droplet(size << 20)
    peak, _ = _peak(bench, [data.Variant(packed, 0)])
    rows.append(_row(f"1 droplet of {size} MiB", peak, 128))

    count, unpacked = bench.scaled(32, 8), bench.scaled(210_000_000, 66_000_000)
    droplet = data.droplet(unpacked)
    peak, _ = _peak(bench, [data.Variant(droplet, number) for number in range(count)])
    rows.append(_row(f"{count} droplets of {os.path.getsize(droplet) / 1e6:.0f} MB at once", peak, 256))

    rate, size = 40_000_000, bench.scaled(192, 64)
    packed = data.packed_droplet(size << 20)
    shim = bench.tool("slowdisk", "-shared", "-fPIC", "-ldl")
    slow = {**os.environ, "LD_PRELOAD": shim, "CISTERN_BENCH_DISK": str(rate)}
    peak, seconds = _peak(bench, [data.Variant(packed, 0)], env=slow)
    # Each byte is written twice: as it came and as a layer.
    least = 2 * (size << 20) / rate
    if seconds < least * 0.8:
        raise process.Failed(f"the slow disk was not slow: {seconds:.1f} s instead of {least:.1f} s")
    rows.append(_row(f"{size} MiB onto a disk of {rate // 1_000_000} MB/s ({seconds:.0f} s)", peak, 128))
    return "memory at the peak, of a fresh server", rows
