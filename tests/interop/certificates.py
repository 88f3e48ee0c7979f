#!/usr/bin/env python3
"""Has stock etcdctl speak TLS with a node, and be known by its certificate.

    tests/interop/certificates.py target/release/quorate      a `quorate serve` of this binary
    tests/interop/certificates.py --against-etcd              an etcd: are the expectations etcd's own answers?

Both take the same flags. The certificates are made here, by the package `cryptography` in an environment of its own under
target/.
"""

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from ctl import UNUSABLE, Node, Tally
from local_cluster import ClusterError, etcd_binaries, free_base_port, python_with, stop_when_terminated

PACKAGES = ("cryptography==46.0.3",)
READY_WITHIN_S = 30


def in_environment():
    """Goes on in an interpreter that can make certificates."""
    if "QUORATE_CERTIFICATES" not in os.environ:
        python = str(python_with("certificates", *PACKAGES))
        os.execve(python, [python, *sys.argv], os.environ | {"QUORATE_CERTIFICATES": "1"})


class Authority:
    """Signs for names, and leaves certificates and keys as files: NAME.crt, NAME.key."""

    def __init__(self, directory):
        self.directory = directory
        self.name, self.key = self.subject("ca"), self.new_key()
        from cryptography import x509
        self.write("ca", self.key, self.signed(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0)))

    def subject(self, name):
        from cryptography import x509
        return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])

    def new_key(self):
        from cryptography.hazmat.primitives.asymmetric import ec
        return ec.generate_private_key(ec.SECP256R1())

    def signed(self, subject, key, *extensions):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number(),
                                          now - datetime.timedelta(hours=1), now + datetime.timedelta(hours=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name, *extensions):
        key = self.new_key()
        self.write(name, key, self.signed(self.subject(name), key, *extensions))

    def write(self, name, key, certificate):
        from cryptography.hazmat.primitives import serialization
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (self.directory / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        (self.directory / f"{name}.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))


def certificates(directory):
    import ipaddress
    from cryptography import x509
    authority = Authority(directory)
    authority.issue("server", x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
    for user in ("root", "alice"):
        authority.issue(user)


def serve(command, directory):
    """Starts a node that demands certificates. Returns its process and its endpoint."""
    base = free_base_port(1)
    client, peer = f"https://127.0.0.1:{base}", f"http://127.0.0.1:{base + 1}"
    flags = {
        "--name": "n1", "--data-dir": directory / "data", "--listen-client-urls": client, "--advertise-client-urls": client,
        "--listen-peer-urls": peer, "--initial-advertise-peer-urls": peer, "--initial-cluster": f"n1={peer}",
        "--cert-file": directory / "server.crt", "--key-file": directory / "server.key",
        "--trusted-ca-file": directory / "ca.crt",
    }
    words = [*command, *(str(word) for flag in flags.items() for word in flag), "--client-cert-auth"]
    with open(directory / "log.txt", "wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    return process, client


def ask(directory, endpoint, tally):
    nobody = Node(etcd_binaries() / "etcdctl", endpoint, "tls", tally, ("--cacert", str(directory / "ca.crt")))
    root, alice = (
        nobody.using("--cert", str(directory / f"{name}.crt"), "--key", str(directory / f"{name}.key"))
        for name in ("root", "alice")
    )
    deadline = time.monotonic() + READY_WITHIN_S
    while root.run("get ready").returncode != 0:
        if time.monotonic() > deadline:
            raise ClusterError(f"no answer within {READY_WITHIN_S} s:\n{(directory / 'log.txt').read_text()}")
    root.says("put k v", "OK")
    root.says("get k", "k", "v")
    for stranger in (nobody, Node(nobody.etcdctl, endpoint, "tls", tally), root.using("--cacert", str(directory / "alice.crt"))):
        done = stranger.run("--command-timeout 2s get k")
        tally.check("tls", f"refused: {' '.join(Path(flag).name for flag in stranger.flags) or 'no TLS at all'}",
                    (done.returncode != 0, done.stdout), (True, ""))
    root.says("user add root --no-password", "User root created")
    root.says("user add alice --no-password", "User alice created")
    root.says("role add root", "Role root created")
    root.says("user grant-role root root", "Role root is granted to user root")
    root.says("role add mine", "Role mine created")
    root.says("role grant-permission mine readwrite mine", "Role mine updated")
    root.says("user grant-role alice mine", "Role mine is granted to user alice")
    root.says("auth enable", "Authentication Enabled")
    alice.says("put mine 1", "OK")
    alice.refuses("get k", "etcdserver: permission denied")
    alice.refuses("user list", "etcdserver: permission denied")
    root.says("get k", "k", "v")
    alice.using("--user", "nobody:guess").refuses(
        "get k", "etcdserver: authentication failed, invalid user ID or password", UNUSABLE)
    root.says("auth disable", "Authentication Disabled")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("binary", nargs="?", help="the binary `quorate` whose `serve` is asked")
    target.add_argument("--against-etcd", action="store_true", help="ask an etcd instead")
    args = parser.parse_args()
    in_environment()
    stop_when_terminated()
    sys.stdout.reconfigure(line_buffering=True)
    tally = Tally()
    command = [str(etcd_binaries() / "etcd")] if args.against_etcd else [str(Path(args.binary).resolve()), "serve"]
    with tempfile.TemporaryDirectory(prefix="quorate-certificates-") as temporary:
        directory = Path(temporary)
        certificates(directory)
        process, endpoint = serve(command, directory)
        try:
            ask(directory, endpoint, tally)
        finally:
            process.terminate()
            process.wait()
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(f"certificates.py: {error}")
