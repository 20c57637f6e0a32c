"""Manifests by tag with basic authentication, over kept connections without TLS."""
import os
import re

from support import data, peers, process, server
from support.table import Row, median

CONNECTIONS = 32
ACCEPT = "Accept: application/vnd.oci.image.manifest.v1+json"


def load(pid, url, seconds, *headers):
    """Microseconds of the server's CPU for each request, and how many there were a second."""
    arguments = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s"]
    for header in (ACCEPT, *headers):
        arguments += ["-H", header]
    process.run(*arguments[:6], "1s", *arguments[7:], url)
    before = process.cpu_seconds(pid)
    output = process.run(*arguments, url)[0]
    cpu = process.cpu_seconds(pid) - before
    requests, spent = re.search(r"(\d+) requests in ([\d.]+)s", output).groups()
    if "Non-2xx" in output or "Socket errors" in output:
        raise process.Failed(f"not every request for {url} was answered: {output[-300:]}")
    return cpu / int(requests) * 1e6, int(requests) / float(spent)


def measure(bench):
    ours, theirs = [], []
    seconds = bench.scaled(5, 2)
    with bench.directory("manifest") as work, server.serve(bench.programs, os.path.join(work, "data")) as cistern:
        cistern.import_rootfs(bench.programs, work)
        variant = data.Variant(data.droplet(66_000_000), 0)
        tag = cistern.upload("app", variant)["sha256"]
        body, manifest = cistern.manifest("app", tag)
        with peers.docker_registry(os.path.join(work, "registry")) as (registry, port):
            size = peers.push_manifest(port, "app", "1", manifest)
            for _ in range(bench.rounds(5)):
                ours.append(load(
                    cistern.pid, f"http://127.0.0.1:{cistern.plain_port}/v2/cloudfoundry/app/manifests/{tag}", seconds,
                    "Authorization: " + cistern.authorization("pull")))
                theirs.append(load(registry.pid, f"http://127.0.0.1:{port}/v2/app/manifests/1", max(2, seconds // 2)))
    cpu, other = (median(cost for cost, _ in costs) for costs in (ours, theirs))
    rate, other_rate = (median(rate for _, rate in costs) for costs in (ours, theirs))
    return f"manifest by tag, {CONNECTIONS} connections, no TLS ({len(body)} bytes; docker-registry's {size})", [
        Row(f"CPU a request ({rate:,.0f}/s)", f"{cpu:.1f} µs", "40 µs", cpu / 40, 1),
        Row("beside docker-registry, which asks for no password", f"{cpu:.1f} µs",
            f"{other:.0f} µs  ({other_rate:,.0f}/s)", cpu / other),
    ]
