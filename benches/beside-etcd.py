#!/usr/bin/env python3
"""Measures five nodes of Quorate beside five of etcd, on this machine: benches/beside-etcd.py [BINARY]

Each case is one `quorate bench --against`: three rounds of each cluster, in turn, and their medians. Both clusters
run all the time, on the same disk and cores; the one that is not measured only sends its heartbeats. etcd has its
default settings, but for names, directories and ports. The tables are also written to target/beside-etcd.txt.

What to read: the ratios, and above all the servers' CPU time per operation, which a busy machine disturbs least.
Figures of different runs do not compare.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from local_cluster import TARGET, ClusterError, EtcdCluster, QuorateCluster, etcd_binaries, stop_when_terminated

CASES = [
    ("Puts, one client, at the leader", ["put", "--clients", "1", "--target-leader"]),
    ("Puts, 100 clients, at all nodes", ["put", "--clients", "100"]),
    ("Puts, 1,000 clients, at the leader", ["put", "--clients", "1000", "--target-leader"]),
    ("Puts, 10,000 a second, at all nodes", ["put", "--clients", "1000", "--rate", "10000"]),
    ("Linearizable reads, 1,000 clients, at all nodes", ["get", "--clients", "1000"]),
]
# A case has six rounds, and some time to connect and to write the keys that are read.
ROUNDS = 6
SLACK_S = 120


def commas(items):
    return ",".join(str(item) for item in items)


def measure(binary, ours, theirs, case, seconds):
    """What the bench prints about one case."""
    command = [str(binary), "bench", *case, "--seconds", str(seconds)]
    command += ["--dir", str(ours.directory / "cluster")]
    command += ["--endpoints", commas(ours.endpoints()), "--pids", commas(ours.pids())]
    command += ["--against", commas(theirs.endpoints()), "--against-pids", commas(theirs.pids())]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          timeout=ROUNDS * (seconds + 20) + SLACK_S)
    if done.returncode != 0:
        raise ClusterError(f"`quorate bench {' '.join(case)}` ended with status {done.returncode}")
    return done.stdout


def setting(binary, seconds):
    """What was measured, and on what."""
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]

    # etcd says "etcd Version: 3.5.1", we say "quorate 0.1.0".
    etcd = first_line(str(etcd_binaries() / "etcd"), "--version").split()[-1]
    return (f"{first_line(str(binary), '--version')} beside etcd {etcd}, five nodes each\n"
            f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.release()}, {os.cpu_count()} cores, which "
            f"the generator shares; load before the start {os.getloadavg()[0]:.2f}\n"
            f"here: Quorate; against: etcd; medians of three rounds of {seconds} s each, which alternated\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="?", default=TARGET / "release" / "quorate", type=Path,
                        help="a release build [default: target/release/quorate]")
    parser.add_argument("--seconds", type=int, default=10, help="how long each round is measured [default: 10]")
    args = parser.parse_args()
    if not os.access(args.binary, os.X_OK):
        parser.error(f"{args.binary} cannot be run; `cargo build --release` makes it")
    stop_when_terminated()
    sys.stdout.reconfigure(line_buffering=True)
    report = TARGET / "beside-etcd.txt"
    # Its directories are under target/, so that both clusters write to the disk that the build is on.
    clusters = TARGET / "beside-etcd"
    text = setting(args.binary, args.seconds)
    print(text)
    with (QuorateCluster(args.binary, clusters / "quorate") as ours, EtcdCluster(clusters / "etcd") as theirs):
        for title, case in CASES:
            part = f"\n## {title}\n\n{measure(args.binary, ours, theirs, case, args.seconds)}"
            print(part)
            text += part
            report.write_text(text)
    print(f"written to {report}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(f"beside-etcd.py: {error}")
