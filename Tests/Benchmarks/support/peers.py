"""The other servers: nginx for bytes, Debian's docker-registry for manifests."""
import contextlib
import hashlib
import http.client
import json
import os
import pwd
import ssl
import warnings

from support import process
from support.server import free_port

CIPHER = "TLS_AES_128_GCM_SHA256"

# As its manual advises for large files; with TLS the buffers that a file is read into are large as well.
NGINX = """\
daemon off;
worker_processes auto;
user {user};
pid {work}/pid;
error_log {work}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 65;
    output_buffers 2 512k;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites {cipher};
    ssl_certificate {work}/cert.pem;
    ssl_certificate_key {work}/key.pem;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        root {root};
    }}
}}
"""


@contextlib.contextmanager
def nginx(work, root):
    """Serves the files in `root`; gives the process and the ports without and with TLS."""
    os.makedirs(work, exist_ok=True)
    _make_certificate(work)
    plain, tls = free_port(), free_port()
    configuration = os.path.join(work, "nginx.conf")
    with open(configuration, "w", encoding="utf-8") as file:
        file.write(NGINX.format(
            work=work, root=root, plain=plain, tls=tls, cipher=CIPHER, user=pwd.getpwuid(os.getuid()).pw_name))
    program = "/usr/sbin/nginx" if os.path.exists("/usr/sbin/nginx") else "nginx"
    with process.running(program, "-p", work, "-c", configuration) as child:
        process.wait_for(lambda: _answers(plain, "/"), 10, "nginx answers")
        yield child, plain, tls


REGISTRY = """\
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage: {{ filesystem: {{ rootdirectory: {work}/store }}, cache: {{ blobdescriptor: inmemory }} }}
http: {{ addr: "127.0.0.1:{port}"{tls} }}
{auth}
"""


def write_users(path, passwords):
    """A password file as `htpasswd -B` writes it: bcrypt at cost 5."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import crypt
    with open(path, "w", encoding="utf-8") as file:
        for user, password in passwords.items():
            file.write(f"{user}:{crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32))}\n")


@contextlib.contextmanager
def docker_registry(work, users=None):
    """Debian's docker-registry without a log; gives the process and its port.

    With a password file it asks for passwords and speaks TLS; without, neither.
    """
    os.makedirs(work, exist_ok=True)
    port = free_port()
    configuration = os.path.join(work, "config.yml")
    with open(configuration, "w", encoding="utf-8") as file:
        tls = auth = ""
        if users:
            _make_certificate(work)
            tls = f", tls: {{ certificate: {work}/cert.pem, key: {work}/key.pem }}"
            auth = f"auth: {{ htpasswd: {{ realm: bench, path: {users} }} }}"
        file.write(REGISTRY.format(work=work, port=port, tls=tls, auth=auth))
    with open(os.path.join(work, "log"), "wb") as log:
        with process.running("docker-registry", "serve", configuration, stdout=log, stderr=log) as child:
            process.wait_for(lambda: _answers(port, "/v2/", bool(users)), 10, "docker-registry answers")
            yield child, port


class _Repository:
    """A repository of a registry, over one kept connection."""

    def __init__(self, port, name, authorization=None, is_secure=False):
        self.name, self._authorization = name, authorization
        self._connection = _connection(port, is_secure, 30)

    def ask(self, method, path, body=b"", kind="application/octet-stream"):
        self._connection.request(method, path, body=body, headers={
            "Content-Type": kind, "Accept": kind,
            **({"Authorization": self._authorization} if self._authorization else {})})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status // 100 != 2:
            raise process.Failed(f"the registry answered {answer.status} to {method} {path}")
        return answer, content

    def push(self, content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        place = self.ask("POST", f"/v2/{self.name}/blobs/uploads/")[0].headers["Location"]
        path = place[place.index("/v2/"):]
        self.ask("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", content)
        return {"digest": digest, "size": len(content)}

    def push_manifest(self, tag, manifest):
        body = json.dumps(manifest, separators=(",", ":")).encode()
        self.ask("PUT", f"/v2/{self.name}/manifests/{tag}", body, manifest["mediaType"])
        return len(body)

    def close(self):
        self._connection.close()


def push_manifest(port, repository, tag, model, authorization=None, is_secure=False):
    """Pushes a manifest like another one: as many layers, of other, tiny blobs, and the same annotations."""
    target = _Repository(port, repository, authorization, is_secure)
    manifest = dict(model)
    manifest["config"] = {**model["config"], **target.push(b"{}")}
    manifest["layers"] = [
        {**layer, **target.push(f"layer {index}".encode())} for index, layer in enumerate(model["layers"])]
    size = target.push_manifest(tag, manifest)
    target.close()
    return size


class RebasedImage:
    """An app's image at a registry, of a rootfs, a lifecycle and a droplet layer (tiny ones), and its rebase: what has to
    be asked of the registry at least, over a kept connection, without looking whether the other layers are there."""

    MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    CONFIG = "application/vnd.oci.image.config.v1+json"
    LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

    def __init__(self, port, name):
        base = _Repository(port, "base")
        self._base = base.push(b"new rootfs")
        base.close()
        self._repository = _Repository(port, name)
        layers = [self._repository.push(f"{layer} {name}".encode()) for layer in ("rootfs", "lifecycle", "droplet")]
        config = {
            "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin:/bin"], "Labels": {"app": name}},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}
        self._put(config, [{"mediaType": self.LAYER, **layer} for layer in layers])

    def _put(self, config, layers):
        descriptor = self._repository.push(json.dumps(config).encode())
        self._repository.push_manifest("1", {
            "schemaVersion": 2, "mediaType": self.MANIFEST, "config": {"mediaType": self.CONFIG, **descriptor},
            "layers": layers})

    def rebase(self):
        name = self._repository.name
        manifest = json.loads(self._repository.ask("GET", f"/v2/{name}/manifests/1", kind=self.MANIFEST)[1])
        config = json.loads(self._repository.ask("GET", f"/v2/{name}/blobs/{manifest['config']['digest']}")[1])
        self._repository.ask("POST", f"/v2/{name}/blobs/uploads/?mount={self._base['digest']}&from=base")
        config["rootfs"]["diff_ids"][0] = self._base["digest"]
        self._put(config, [{"mediaType": self.LAYER, **self._base}, *manifest["layers"][1:]])
        self._repository.close()


def _connection(port, is_secure, timeout):
    if not is_secure:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    # Its certificate was made a moment ago by this program itself.
    return http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=timeout, context=ssl._create_unverified_context())


def _make_certificate(work):
    process.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
        "-subj", "/CN=localhost", "-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem")


def _answers(port, path, is_secure=False):
    try:
        connection = _connection(port, is_secure, 1)
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
