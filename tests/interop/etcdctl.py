#!/usr/bin/env python3
"""Asks a five-node cluster, through each of its nodes, with a stock etcdctl, and demands etcd's answers.

    tests/interop/etcdctl.py target/release/quorate      a `quorate up` of this binary
    tests/interop/etcdctl.py --against-etcd              five etcds: are the expectations etcd's own answers?

What etcd answers field by field is compared in tests/conformance; here is what its own command line makes of it, through
all five nodes. Every expectation is the text that etcdctl 3.5 prints, or a part of its JSON, so that a difference is one that a user
would see. Each node finds the store empty and leaves it empty; revisions are counted from where it found them.

Not asked: --sort-by with --limit but without --order. etcd then cuts the range before it sorts it, so that
`--sort-by MODIFY --limit 2` need not show the two oldest; Quorate sorts first.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import check
import held
import users
from ctl import BAD_ARGUMENTS, Node, Tally
from local_cluster import ClusterError, EtcdCluster, QuorateCluster, etcd_binaries, stop_when_terminated

SETTLES_WITHIN_S = 20


def key_value(key, value, created, modified, version):
    """A pair as JSON has it; key and value are in base64."""
    return {"key": key, "value": value, "create_revision": created, "mod_revision": modified, "version": version}


def writes_and_reads(node):
    base = node.revision()
    node.says("put a 1", "OK")
    node.says("put b 3", "OK")
    node.says("put c 2", "OK")
    node.says("put --prev-kv a 4", "OK", "a", "1")
    node.says("put bb ''", "OK")
    node.tally.check(node.name, "each put made one revision", node.revision(), base + 5)

    node.says("get a", "a", "4")
    node.says("get a --print-value-only", "4")
    node.says("get a --hex", r"\x61", r"\x34")
    node.says("get none")
    node.says("get a c", "a", "4", "b", "3", "bb", "")
    node.says("get b --prefix", "b", "3", "bb", "")
    node.says("get '' --prefix --keys-only", "a", "", "b", "", "bb", "", "c", "")
    node.says("get b --from-key", "b", "3", "bb", "", "c", "2")
    node.says("get b --from-key --limit 1", "b", "3")
    node.says("get '' --prefix --limit 2", "a", "4", "b", "3")
    node.says("get '' --prefix --keys-only --order DESCEND", "c", "", "bb", "", "b", "", "a", "")
    node.says("get '' --prefix --keys-only --sort-by VALUE", "bb", "", "c", "", "b", "", "a", "")
    node.says("get '' --prefix --keys-only --sort-by VALUE --order DESCEND", "a", "", "b", "", "c", "", "bb", "")
    node.says("get '' --prefix --keys-only --sort-by MODIFY --order ASCEND --limit 2", "b", "", "c", "")
    node.says("get '' --prefix --keys-only --sort-by VERSION --order DESCEND --limit 1", "a", "")
    node.says("get '' --prefix --keys-only --sort-by CREATE --order DESCEND", "bb", "", "c", "", "b", "", "a", "")
    node.says("get a --consistency s", "a", "4")
    node.says(f"get a --rev {base + 1}", "a", "1")
    node.says(f"get '' --prefix --rev {base + 2}", "a", "1", "b", "3")

    node.holds("get a", "the pair", lambda j: j.get("kvs"), [key_value("YQ==", "NA==", base + 1, base + 4, 2)])
    node.holds("get a", "the header's revision", lambda j: j.get("header", {}).get("revision"), base + 5)
    node.holds("get a c --limit 1", "more and count", lambda j: (j.get("more"), j.get("count")), (True, 3))
    node.holds("put a 5 --prev-kv", "the pair before", lambda j: j.get("prev_kv"),
               key_value("YQ==", "NA==", base + 1, base + 4, 2))
    fields(node, "get a", [
        f'"Revision" : {base + 6}', '"Key" : "a"', f'"CreateRevision" : {base + 1}', f'"ModRevision" : {base + 6}',
        '"Version" : 3', '"Value" : "5"', '"Lease" : 0', '"More" : false', '"Count" : 1',
    ])
    fields(node, "get b --from-key --count-only", [f'"Revision" : {base + 6}', '"More" : false', '"Count" : 3'])

    node.says("put a --ignore-value", "OK")
    node.says("get a", "a", "5")
    node.says("put -- -dashed value", "OK")
    node.says("get -- -dashed", "-dashed", "value")
    node.says("put from-stdin", "OK", stdin="several\nlines")
    node.says("get from-stdin", "from-stdin", "several", "lines")


def fields(node, command, expected):
    """`-w fields`, but for what names the cluster and its term."""
    done = node.run(f"{command} -w fields")
    varies = ('"ClusterID"', '"MemberID"', '"RaftTerm"')
    got = [line for line in done.stdout.splitlines() if not line.startswith(varies)]
    node.tally.check(node.name, f"{command} -w fields", got, expected)


def deletions(node):
    node.says("del none", "0")
    node.says("del bb", "1")
    node.says("del b --prev-kv", "1", "b", "3")
    for key in ("p1", "p2", "p3"):
        node.run(f"put {key} x")
    node.says("del p1 p2", "1")
    node.says("del p --prefix --prev-kv", "2", "p2", "x", "p3", "x")
    before = node.revision()
    node.says("del none", "0")
    node.tally.check(node.name, "deleting nothing makes no revision", node.revision(), before)
    node.says("del a --from-key", "3")
    node.says("del '' --prefix", "1")
    node.says("get '' --prefix")


def transactions(node):
    node.says("txn", "SUCCESS", "", "OK", "", "t", "1", stdin='ver("t") = "0"\n\nput t 1\nget t\n\nget none\n\n')
    node.says("txn", "FAILURE", "", "t", "1", stdin='ver("t") = "0"\n\nput t 2\n\nget t\n\n')
    node.says("txn", "SUCCESS", "", "1", stdin='val("t") = "1"\nc("t") > "0"\nmod("t") != "0"\n\ndel t\n\n\n')
    node.says("txn", "SUCCESS", stdin="\n\n\n")
    base = node.revision()
    stdin = "\nput x 1\nput y 2\n\n\n"
    node.holds("txn", "the writes of one transaction share a revision",
               lambda j: [r["Response"]["response_put"]["header"]["revision"] for r in j.get("responses", [])],
               [base + 1, base + 1], stdin=stdin)
    node.refuses("txn", "etcdserver: duplicate key given in txn request", stdin="\nput d 1\nput d 2\n\n\n")
    node.says("get d")
    node.says("del '' --prefix", "2")


def refusals(node):
    no_key, no_pair = "etcdserver: key is not provided", "etcdserver: key not found"
    node.refuses("put '' value", no_key)
    node.refuses("get ''", no_key)
    node.refuses("del ''", no_key)
    node.refuses("txn", no_key, stdin='\nput "" 1\n\n\n')
    node.refuses("put none --ignore-value", no_pair)
    node.refuses("put none value --ignore-lease", no_pair)
    node.refuses("put k v --lease 7b", "etcdserver: requested lease not found")
    future = node.revision() + 1
    node.refuses(f"get a --rev {future}", "etcdserver: mvcc: required revision is a future revision")
    node.refuses(f"compaction {future}", "etcdserver: mvcc: required revision is a future revision")


def compaction(node):
    compacted = "etcdserver: mvcc: required revision has been compacted"
    base = node.revision()
    for value in (1, 2, 3):
        node.run(f"put old {value}")
    node.says(f"compaction {base + 2}", f"compacted revision {base + 2}")
    node.refuses(f"get old --rev {base + 1}", compacted)
    node.says(f"get old --rev {base + 2}", "old", "2")
    node.says("get old", "old", "3")
    node.refuses(f"compaction {base + 2}", compacted)
    node.refuses(f"compaction {base + 1}", compacted)
    node.says("del old", "1")


def members(node, cluster):
    """What a node says of all of them."""
    expected = {(f"n{k + 1}", f"http://{endpoint}") for k, endpoint in enumerate(cluster.endpoints())}
    node.holds("member list", "names and client URLs",
               lambda j: {(m["name"], m["clientURLs"][0]) for m in j.get("members", [])}, expected)
    lines = [line.split(", ") for line in node.run("member list").stdout.splitlines()]
    got = sorted((name, state, is_learner) for _, state, name, _, _, is_learner in lines)
    node.tally.check(node.name, "member list", got, [(name, "started", "false") for name, _ in sorted(expected)])
    urls = sorted(url for _, url in expected)
    node.holds("endpoint health --cluster", "all are healthy",
               lambda j: sorted(e["endpoint"] for e in j if e["health"]), urls)
    node.holds("endpoint status --cluster", "all endpoints",
               lambda j: sorted(e["Endpoint"] for e in j), urls)
    node.holds("endpoint status --cluster", "all know one leader of one term",
               lambda j: len({(e["Status"]["leader"], e["Status"]["raftTerm"]) for e in j}), 1)
    node.holds("endpoint status --cluster", "the database has a size",
               lambda j: all(e["Status"]["dbSize"] > 0 for e in j), True)
    node.holds("endpoint status --cluster", "no more of it is in use than there is",
               lambda j: all(e["Status"]["dbSizeInUse"] <= e["Status"]["dbSize"] for e in j), True)
    node.holds("endpoint status --cluster", "nothing is wrong", lambda j: [e["Status"].get("errors") for e in j],
               [None] * len(expected))
    node.says("alarm list")


def hashes(node, cluster):
    """All nodes have the same hash of what can be read at a revision."""
    base = node.revision()
    node.says("put hashed 1", "OK")
    node.says("put hashed 2", "OK")
    seen = []
    for revision in (base + 1, base + 2):
        j = node.json(f"endpoint hashkv --cluster --rev {revision}")
        seen.append({(e["HashKV"]["hash"], e["HashKV"].get("compact_revision", 0)) for e in j})
        node.tally.check(node.name, f"endpoint hashkv --cluster --rev {revision}: of all nodes, and one hash",
                         (len(j), len(seen[-1])), (len(cluster.endpoints()), 1))
    node.tally.check(node.name, "another revision has another hash", seen[0] != seen[1], True)
    node.says("del hashed", "1")


def membership(node):
    """A learner that never starts comes, moves and goes."""
    listed = node.json("member list")
    cluster_id, voter = listed["header"]["cluster_id"], listed["members"][0]["ID"]
    base = node.revision()
    added = node.json("member add newcomer --learner --peer-urls http://127.0.0.1:1")
    members = added.get("members", [])
    newcomer = added.get("member", {}).get("ID", 0)
    node.tally.check(node.name, "member add: as a learner, beside the others",
                     (added.get("member", {}).get("isLearner"), len(members)), (True, len(listed["members"]) + 1))
    node.tally.check(node.name, "member add makes no revision", node.revision(), base)
    node.refuses("member add other --peer-urls http://127.0.0.1:1", "etcdserver: Peer URLs already exists")
    node.refuses(f"member promote {newcomer:x}",
                 "etcdserver: can only promote a learner member which is in sync with leader")
    node.refuses(f"member promote {voter:x}", "etcdserver: can only promote a learner member")
    node.says(f"member update {newcomer:x} --peer-urls http://127.0.0.1:2",
              f"Member {newcomer:16x} updated in cluster {cluster_id:16x}")
    node.holds("member list", "the newcomer's new URL",
               lambda j: [m["peerURLs"] for m in j["members"] if m["ID"] == newcomer], [["http://127.0.0.1:2"]])
    node.says(f"member remove {newcomer:x}", f"Member {newcomer:16x} removed from cluster {cluster_id:16x}")
    node.holds("member list", "as before", lambda j: [m["ID"] for m in j["members"]],
               [m["ID"] for m in listed["members"]])
    for command in ("remove 1234", "promote 1234", "update 1234 --peer-urls http://127.0.0.1:3"):
        node.refuses(f"member {command}", "etcdserver: member not found")


def upkeep(node):
    """What an operator does to one node."""
    node.says("alarm list")
    node.says("alarm disarm")
    node.says("defrag", f"Finished defragmenting etcd member[{node.endpoints}]")
    with tempfile.TemporaryDirectory(prefix="quorate-interop-") as directory:
        path = Path(directory) / "snapshot"
        node.says(f"snapshot save {path}", f"Snapshot saved at {path}")
        pages_and_digest = path.stat().st_size % 512 if path.exists() else None
        node.tally.check(node.name, "the snapshot ends in a digest", pages_and_digest, 32)


def visibility(nodes):
    """What was put through one node is seen through every other at once."""
    for writer, reader in itertools.product(nodes, nodes):
        value = f"{writer.name}-{reader.name}"
        writer.says(f"put seen {value}", "OK")
        reader.says("get seen", "seen", value)
    nodes[0].says("del seen", "1")


def leadership(every, nodes):
    """The leadership goes once around, and a node that does not lead has none to give."""
    ids = {m["name"]: m["ID"] for m in every.json("member list")["members"]}
    for node in nodes:
        leader, to = settled_leader(every), ids[node.name]
        if leader != to:
            every.says(f"move-leader {to:x}", f"Leadership transferred from {leader:x} to {to:x}")
        every.tally.check(every.name, f"{node.name} leads", settled_leader(every, to), to)
        node.says("put moved yes", "OK")
    node.refuses("move-leader 1234", "etcdserver: bad leader transferee")
    other = nodes[0]
    other.refuses(f"move-leader {to:x}", f"no leader endpoint given at [{other.endpoints}]", BAD_ARGUMENTS)
    other.says("del moved", "1")


def settled_leader(every, expected=None):
    """The leader that all nodes know of: the expected one as soon as it is, or what they say in the end."""
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while True:
        leaders = {e["Status"].get("leader", 0) for e in every.json("endpoint status")}
        is_settled = len(leaders) == 1 and 0 not in leaders and expected in {None, *leaders}
        if is_settled or time.monotonic() > deadline:
            return leaders.pop() if len(leaders) == 1 else leaders


def ask(cluster, tally):
    etcdctl = etcd_binaries() / "etcdctl"
    nodes = [Node(etcdctl, endpoint, f"n{k + 1}", tally) for k, endpoint in enumerate(cluster.endpoints())]
    every = Node(etcdctl, ",".join(cluster.endpoints()), "all", tally)
    for node in nodes:
        writes_and_reads(node)
        deletions(node)
        transactions(node)
        refusals(node)
        compaction(node)
        members(node, cluster)
        hashes(node, cluster)
        membership(node)
        upkeep(node)
    for node in nodes:
        held.ask(node)
    visibility(nodes)
    leadership(every, nodes)
    users.ask(every, nodes)
    check.ask(nodes[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("binary", nargs="?", help="the binary `quorate` whose `up` is asked")
    target.add_argument("--against-etcd", action="store_true", help="ask five etcds instead")
    args = parser.parse_args()
    stop_when_terminated()
    sys.stdout.reconfigure(line_buffering=True)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="quorate-interop-") as temporary:
        directory = Path(temporary) / "run"
        cluster = EtcdCluster(directory) if args.against_etcd else QuorateCluster(args.binary, directory)
        with cluster:
            ask(cluster, tally)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(f"etcdctl.py: {error}")
