#!/usr/bin/env python3
"""Fills disks until they are full, and demands that nothing is lost and that service resumes by itself.

    tests/faults/full_disk.py target/release/quorate

Three nodes; the data of those that are to fill up lies on a small tmpfs. First one of the three: the others go on, it
refuses what takes room with etcd's own words, answers reads, and raises an alarm that every node lists. Then all three:
nobody takes writes, all answer reads. Each time room is made, and with no step by hand writes are taken again and the
alarm is gone. What was acknowledged is read back in the end. Needs to be allowed to mount: root, or user namespaces.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from local_cluster import PORTS_PER_NODE, etcd_binaries, free_base_port, is_healthy, stop_when_terminated

NODES = 3
# What three nodes allocate for their logs, and something for their stores.
DISK_MB = 1500
WITHIN_S = 120
REFUSAL = "etcdserver: mvcc: database space exceeded"
IN_NAMESPACE = "QUORATE_TEST_IN_NAMESPACE"


class Nodes:
    """Three nodes, and a stock client."""

    def __init__(self, binary, etcdctl, directories):
        self.etcdctl = etcdctl
        self.base = free_base_port()
        self.processes = []
        members = ",".join(f"n{k + 1}=http://127.0.0.1:{self.port(k) + 1}" for k in range(NODES))
        for k, directory in enumerate(directories):
            client, peer = f"http://127.0.0.1:{self.port(k)}", f"http://127.0.0.1:{self.port(k) + 1}"
            words = [binary, "serve", "--name", f"n{k + 1}", "--data-dir", str(directory / f"n{k + 1}")]
            words += ["--listen-client-urls", client, "--listen-peer-urls", peer, "--initial-cluster", members]
            log = open(Path(os.environ["LOGS"]) / f"n{k + 1}.log", "wb")
            self.processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        for k in range(NODES):
            until("a node serves", lambda k=k: is_healthy(f"127.0.0.1:{self.port(k)}"))

    def port(self, node):
        return self.base + PORTS_PER_NODE * node

    def ask(self, node, *words, stdin=""):
        """Whether etcdctl succeeded through a node, and what it said."""
        environment = {**os.environ, "ETCDCTL_API": "3"}
        words = [str(self.etcdctl), "--endpoints", f"127.0.0.1:{self.port(node)}", *words]
        done = subprocess.run(words, input=stdin, env=environment, capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr

    def put(self, node, key, size=10):
        return self.ask(node, "put", key, stdin="v" * size)

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def until(what, holds):
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"FAILED: not seen within {WITHIN_S} s: {what}; see {os.environ['LOGS']}")
        time.sleep(0.1)
    print(f"ok      {what}", flush=True)


def demand(what, holds, said=""):
    if not holds:
        sys.exit(f"FAILED: {what}: {said}; see {os.environ['LOGS']}")
    print(f"ok      {what}", flush=True)


def fill(disk):
    """Takes all room there is, but for half a page."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        block = b"\0" * (1 << 20)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2] if len(block) > 2048 else b""
    return filler


def write_until_refused(nodes, through, acknowledged):
    """Writes until a node refuses; returns its words."""
    for _ in range(2000):
        key = f"key {len(acknowledged):05}"
        done, said = nodes.put(through, key, 1_000_000)
        if not done:
            return said
        acknowledged.append(key)
    sys.exit("FAILED: 2 GB went onto a full disk")


def one_is_full(nodes, disk, acknowledged):
    filler = fill(disk)
    said = write_until_refused(nodes, 0, acknowledged)
    demand("the full node refuses in etcd's words", REFUSAL in said, said)
    until("every node lists its alarm", lambda: all("NOSPACE" in nodes.ask(k, "alarm", "list")[1] for k in range(NODES)))
    demand("it answers linearizable reads", nodes.ask(0, "get", acknowledged[0], "--keys-only")[0])
    until("the others take writes", lambda: nodes.put(1, "by another")[0] and nodes.put(2, "by another")[0])
    filler.unlink()
    until("it takes writes again by itself", lambda: nodes.put(0, "again")[0])
    until("the alarm is gone", lambda: not any("NOSPACE" in nodes.ask(k, "alarm", "list")[1] for k in range(NODES)))


def all_are_full(nodes, disk, acknowledged):
    filler = fill(disk)
    for k in range(NODES):
        said = write_until_refused(nodes, k, acknowledged)
        demand(f"n{k + 1} refuses in etcd's words", REFUSAL in said, said)
    demand("reads are answered", all(nodes.ask(k, "get", acknowledged[0], "--keys-only")[0] for k in range(NODES)))
    filler.unlink()
    until("all take writes again by themselves", lambda: all(nodes.put(k, "again")[0] for k in range(NODES)))


def nothing_is_lost(nodes, acknowledged):
    for k in range(NODES):
        done, said = nodes.ask(k, "get", "key ", "--prefix", "--keys-only")
        missing = set(acknowledged) - set(said.split("\n"))
        demand(f"n{k + 1} has all {len(acknowledged)} writes that were acknowledged", done and not missing, missing)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    binary = str(parser.parse_args().binary.resolve())
    if IN_NAMESPACE not in os.environ:
        # A mount of our own, which goes with us however we end.
        who = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        words = ["unshare", *who, "--mount", sys.executable, *sys.argv]
        sys.exit(subprocess.run(words, env={**os.environ, IN_NAMESPACE: "1"}).returncode)
    stop_when_terminated()
    etcdctl = etcd_binaries() / "etcdctl"
    for scenario, who_is_full in ((one_is_full, {0}), (all_are_full, {0, 1, 2})):
        print(f"--- {scenario.__name__}", flush=True)
        with tempfile.TemporaryDirectory(prefix="quorate-full-") as home:
            os.environ["LOGS"] = tempfile.mkdtemp(prefix="quorate-full-logs-")
            disk, room = Path(home) / "disk", Path(home) / "room"
            disk.mkdir(), room.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(disk)], check=True)
            nodes = Nodes(binary, etcdctl, [disk if k in who_is_full else room for k in range(NODES)])
            try:
                acknowledged = []
                for k in range(NODES):
                    demand(f"n{k + 1} takes writes", nodes.put(k, f"key {k:05}")[0])
                    acknowledged.append(f"key {k:05}")
                scenario(nodes, disk, acknowledged)
                nothing_is_lost(nodes, acknowledged)
            finally:
                nodes.stop()
                subprocess.run(["umount", str(disk)], check=True)


if __name__ == "__main__":
    main()
