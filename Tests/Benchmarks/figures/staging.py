"""Staging: what `cistern stage` takes for an app of 100 MB besides its buildpack's own time, a droplet's way to its first
pull, and 200 tasks that are asked for at once."""
import json
import os
import re
import time
import zipfile

from figures.conversion import limit
from support import data, process, server
from support.table import Row, median

REPOSITORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
# Bytes a second: a network of 400 Mbit/s, which is slower than a conversion.
RATE = 50_000_000
BUILDPACK = {
    "detect": "#!/bin/sh\n", "compile": "#!/bin/sh\n",
    "release": "#!/bin/sh\necho 'default_process_types: {web: sleep 1000}'\n"}


def write_buildpack(directory):
    """A buildpack that does nothing, as a directory and as a zip."""
    os.makedirs(os.path.join(directory, "bin"))
    for name, text in BUILDPACK.items():
        path = os.path.join(directory, "bin", name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, 0o755)
    with zipfile.ZipFile(directory + ".zip", "w") as archive:
        for name in BUILDPACK:
            archive.write(os.path.join(directory, "bin", name), f"bin/{name}")
    return directory + ".zip"


def stage(bench, cistern, work, app):
    environment = {
        **os.environ, "CISTERN_SERVER": f"https://127.0.0.1:{cistern.tls_port}", "CISTERN_USER": "operator",
        "CISTERN_PASSWORD_FILE": os.path.join(cistern.directory, "secrets", "operator.password"),
        "CISTERN_CA": cistern.authority}
    log = os.path.join(work, "log")
    try:
        with open(log, "wb") as file:
            cost = process.run(
                bench.programs.cistern, "stage", app, "--guid", "bench", "-b", os.path.join(work, "pack"), "--detect",
                "--stack", server.STACK, "--cache", os.path.join(work, "cache"), env=environment, stderr=file)[1]
    except process.Failed as error:
        with open(log, encoding="utf-8") as file:
            raise process.Failed(f"{error} {file.read()[-600:]}") from error
    with open(log, encoding="utf-8") as file:
        text = file.read()
    found = re.search(r"-----> Droplet: done in ([\d.]+) s", text)
    if not found:
        raise process.Failed(f"there is no droplet: {text[-600:]}")
    return cost.wall, float(found.group(1))


def first_pull(cistern, variant, number, rate=None):
    """Seconds from a droplet's last byte to the manifest of its image.

    Without a rate, in bytes a second, the droplet is sent faster than it can be converted: some megabytes of it are then in
    the two sockets when its sender has sent the last byte.
    """
    connection, sha256 = cistern.connect(), variant.sha256
    # What is read and hashed here must not be the client's own delay.
    chunks = list(variant.chunks())
    try:
        connection.putrequest("PUT", f"/droplets/pull{number}/{sha256}")
        for name, value in [
                ("Authorization", cistern.authorization("operator")), ("Content-Length", str(variant.size)),
                ("Content-Type", "application/octet-stream")]:
            connection.putheader(name, value)
        connection.endheaders()
        start, count = time.monotonic(), 0
        for chunk in chunks:
            if rate:
                time.sleep(max(0, start + count / rate - time.monotonic()))
            connection.send(chunk)
            count += len(chunk)
        sent = time.monotonic()
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise process.Failed(f"the upload was answered {answer.status}")
    finally:
        connection.close()
    cistern.manifest(f"pull{number}", sha256)
    return time.monotonic() - sent


