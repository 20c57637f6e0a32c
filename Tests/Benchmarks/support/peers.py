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


def push_manifest(port, repository, tag, model, authorization=None, is_secure=False):
    """Pushes a manifest like another one: as many layers, of other, tiny blobs, and the same annotations."""
    connection = _connection(port, is_secure, 30)

    def ask(method, path, body=b"", kind="application/octet-stream"):
        connection.request(method, path, body=body, headers={
            "Content-Type": kind, **({"Authorization": authorization} if authorization else {})})
        answer = connection.getresponse()
        answer.read()
        if answer.status // 100 != 2:
            raise process.Failed(f"the registry answered {answer.status} to {method} {path}")
        return answer

    def push(content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        place = ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
        path = place[place.index("/v2/"):]
        ask("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", content)
        return {"digest": digest, "size": len(content)}

    manifest = dict(model)
    manifest["config"] = {**model["config"], **push(b"{}")}
    manifest["layers"] = [
        {**layer, **push(f"layer {index}".encode())} for index, layer in enumerate(model["layers"])]
    body = json.dumps(manifest, separators=(",", ":")).encode()
    ask("PUT", f"/v2/{repository}/manifests/{tag}", body, model["mediaType"])
    connection.close()
    return len(body)


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
