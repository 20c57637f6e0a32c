"""Manifests by tag over TLS with passwords, beside docker-registry with the same."""
import os

from figures.manifest import CONNECTIONS, load
from support import data, peers, process, server
from support.table import Row, median


def measure(bench):
    seconds = bench.scaled(5, 2)
    derived, pushed, theirs = [], [], []
    with bench.directory("registry") as work, server.serve(bench.programs, os.path.join(work, "data")) as cistern:
        cistern.import_rootfs(bench.programs, work)
        tag = cistern.upload("app", data.Variant(data.droplet(66_000_000), 0))["sha256"]
        manifest = cistern.manifest("app", tag)[1]
        operator = cistern.authorization("operator")
        size = peers.push_manifest(cistern.plain_port, "team/app", "1", manifest, operator)
        users = os.path.join(work, "users.htpasswd")
        peers.write_users(users, {user: cistern.password(user) for user in ("operator", "pull")})
        with peers.docker_registry(os.path.join(work, "registry"), users) as (registry, port):
            peers.push_manifest(port, "team/app", "1", manifest, operator, is_secure=True)
            header = "Authorization: " + cistern.authorization("pull")
            for _ in range(bench.rounds(5)):
                base = f"https://127.0.0.1:{cistern.tls_port}/v2"
                derived.append(load(cistern.pid, f"{base}/cloudfoundry/app/manifests/{tag}", seconds, header))
                pushed.append(load(cistern.pid, f"{base}/team/app/manifests/1", seconds, header))
                theirs.append(load(registry.pid, f"https://127.0.0.1:{port}/v2/team/app/manifests/1", seconds, header))

    def row(name, ours):
        rate, other = (median(rate for _, rate in loads) for loads in (ours, theirs))
        cpu = median(cost for cost, _ in ours)
        return Row(f"{name} ({cpu:.0f} µs CPU a request)", f"{rate:,.0f}/s", f"{other:,.0f}/s  docker-registry",
                   other / rate, 0.05)

    return f"manifest by tag over TLS, bcrypt passwords (ours cost 10, the peer's 5), {CONNECTIONS} connections ({size} bytes)", [
        row("of a droplet's image", derived), row("of a pushed image", pushed)]
