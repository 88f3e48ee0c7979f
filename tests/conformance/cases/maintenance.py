"""How a member is doing, and its upkeep."""

import hashlib

import grpc

from catalogue import case

NOBODY = 0x1234


@case
def status(s):
    s.put(b"a")
    s.server.catch_up()
    for node in range(3):
        status = s.quietly("Maintenance.Status", node)
        s.note(f"header {s.transcript.inline(status.header)}")
        s.note(f"leader is a member: {status.leader in s.transcript.members}; errors: {list(status.errors)}")
        s.note(f"learner: {status.isLearner}; terms agree: {status.raftTerm == status.header.raft_term}")
        s.note(f"indices: {0 < status.raftAppliedIndex <= status.raftIndex}")
        s.note(f"sizes: {0 < status.dbSizeInUse <= status.dbSize}; version: {status.version.split('.')[0]}")


@case
def fields_of_a_status(s):
    s.put(b"a")
    s.call("Maintenance.Status")


@case
def alarms(s):
    first, second = s.server.members[0].ID, s.server.members[1].ID
    s.call("Maintenance.Alarm")
    s.call("Maintenance.Alarm", action="ACTIVATE", memberID=first, alarm="CORRUPT")
    s.call("Maintenance.Alarm")
    s.call("Maintenance.Alarm", alarm="NOSPACE")
    s.call("Maintenance.Alarm", alarm="CORRUPT")
    s.call("Maintenance.Alarm", alarm="CORRUPT", memberID=second)
    s.call("Maintenance.Alarm", action="DEACTIVATE", memberID=second, alarm="CORRUPT")
    s.call("Maintenance.Alarm", action="DEACTIVATE", memberID=first, alarm="NOSPACE")
    s.call("Maintenance.Alarm", action="DEACTIVATE", memberID=first, alarm="CORRUPT")
    s.call("Maintenance.Alarm", action="DEACTIVATE", memberID=first, alarm="CORRUPT")
    s.call("Maintenance.Alarm")


def under_alarm(s, alarm):
    """What is still done while an alarm is on; each finds the key as the one before it left it, or not."""
    s.put(b"a", b"1")
    s.quietly("Lease.LeaseGrant", TTL=100, ID=802)
    s.quietly("Maintenance.Alarm", action="ACTIVATE", memberID=s.server.members[0].ID, alarm=alarm)
    for name, fields in (
        ("KV.Range", {"key": b"a"}),
        ("KV.Put", {"key": b"a", "value": b"2"}),
        ("KV.Txn", {"success": [{"request_put": {"key": b"a", "value": b"3"}}]}),
        ("KV.DeleteRange", {"key": b"none"}),
        ("Lease.LeaseGrant", {"TTL": 100, "ID": 803}),
        ("Lease.LeaseRevoke", {"ID": 802}),
    ):
        method = s.server.methods[name]
        try:
            s.server.stub(method, 0)(method.request(**fields), timeout=10)
            s.note(f"{name}: done")
        except grpc.RpcError as error:
            s.note(f"{name}: {error.code().name}: {error.details()}")


@case
def without_space(s):
    under_alarm(s, "NOSPACE")


@case
def a_corrupt_member(s):
    under_alarm(s, "CORRUPT")


@case
def alarms_that_are_none(s):
    s.call("Maintenance.Alarm", action="ACTIVATE", memberID=s.server.members[0].ID)
    s.call("Maintenance.Alarm", action="DEACTIVATE")
    s.call("Maintenance.Alarm")


@case
def hash_of_the_keys(s):
    s.put(b"a", b"1")
    s.put(b"a", b"2")
    s.call("Maintenance.HashKV")
    s.call("Maintenance.HashKV", revision=s.base + 1)
    s.server.catch_up()
    hashes = {s.quietly("Maintenance.HashKV", node, revision=s.base + 2).hash for node in range(3)}
    s.note(f"hashes: {len(hashes)}")
    differs = s.quietly("Maintenance.HashKV", revision=s.base + 1).hash not in hashes
    s.note(f"another revision has another: {differs}")


