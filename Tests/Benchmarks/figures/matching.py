"""Resource matching: which of 10,000 files need not be sent, and a package of 20,000 files merged from the stash."""
import hashlib
import io
import json
import os
import time
import zipfile

from support import process, server
from support.table import Row, median

ASKED = 10_000
ENTRIES = 5_000


def content(number):
    """A file of some kilobytes that no other number has."""
    return hashlib.sha256(str(number).encode()).digest() * (64 + number % 64)


def send(cistern, path, fields):
    """Sends a form and gives the status and the answer."""
    body = b"".join(
        b"--bench\r\nContent-Disposition: form-data; name=\"" + name.encode() + b"\"\r\n\r\n" + value + b"\r\n"
        for name, value in fields) + b"--bench--\r\n"
    connection = cistern.connect()
    try:
        method = "PUT" if path.startswith("/packages") else "POST"
        connection.request(method, path, body=body, headers={
            "Authorization": cistern.authorization("operator"),
            "Content-Type": "multipart/form-data; boundary=bench"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def fill(cistern, files):
    for start in range(0, len(files), ENTRIES):
        output = io.BytesIO()
        with zipfile.ZipFile(output, "w") as archive:
            for number in range(start, min(start + ENTRIES, len(files))):
                archive.writestr(f"f{number}", content(number))
        status, answer = send(cistern, "/app_stash/entries", [("application", output.getvalue())])
        if status != 201:
            raise process.Failed(f"/app_stash/entries was answered {status}: {answer[:300]!r}")


def zipped(work, files):
    """How long `zip -0` takes for the same files, in seconds."""
    tree = os.path.join(work, "tree")
    os.makedirs(tree)
    for number in range(len(files)):
        with open(os.path.join(tree, f"f{number}"), "wb") as file:
            file.write(content(number))
    start = time.monotonic()
    process.run("zip", "-0", "-q", "-r", os.path.join(work, "peer.zip"), ".", cwd=tree)
    return time.monotonic() - start


def measure(bench):
    count = bench.scaled(20_000, 2_000)
    files = [
        {"sha1": hashlib.sha1(content(number)).hexdigest(), "size": len(content(number)), "fn": f"d{number % 100}/f{number}",
         "mode": "644"} for number in range(count)]
    asked = [
        files[number % count] if number % 2 else {"sha1": f"{number:040x}", "size": 4096}
        for number in range(min(ASKED, count))]
    body = json.dumps(asked)
    matches, merges, peers = [], [], []
    with bench.directory("matching") as work, server.serve(
            bench.programs, os.path.join(work, "data"), "--resources-minimum-bytes", "1") as cistern:
        fill(cistern, files)
        for number in range(bench.rounds(5)):
            start = time.monotonic()
            status, found = cistern.ask("POST", "/app_stash/matches", body)
            matches.append(time.monotonic() - start)
            if status != 200 or len(found) != len(asked) // 2:
                raise process.Failed(f"/app_stash/matches was answered {status} with {len(found)} files")
        resources = json.dumps(files).encode()
        for number in range(bench.rounds(3)):
            start = time.monotonic()
            status, answer = send(cistern, f"/packages/p{number}", [("resources", resources)])
            merges.append(time.monotonic() - start)
            if status != 201:
                raise process.Failed(f"the package was answered {status}: {answer[:300]!r}")
            with bench.directory("zip") as peer:
                peers.append(zipped(peer, files))
    size = sum(file["size"] for file in files)
    return f"resource matching ({count:,} files of {size / 1e6:.0f} MB in the stash)", [
        Row(
            f"a match of {len(asked):,} files", f"{median(matches) * 1000:.0f} ms", "100 ms",
            median(matches) / 0.1, 1),
        Row(
            f"a package of {count:,} files merged", f"{median(merges):.2f} s", f"{median(peers):.2f} s  zip -0",
            median(merges) / median(peers), 1.25),
    ]
