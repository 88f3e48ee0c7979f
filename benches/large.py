#!/usr/bin/env python3
"""Fills a five-node cluster with many keys, and shows what it takes and that it goes on: benches/large.py [KEYS]

`quorate up` with five nodes, filled by `quorate bench fill` with values of 256 bytes. Shown for each node: the memory it
holds and the most it ever held (VmRSS, VmHWM), and what its directory occupies. Then one node is killed with SIGKILL and
started again, and another one's directory is removed and the node started again, under a trickle of writes; what is
timed goes from the start of the process until the node has every key, by its own count. The table is also written to
target/large.txt.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from local_cluster import NODES, PORTS_PER_NODE, TARGET, QuorateCluster, is_healthy, stop_when_terminated

WITHIN_S = 1800


def command_line(pid):
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [os.fsdecode(word) for word in words if word]


def memory(pid):
    """VmRSS and VmHWM of a process, in MB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return [int(fields[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM")]


def listens(port):
    """Whether anybody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def occupied(directory):
    """What a directory occupies on the disk, in MB."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # Merged into another file since it was listed.
    return total / 1e6


class Large:
    """The cluster, and what is done to it."""

    def __init__(self, cluster, binary, lines):
        self.cluster, self.binary, self.lines = cluster, binary, lines
        self.commands = {pid: command_line(pid) for pid in cluster.pids()}
        self.pids = list(self.commands)
        self.own = []

    def say(self, line):
        print(line, flush=True)
        self.lines.append(line)

    def count(self, node):
        """How many keys a node has, by its own account."""
        endpoint = self.cluster.endpoints()[node]
        words = [str(self.binary), "get", "", "--prefix", "--count-only", "--serializable", "--endpoints", endpoint]
        done = subprocess.run(words, capture_output=True, text=True)
        return int(done.stdout.split()[-1]) if done.returncode == 0 else None

    def await_keys(self, node, keys):
        """Waits until a node, which may be a little behind, has all keys."""
        deadline = time.monotonic() + WITHIN_S
        while (counted := self.count(node)) != keys:
            if time.monotonic() > deadline:
                sys.exit(f"n{node + 1} has {counted} keys, not {keys}")
            time.sleep(0.1)

    def directory(self, node):
        words = self.commands[self.pids[node]]
        return Path(words[words.index("--data-dir") + 1])

    def show(self, when):
        for node, pid in enumerate(self.pids):
            held, most = memory(pid)
            disk = occupied(self.directory(node))
            self.say(f"{when}: n{node + 1} holds {held:7.0f} MB of memory, at most {most:7.0f}; {disk:7.0f} MB on the disk")

    def kill(self, node):
        os.kill(self.pids[node], signal.SIGKILL)
        # Its ports are free once the last of its threads is gone.
        port = self.cluster.base_port + PORTS_PER_NODE * node
        while listens(port) or listens(port + 1):
            time.sleep(0.01)

    def start(self, node, keys, what):
        """Starts a node that was killed; says how long it takes until it serves, and until it has all keys."""
        words = [word for word in self.commands[self.pids[node]] if word != "--exit-with-stdin"]
        began = time.monotonic()
        with open(self.cluster.directory / f"again-{node}.log", "wb") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.own.append(process)
        self.commands[process.pid] = self.commands[self.pids[node]]
        self.pids[node] = process.pid
        served = None
        while True:
            if process.poll() is not None or time.monotonic() - began > WITHIN_S:
                sys.exit(f"n{node + 1} does not come back; see {self.cluster.directory / f'again-{node}.log'}")
            if served is None and is_healthy(self.cluster.endpoints()[node]):
                served = time.monotonic() - began
            if served is not None and (self.count(node) or 0) >= keys:
                break
            time.sleep(0.1)
        whole = time.monotonic() - began
        self.say(f"{what}: serves after {served:.2f} s, has every key after {whole:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="?", type=int, default=10_000_000)
    parser.add_argument("--binary", type=Path, default=TARGET / "release" / "quorate")
    parser.add_argument("--dir", type=Path, default=TARGET / "large")
    arguments = parser.parse_args()
    stop_when_terminated()
    lines = []
    with QuorateCluster(arguments.binary, arguments.dir) as cluster:
        large = Large(cluster, arguments.binary.resolve(), lines)
        try:
            fill = [str(large.binary), "bench", "fill", "--keys", str(arguments.keys), "--value-size", "256"]
            began = time.monotonic()
            subprocess.run([*fill, "--endpoints", ",".join(cluster.endpoints())], check=True)
            took = time.monotonic() - began
            large.say(f"{arguments.keys} keys of 256 bytes in {took:.0f} s: {arguments.keys / took:.0f} a second")
            large.show("filled")
            for node in range(NODES):
                large.await_keys(node, arguments.keys)
            large.show("counted")
            large.kill(1)
            large.start(1, arguments.keys, "killed and started again, n2")
            large.kill(2)
            shutil.rmtree(large.directory(2))
            large.start(2, arguments.keys, "emptied and started again, n3")
            large.show("at the end")
        finally:
            for process in large.own:
                process.terminate()
                process.wait()
    (TARGET / "large.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