@case
def hashes_that_are_wrong(s):
    s.put(b"a", b"1")
    last = s.put(b"a", b"2")
    s.call("Maintenance.HashKV", revision=last + 1)
    s.call("Maintenance.HashKV", revision=-1)
    s.quietly("KV.Compact", revision=last, physical=True)
    s.call("Maintenance.HashKV", revision=last - 1)


@case
def hash_of_everything(s):
    s.call("Maintenance.Hash")


@case
def defragmented(s):
    s.put(b"a", b"1")
    s.call("Maintenance.Defragment")
    s.call("KV.Range", key=b"a")


@case
def snapshot(s):
    s.put(b"a", b"1")
    parts = s.server.stub(s.server.methods["Maintenance.Snapshot"], 0)(b"", timeout=30)
    parts = list(parts)
    total = sum(len(part.blob) for part in parts)
    sent, is_told = 0, True
    for part in parts:
        sent += len(part.blob)
        # The digest at the end is not among what remains in some versions.
        is_told &= part.remaining_bytes in (total - sent, max(0, total - 32 - sent))
    blob = b"".join(part.blob for part in parts)
    s.note(f"what remains is told: {is_told}")
    s.note(f"it ends in the digest of the rest: {hashlib.sha256(blob[:-32]).digest() == blob[-32:]}")
    s.note(f"the rest is in pages: {(len(blob) - 32) % 512 == 0}; the last part says that none remain: {parts[-1].remaining_bytes}")
    s.transcript.coverage.answered(s.server.methods["Maintenance.Snapshot"], parts[0])


@case
def leadership_to_nobody(s):
    leader = s.server.leader()
    s.call("Maintenance.MoveLeader", leader, targetID=NOBODY)
    s.call("Maintenance.MoveLeader", leader)


@case
def leadership_from_who_has_none(s):
    leader = s.server.leader()
    other = (leader + 1) % 3
    answer = s.server.stub(s.server.methods["Maintenance.MoveLeader"], other)
    try:
        answer(s.server.methods["Maintenance.MoveLeader"].request(targetID=s.server.members[leader].ID), timeout=10)
        s.note("done")
    except grpc.RpcError as error:
        s.note(f"{error.code().name}: {error.details()}")


@case
def leadership_to_who_has_it(s):
    leader = s.server.leader()
    method = s.server.methods["Maintenance.MoveLeader"]
    try:
        answer = s.server.stub(method, leader)(method.request(targetID=s.server.members[leader].ID), timeout=10)
        s.note(f"done, with a header: {answer.HasField('header')}")
    except grpc.RpcError as error:
        s.note(f"{error.code().name}: {error.details()}")
    s.note(f"it leads still: {s.server.leader() == leader}")


@case
def leadership_moves(s):
    leader = s.server.leader()
    other = (leader + 1) % 3
    answer = s.quietly("Maintenance.MoveLeader", leader, targetID=s.server.members[other].ID)
    s.note(f"done, with a header: {answer.HasField('header')}")
    status = s.quietly("Maintenance.Status", leader)
    s.note(f"the other leads: {status.leader == s.server.members[other].ID}")


@case
def no_downgrade_is_under_way(s):
    s.call("Maintenance.Downgrade", action="CANCEL")
    s.call("Maintenance.Downgrade", action="CANCEL", version="3.4.0")


@case
def a_downgrade_that_etcd_could_make(s):
    s.call("Maintenance.Downgrade", action="VALIDATE", version="3.4.0")


@case
def downgrades_that_are_wrong(s):
    for action in ("VALIDATE", "ENABLE"):
        for version in ("", "nonsense", "3", "2.0.0", "3.2.0", "9.0.0"):
            s.call("Maintenance.Downgrade", action=action, version=version)
    s.call("Maintenance.Downgrade", action=7, version="3.4.0")


@case
def a_service_that_is_not_there(s):
    method = s.server.methods["Maintenance.Hash"]
    for path in ("/etcdserverpb.Nothing/Hash", "/etcdserverpb.Maintenance/Nothing"):
        call = s.server.channels[0].unary_unary(path, method.request.SerializeToString, method.response.FromString)
        try:
            call(method.request(), timeout=10)
        except grpc.RpcError as error:
            s.note(f"{path}: {error.code().name}: {error.details()}")
