#!/usr/bin/env python3
"""Measures one node with very many watches, and with very many leases that end at once: benches/watches.py [N]

One node with its default settings on this disk, filled by nobody. `quorate bench watches` opens N watches, each on a key
of its own, and says what they take of the node's memory, what they cost its writes, and whether those whose key is
written are told; `quorate bench leases` grants N leases that end in the same second, and says how long that takes and
whether another client has to wait meanwhile. The table is also written to target/watches.txt.

What to read: bytes a watch, and the longest gap. The client shares the machine with the node.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from local_cluster import TARGET, stop_when_terminated
from restart import Node


def bench(binary, node, *arguments):
    """What one `quorate bench` prints about this node."""
    command = [str(binary), "bench", *map(str, arguments), "--endpoints", node.endpoint, "--pids", str(node.process.pid)]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=100, help="how many streams carry the watches")
    parser.add_argument("--ttl", type=float, default=60, help="seconds until all leases end; granting must take less")
    parser.add_argument("--binary", type=Path, default=TARGET / "release" / "quorate", help="the node's")
    parser.add_argument("--client", type=Path, help="the client's, if it is another")
    args = parser.parse_args()
    stop_when_terminated()
    client = (args.client or args.binary).resolve()
    text = ""
    for workload, flags in [("watches", ["--streams", args.streams]), ("leases", ["--ttl", args.ttl])]:
        node = Node([str(args.binary.resolve()), "serve"], {}, TARGET / "watches" / workload)
        try:
            node.start()
            text += bench(client, node, workload, "--keys", args.count, *flags) + "\n"
        finally:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
    text = text.rstrip("\n") + "\n"
    print(text, end="")
    (TARGET / "watches.txt").write_text(text)


if __name__ == "__main__":
    main()