def many(bench, cistern, work, count):
    """Asks for so many tasks at once; gives how long all took and the most memory that the server had."""
    app = os.path.join(work, "small.zip")
    with zipfile.ZipFile(app, "w") as archive:
        archive.writestr("index.html", "hello")
    for path, file in [("/packages/app", app), ("/buildpacks/pack", os.path.join(work, "pack.zip"))]:
        with open(file, "rb") as content:
            if cistern.ask("PUT", path, content.read())[0] != 201:
                raise process.Failed(f"{path} was not taken")

    def sign(path, verb):
        connection = cistern.connect()
        try:
            mark = "&" if "?" in path else "?"
            connection.request(
                "GET", f"/sign{path}{mark}verb={verb}", headers={"Authorization": cistern.authorization("operator")})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    bits, pack = sign("/packages/app", "get"), sign("/buildpacks/pack", "get")
    start = time.monotonic()
    for number in range(count):
        request = {
            "space_guid": f"space{number % 7}", "app_guid": "app", "memory_mb": 128, "disk_mb": 64, "lifecycle": {
                "buildpack_lifecycle": {
                    "app_bits_download_uri": bits, "stack": server.STACK,
                    "droplet_upload_uri": sign(f"/droplets/many{number}?stack={server.STACK}", "put"),
                    "buildpacks": [{"name": "pack", "key": "pack", "url": pack, "skip_detect": False}]}}}
        status, answer = cistern.ask("POST", f"/stage/many{number}", json.dumps(request))
        if status != 202:
            raise process.Failed(f"task {number} was answered {status}: {answer}")
    for number in range(count):
        while (task := cistern.ask("GET", f"/stage/many{number}")[1])["state"] in ("queued", "running"):
            time.sleep(0.1)
        if task["state"] != "staged":
            raise process.Failed(f"task {number} is {task['state']}: {task.get('failure')}")
    return time.monotonic() - start, process.status_kib(cistern.pid, "VmHWM") / 1024


def measure(bench):
    droplet = data.droplet(bench.scaled(100_000_000, 30_000_000))
    walls, droplets, peers, limits, pulls, paced = [], [], [], [], [], []
    with bench.directory("staging") as work:
        app, tarball = os.path.join(work, "app"), os.path.join(work, "peer.tgz")
        os.makedirs(app)
        process.run("tar", "-xzf", droplet, "-C", app, "--no-same-owner")
        # Links of this machine's trees lead out of an app, which no zip may hold.
        process.run("find", app, "-type", "l", "-delete")
        write_buildpack(os.path.join(work, "pack"))
        rootfs = process.run(os.path.join(REPOSITORY, "rootfs/build"), "tiny", "1")[0].strip()
        with server.serve(
                bench.programs, os.path.join(work, "data"), "--staging-runner", "local", "--staging-allow-hosts",
                "127.0.0.1") as cistern:
            cistern.take_rootfs(bench.programs, "1", rootfs, promote=True)
            stage(bench, cistern, work, app)
            for number in range(bench.rounds(5)):
                wall, made = stage(bench, cistern, work, app)
                walls.append(wall)
                droplets.append(made)
                peers.append(process.run("tar", "-czf", tarball, "-C", app, ".")[1].wall)
                limits.append(limit(bench, droplet).wall)
                pulls.append(first_pull(cistern, data.Variant(droplet, 2 * number), 2 * number))
                paced.append(first_pull(cistern, data.Variant(droplet, 2 * number + 1), 2 * number + 1, RATE))
            count = bench.scaled(200, 20)
            took, memory = many(bench, cistern, work, count)
    return f"staging of an app ({os.path.getsize(droplet) / 1e6:.0f} MB packed)", [
        Row("all but the buildpack's own time", f"{median(walls):.2f} s", "2 s", median(walls) / 2, 1),
        Row(
            "the droplet, of it", f"{median(droplets):.1f} s", f"{median(limits):.2f} s  the limit of a conversion",
            median(droplets) / median(limits), 1.25),
        Row("", "", f"{median(peers):.2f} s  tar -czf", median(droplets) / median(peers)),
        Row(f"from the last byte to the first pull, sent at {RATE / 1e6:.0f} MB/s", f"{median(paced) * 1000:.0f} ms", "50 ms",
            median(paced) / 0.05, 1),
        Row("the same, sent as fast as the sockets take it", f"{median(pulls) * 1000:.0f} ms", "50 ms",
            median(pulls) / 0.05, 1),
        Row(f"{count} tasks at once, each", f"{took / count * 1000:.0f} ms"),
        Row("the server's most memory for them", f"{memory:.0f} MiB", "256 MiB", memory / 256, 1),
    ]
