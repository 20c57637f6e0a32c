"""The benchmarks' data: droplets made of this machine's own trees, cached outside the repository."""
import hashlib
import io
import os
import shutil
import struct
import subprocess
import tarfile
import zlib

MIB = 1 << 20


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/root"), ".cache")
    path = os.environ.get("CISTERN_BENCH_CACHE") or os.path.join(home, "cistern", "bench")
    os.makedirs(path, exist_ok=True)
    return path


def _roots():
    """Interpreters and their libraries first, as in droplets; whatever else lies around fills up."""
    yield from ["/usr/lib/python3.11", "/usr/lib/python3", "/usr/lib/node_modules", "/usr/lib/jvm"]
    yield from ["/usr/share/perl", "/usr/lib/ruby", "/usr/lib/gcc", "/usr/lib/x86_64-linux-gnu", "/usr/share"]
    swift = shutil.which("swift")
    if swift:
        yield os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(swift))), "lib")


def _files():
    """Every readable file, link and directory below the roots, with its name in the droplet."""
    for index, root in enumerate(_roots()):
        for top, directories, files in os.walk(root):
            directories.sort()
            for name in sorted(files) + directories:
                path = os.path.join(top, name)
                if os.path.islink(path) or os.path.isdir(path) or (os.path.isfile(path) and os.access(path, os.R_OK)):
                    yield path, f"./deps/{index}/{os.path.relpath(path, root)}"


def _write_tree(output, enough):
    """A tar of the trees, until `enough` says so."""
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT, bufsize=MIB) as archive:
        for path, name in _files():
            if enough():
                break
            try:
                entry = archive.gettarinfo(path, name)
                entry.uid = entry.gid = 2000
                entry.uname = entry.gname = ""
                # Links into other trees would be no files of the droplet.
                if entry.islnk():
                    continue
                if entry.isreg():
                    with open(path, "rb") as content:
                        archive.addfile(entry, content)
                else:
                    archive.addfile(entry)
            except OSError:
                continue


class _Counted(io.RawIOBase):
    def __init__(self, below):
        super().__init__()
        self.below, self.count = below, 0

    def writable(self):
        return True

    def write(self, data):
        self.below.write(data)
        self.count += len(data)
        return len(data)


def _made(name, make):
    """The path of a file in the cache, made by `make(path)` if it is not there."""
    path = os.path.join(cache(), name)
    if not os.path.exists(path):
        partial = f"{path}.{os.getpid()}"
        try:
            make(partial)
            os.rename(partial, path)
        finally:
            if os.path.exists(partial):
                os.remove(partial)
    return path


def _compressed(path, write):
    """What `write(stream)` writes, compressed as most tools do (gzip, level 6)."""
    with open(path, "wb") as file:
        gzip = subprocess.Popen(["gzip", "-6n"], stdin=subprocess.PIPE, stdout=file)
        try:
            write(gzip.stdin)
            gzip.stdin.close()
            if gzip.wait(timeout=600) != 0:
                raise OSError("gzip failed")
        finally:
            gzip.kill()


def droplet(unpacked):
    """A droplet of about so many bytes of files, compressed as buildpacks' tools do (gzip, level 6)."""

    def write(stream):
        output = _Counted(stream)
        _write_tree(output, lambda: output.count >= unpacked)

    return _made(f"droplet-{unpacked // MIB}.tgz", lambda path: _compressed(path, write))


def plain(tgz):
    """The tar in a droplet, uncompressed."""

    def make(path):
        with open(path, "wb") as file:
            subprocess.run(["gzip", "-dc", tgz], stdout=file, check=True, timeout=300)

    return _made(os.path.basename(tgz).removesuffix(".tgz") + ".tar", make)


def packed_droplet(size):
    """A droplet of so many bytes as it is sent, whose files are packed already (jars, images): nothing compresses."""

    def make(path):
        content = os.urandom(16 * MIB)
        with open(path, "wb") as file:
            squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
            count = 0
            while count < size:
                entry = tarfile.TarInfo(f"./app/packed/{count // len(content):05}.jar")
                entry.size = len(content)
                file.write(squeeze.compress(entry.tobuf(tarfile.GNU_FORMAT) + content))
                count += len(content)
            file.write(squeeze.compress(bytes(1024)) + squeeze.flush())

    return _made(f"packed-{size // MIB}.tgz", make)


def small_droplet():
    """A droplet with one small file."""

    def make(path):
        with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
            entry = tarfile.TarInfo("./app/index.html")
            entry.size = 6
            archive.addfile(entry, io.BytesIO(b"hello\n"))

    return _made("small.tgz", make)


class Variant:
    """A droplet like another, but not the same: a gzip member with one more file stands before it."""

    def __init__(self, tgz, number):
        self.tgz = tgz
        content = f"variant {number}\n".encode()
        entry = tarfile.TarInfo("./app/variant")
        entry.size = len(content)
        tar = entry.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0")
        squeeze = zlib.compressobj(6, zlib.DEFLATED, 31)
        self.head = squeeze.compress(tar) + squeeze.flush()
        self.size = len(self.head) + os.path.getsize(tgz)

    def chunks(self):
        yield self.head
        with open(self.tgz, "rb") as file:
            while chunk := file.read(256 << 10):
                yield chunk

    @property
    def sha256(self):
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


# The head of a program without a loader (amd64), with one segment.
STATIC_PROGRAM = struct.pack(
    "<4sBBBB8xHHIQQQIHHHHHH IIQQQQQQ", b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, 0x400000, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    1, 5, 0, 0x400000, 0x400000, 120, 120, 4096)

# What a rootfs must have to be imported.
BASE = {
    "bin/sh": STATIC_PROGRAM, "etc/os-release": b'PRETTY_NAME="Bench"\n',
    "etc/passwd": b"vcap:x:2000:2000::/home/vcap:/bin/sh\n",
    "etc/group": b"vcap:x:2000:\n"}


def _write_base(archive, more=()):
    for name, content in [*BASE.items(), *more]:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o755
        archive.addfile(entry, io.BytesIO(content))


def rootfs(directory, version="1"):
    """A root filesystem with nothing but what it must have, and its version."""
    path = os.path.join(directory, f"rootfs-{version}.tar")
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        _write_base(archive, [("etc/version", version.encode())])
    return path


def _package_stanza(version):
    return f"Package: bench\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n".encode()


def large_rootfs(unpacked, version):
    """A root filesystem of about so many bytes, of this machine's trees. A package of a twentieth of them,
    files that lie side by side, differs in every file between two versions."""
    package = unpacked // 20

    def write(output):
        count = changed = 0
        with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT, bufsize=MIB) as archive:
            _write_base(archive, [("var/lib/dpkg/status", _package_stanza(version))])
            for path, name in _files():
                if count >= unpacked:
                    break
                try:
                    entry = archive.gettarinfo(path, "usr/lib/" + name.removeprefix("./deps/"))
                    if entry.islnk():
                        continue
                    entry.uid = entry.gid = 0
                    entry.uname = entry.gname = ""
                    if not entry.isreg():
                        archive.addfile(entry)
                        continue
                    with open(path, "rb") as file:
                        content = file.read()
                except OSError:
                    continue
                if count >= unpacked // 4 and changed < package and content:
                    content = content[:-1] + bytes([version])
                    entry.mtime += version
                    changed += len(content)
                archive.addfile(entry, io.BytesIO(content))
                count += len(content)

    return _made(f"rootfs-{unpacked // MIB}-{version}.tgz", lambda path: _compressed(path, write))
