"""A Cistern of its own for a measurement, and what is asked of it."""
import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import time

from support import data, process

STACK = "bench"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A running `cistern serve`."""

    def __init__(self, directory, child, plain_port, tls_port):
        self.directory, self.pid = directory, child.pid
        self.plain_port, self.tls_port = plain_port, tls_port
        self.authority = os.path.join(directory, "tls", "ca.pem")
        self.certificate = ssl.create_default_context()

    def trust(self):
        self.certificate = ssl.create_default_context(cafile=self.authority)

    def password(self, user):
        with open(os.path.join(self.directory, "secrets", f"{user}.password"), encoding="utf-8") as file:
            return file.read().strip()

    def authorization(self, user):
        return "Basic " + base64.b64encode(f"{user}:{self.password(user)}".encode()).decode()

    def connect(self, timeout=300):
        return http.client.HTTPSConnection("127.0.0.1", self.tls_port, context=self.certificate, timeout=timeout)

    def upload(self, guid, variant, sha256=None, timeout=300):
        """Uploads a droplet over TLS and returns its record."""
        connection = self.connect(timeout)
        try:
            connection.request(
                "PUT", f"/droplets/{guid}/{sha256 or variant.sha256}", body=variant.chunks(), headers={
                    "Authorization": self.authorization("operator"), "Content-Length": str(variant.size),
                    "Content-Type": "application/octet-stream"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 201:
                raise process.Failed(f"the upload of {guid} was answered {answer.status}: {body[:300]!r}")
            return json.loads(body)
        finally:
            connection.close()

    def manifest(self, guid, tag):
        """A manifest's bytes and its parsed form."""
        connection = self.connect()
        try:
            connection.request("GET", f"/v2/cloudfoundry/{guid}/manifests/{tag}", headers={
                "Authorization": self.authorization("pull"), "Accept": "application/vnd.oci.image.manifest.v1+json"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise process.Failed(f"the manifest of {guid} was answered {answer.status}: {body[:300]!r}")
            return body, json.loads(body)
        finally:
            connection.close()

    def import_rootfs(self, programs, work):
        self.take_rootfs(programs, "1", data.rootfs(work), promote=True)

    def take_rootfs(self, programs, version, path, promote=False):
        process.run(
            programs.cistern, "rootfs", "import", "--stack", STACK, "--version", version, "--shell", "/bin/sh", path,
            *(["--promote"] if promote else []), env=self.environment, timeout=120)

    @property
    def environment(self):
        """The environment of a command line that asks this server."""
        return {
            **os.environ, "CISTERN_SERVER": f"https://127.0.0.1:{self.tls_port}", "CISTERN_USER": "operator",
            "CISTERN_PASSWORD_FILE": os.path.join(self.directory, "secrets", "operator.password"),
            "CISTERN_CA": self.authority}

    def ask(self, method, path, body=None):
        """An operator's request over TLS; gives its status and the answer's JSON."""
        connection = self.connect()
        try:
            connection.request(method, path, body=body, headers={"Authorization": self.authorization("operator")})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def operate(self, path):
        """Has an operation begun and waits for its end; gives its report."""
        status, operation = self.ask("POST", path)
        if status != 202:
            raise process.Failed(f"POST {path} was answered {status}: {operation}")
        while operation["state"] == "running":
            time.sleep(0.02)
            operation = self.ask("GET", f"/api/v1/operations/{operation['id']}")[1]
        if operation["state"] != "done":
            raise process.Failed(f"{operation['kind']} is {operation['state']}: {operation['failure']}")
        return operation["report"]

    @property
    def cpu(self):
        return process.cpu_seconds(self.pid)

    @property
    def peak_mib(self):
        return process.status_kib(self.pid, "VmHWM") / 1024


def is_ready(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def wait_until_ready(port, seconds=30):
    """Asks until the server is ready, without pausing for longer than half a millisecond."""
    deadline = time.monotonic() + seconds
    while not is_ready(port):
        if time.monotonic() > deadline:
            raise process.Failed("the server did not become ready")
        time.sleep(0.0005)


@contextlib.contextmanager
def serve(programs, directory, *arguments, **options):
    """A server on free ports, with and without TLS, for as long as the block lasts."""
    plain_port, tls_port = free_port(), free_port()
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "log"), "ab") as log:
        with process.running(
            programs.cistern, "serve", "--data", directory, "--listen", f"127.0.0.1:{tls_port}", "--plain-listen",
            f"127.0.0.1:{plain_port}", "--stack", STACK, *arguments, stdout=log, stderr=log, **options
        ) as child:
            server = Server(directory, child, plain_port, tls_port)
            wait_until_ready(plain_port)
            server.trust()
            yield server
