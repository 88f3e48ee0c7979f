#!/usr/bin/env python3
"""Measures how long a node with many keys takes from its start until it serves, beside etcd: benches/restart.py [KEYS]

One node of each, on the same disk. Each is filled by `quorate bench fill` with values of 256 bytes, told to stop, and
started again; then killed, and started again. What is timed goes from the start of the process until /health says that
it serves. etcd has its default settings, but for names, directories, ports, and a quota that lets it hold so much. The
table is also written to target/restart.txt.

What to read: the ratios. The page cache is warm for both.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from local_cluster import TARGET, etcd_binaries, free_base_port, is_healthy, stop_when_terminated

ROUNDS = 3
HEALTHY_WITHIN_S = 600
STOP_WITHIN_S = 120


class Node:
    """One node, alone in its cluster; etcd and ours take the same flags."""

    def __init__(self, command, flags, directory):
        self.command, self.directory = command, Path(directory)
        base = free_base_port()
        client, peer = f"http://127.0.0.1:{base}", f"http://127.0.0.1:{base + 1}"
        self.endpoint = f"127.0.0.1:{base}"
        self.flags = {
            "--name": "n1",
            "--data-dir": str(self.directory / "data"),
            "--listen-client-urls": client,
            "--advertise-client-urls": client,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": f"n1={peer}",
            **flags,
        }
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.process = None

    def start(self):
        """Starts the node; returns the seconds until it serves."""
        began = time.monotonic()
        with open(self.directory / "log.txt", "ab") as log:
            words = [word for flag in self.flags.items() for word in flag]
            self.process = subprocess.Popen([*self.command, *words], stdin=subprocess.PIPE, stdout=log, stderr=log)
        while not is_healthy(self.endpoint):
            if self.process.poll() is not None or time.monotonic() - began > HEALTHY_WITHIN_S:
                sys.exit(f"{self.command[0]} does not serve; see {self.directory / 'log.txt'}")
            time.sleep(0.005)
        return time.monotonic() - began

    def stop(self, with_signal):
        self.process.send_signal(with_signal)
        self.process.wait(STOP_WITHIN_S)

    def disk_mib(self):
        files = (os.path.join(where, name) for where, _, names in os.walk(self.directory) for name in names)
        return sum(os.stat(name).st_blocks * 512 for name in files) / 2**20

    def memory_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def measure(binary, node, keys):
    """What the table says of one node."""
    empty = node.start()
    fill = [str(binary), "bench", "fill", "--keys", str(keys), "--key-size", "10", "--endpoints", node.endpoint]
    began = time.monotonic()
    subprocess.run(fill, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    row = {"empty, s": empty, "fill, s": time.monotonic() - began, "memory after, MiB": node.memory_mib()}
    for name, with_signal in [("after a stop, s", signal.SIGTERM), ("after kill -9, s", signal.SIGKILL)]:
        taken = []
        for _ in range(ROUNDS):
            node.stop(with_signal)
            taken.append(node.start())
        row[name] = sorted(taken)[ROUNDS // 2]
    row["memory then, MiB"] = node.memory_mib()
    row["disk, MiB"] = node.disk_mib()
    node.stop(signal.SIGTERM)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keys", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--binary", type=Path, default=TARGET / "release" / "quorate")
    args = parser.parse_args()
    stop_when_terminated()
    directory = TARGET / "restart"
    nodes = {
        "quorate": Node([str(args.binary.resolve()), "serve"], {}, directory / "quorate"),
        "etcd": Node([str(etcd_binaries() / "etcd")], {"--quota-backend-bytes": str(64 << 30)}, directory / "etcd"),
    }
    rows = {}
    try:
        for name, node in nodes.items():
            rows[name] = measure(args.binary, node, args.keys)
    finally:
        for node in nodes.values():
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
    lines = [f"one node with {args.keys:,} keys of 256 bytes", f"{'':20}{'quorate':>12}{'etcd':>12}{'ratio':>8}"]
    for what in rows["quorate"]:
        ours, theirs = rows["quorate"][what], rows["etcd"][what]
        lines.append(f"{what:20}{ours:12.2f}{theirs:12.2f}{ours / theirs:8.2f}")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (TARGET / "restart.txt").write_text(text)


if __name__ == "__main__":
    main()
