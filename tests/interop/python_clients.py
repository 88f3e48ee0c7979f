#!/usr/bin/env python3
"""Has stock Python clients of etcd read, write, watch, lease and lock on a Quorate cluster.

    tests/interop/python_clients.py target/release/quorate      a `quorate up` of this binary
    tests/interop/python_clients.py --against-etcd              three etcds: are the expectations etcd's own answers?

The clients are python-etcd3 (threads) and aetcd (asyncio), each in an environment of its own under target/, since the
one's generated code wants an old protobuf and the other's a new one. Both lock by leases and transactions.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from local_cluster import ClusterError, EtcdCluster, QuorateCluster, python_with, stop_when_terminated

NODES = 3
CLIENT_WITHIN_S = 60
ANSWER_WITHIN_S = 10
PACKAGES = {
    "etcd3": ("etcd3==0.12.0", "protobuf==3.20.3", "grpcio==1.85.1"),
    "aetcd": ("aetcd==1.0.0",),
}


class Checks:
    """What held; the first thing that does not hold ends the client."""

    def __init__(self, client):
        self.client, self.held = client, 0

    def equal(self, what, got, expected):
        if got != expected:
            sys.exit(f"FAILED  {self.client}: {what}\n  expected {expected!r}\n  got      {got!r}")
        self.held += 1
        print(f"ok      {self.client}: {what}")


def ask_by_etcd3(host, port, checks):
    import etcd3
    client = etcd3.client(host=host, port=port, timeout=ANSWER_WITHIN_S)
    client.put("a", "1")
    checks.equal("get", client.get("a")[0], b"1")
    checks.equal("get of nothing", client.get("none"), (None, None))
    client.put("ab", "2")
    checks.equal("a prefix", [(pair.key, value) for value, pair in client.get_prefix("a")], [(b"a", b"1"), (b"ab", b"2")])
    checks.equal("replace", (client.replace("a", "1", "3"), client.replace("a", "1", "4")), (True, False))
    operations = client.transactions
    succeeded, answers = client.transaction(
        compare=[operations.value("a") == "3", operations.version("none") == 0],
        success=[operations.put("t", "yes"), operations.get("a")], failure=[operations.put("t", "no")])
    checks.equal("a transaction", (succeeded, answers[1][0][0], client.get("t")[0]), (True, b"3", b"yes"))

    events, cancel = client.watch_prefix("w")
    client.put("w1", "x")
    client.delete("w1")
    told = [next(events), next(events)]
    cancel()
    checks.equal("a watch", [(type(event).__name__, event.key) for event in told],
                 [("PutEvent", b"w1"), ("DeleteEvent", b"w1")])

    lease = client.lease(30)
    client.put("l", "x", lease=lease)
    checks.equal("a lease", (lease.granted_ttl, list(lease.keys)), (30, [b"l"]))
    checks.equal("kept alive", [answer.TTL for answer in lease.refresh()], [30])
    lease.revoke()
    checks.equal("a revoked lease deletes", client.get("l"), (None, None))

    first, second = client.lock("mutex", ttl=30), client.lock("mutex", ttl=30)
    checks.equal("a lock", (first.acquire(timeout=5), first.is_acquired(), second.is_acquired()), (True, True, False))
    checks.equal("a lock that is let go", (first.release(), second.acquire(timeout=5), second.release()), (True, True, True))
    checks.equal("the version", len(client.status().version.split(".")), 3)
    checks.equal("the members", sorted(member.name for member in client.members), ["n1", "n2", "n3"])
    for prefix in ("a", "t"):
        client.delete_prefix(prefix)
    checks.equal("everything is deleted", list(client.get_all()), [])
    client.close()


async def ask_by_aetcd(host, port, checks):
    import aetcd
    async with aetcd.Client(host=host, port=port, timeout=ANSWER_WITHIN_S) as client:
        await client.put(b"a", b"1")
        checks.equal("get", (await client.get(b"a")).value, b"1")
        checks.equal("get of nothing", await client.get(b"none"), None)
        await client.put(b"ab", b"2")
        checks.equal("a prefix", [(pair.key, pair.value) for pair in await client.get_prefix(b"a")],
                     [(b"a", b"1"), (b"ab", b"2")])
        replaced = (await client.replace(b"a", b"1", b"3"), await client.replace(b"a", b"1", b"4"))
        checks.equal("replace", replaced, (True, False))
        operations = client.transactions
        succeeded, _ = await client.transaction(
            compare=[operations.value(b"a") == b"3", operations.version(b"none") == 0],
            success=[operations.put(b"t", b"yes")], failure=[operations.put(b"t", b"no")])
        checks.equal("a transaction", (succeeded, (await client.get(b"t")).value), (True, b"yes"))

        watch = await client.watch_prefix(b"w")
        await client.put(b"w1", b"x")
        await client.delete(b"w1")
        told = []
        async for event in watch:
            told.append((str(event.kind), event.kv.key))
            if len(told) == 2:
                break
        await watch.cancel()
        checks.equal("a watch", told, [("PUT", b"w1"), ("DELETE", b"w1")])

        lease = await client.lease(30)
        await client.put(b"l", b"x", lease=lease)
        checks.equal("a lease", (await lease.granted_ttl(), list(await lease.keys())), (30, [b"l"]))
        await lease.revoke()
        checks.equal("a revoked lease deletes", await client.get(b"l"), None)

        first, second = client.lock(b"mutex", ttl=30), client.lock(b"mutex", ttl=30)
        checks.equal("a lock", await first.acquire(timeout=5), True)
        checks.equal("a lock that is held", await second.is_acquired(), False)
        checks.equal("a lock that is let go", (await first.release(), await second.acquire(timeout=5)), (True, True))
        await second.release()
        for prefix in (b"a", b"t"):
            await client.delete_prefix(prefix)
        checks.equal("everything is deleted", list(await client.get_all()), [])


def inside(client, endpoint):
    """What one client asks, in its own environment."""
    host, port = endpoint.split(":")
    checks = Checks(client)
    if client == "etcd3":
        ask_by_etcd3(host, int(port), checks)
    else:
        asyncio.run(asyncio.wait_for(ask_by_aetcd(host, int(port), checks), CLIENT_WITHIN_S))
    print(f"{client}: {checks.held} passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("binary", nargs="?", help="the binary `quorate` whose `up` is asked")
    target.add_argument("--against-etcd", action="store_true", help="ask three etcds instead")
    target.add_argument("--inside", nargs=2, metavar=("CLIENT", "ENDPOINT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    if args.inside:
        return inside(*args.inside)
    stop_when_terminated()
    with tempfile.TemporaryDirectory(prefix="quorate-clients-") as temporary:
        directory = Path(temporary) / "run"
        cluster = EtcdCluster(directory, NODES) if args.against_etcd else QuorateCluster(args.binary, directory, NODES)
        with cluster:
            for client, endpoint in zip(PACKAGES, cluster.endpoints()):
                python = python_with(f"client-{client}", *PACKAGES[client])
                subprocess.run([python, __file__, "--inside", client, endpoint], check=True, timeout=CLIENT_WITHIN_S)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ClusterError, subprocess.SubprocessError) as error:
        sys.exit(f"python_clients.py: {error}")
