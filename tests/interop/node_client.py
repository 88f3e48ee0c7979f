#!/usr/bin/env python3
"""Has the package etcd3 for Node read, write, watch, lease, lock, elect and log in on a Quorate cluster.

    tests/interop/node_client.py target/release/quorate      a `quorate up` of this binary
    tests/interop/node_client.py --against-etcd              three etcds: are the expectations etcd's own answers?

Needs `node` and `npm`; the package is installed under target/.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from local_cluster import TARGET, ClusterError, EtcdCluster, QuorateCluster, stop_when_terminated

NODES = 3
CLIENT_WITHIN_S = 120
PACKAGE = "etcd3@1.1.2"


def installed():
    """The directory of the package."""
    home = TARGET / "node-client"
    if not (home / "node_modules" / "etcd3").exists():
        if not shutil.which("npm"):
            raise ClusterError("npm is missing; install Node.js 18 or later with its npm")
        home.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(home), PACKAGE]
        subprocess.run(npm, check=True, stdin=subprocess.DEVNULL)
    return home / "node_modules"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("binary", nargs="?", help="the binary `quorate` whose `up` is asked")
    target.add_argument("--against-etcd", action="store_true", help="ask three etcds instead")
    args = parser.parse_args()
    stop_when_terminated()
    modules = installed()
    with tempfile.TemporaryDirectory(prefix="quorate-node-client-") as temporary:
        directory = Path(temporary) / "run"
        cluster = EtcdCluster(directory, NODES) if args.against_etcd else QuorateCluster(args.binary, directory, NODES)
        with cluster:
            script = Path(__file__).with_suffix(".cjs")
            environment = os.environ | {"NODE_PATH": str(modules)}
            words = ["node", str(script), *cluster.endpoints()]
            return subprocess.run(words, env=environment, timeout=CLIENT_WITHIN_S).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(f"node_client.py: {error}")
