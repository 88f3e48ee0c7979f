"""Who the members are, and changes of that. No voter is added or removed: nobody would start it."""

import time

import grpc

from catalogue import case

NOBODY = 0x1234
SETTLES_WITHIN_S = 20




def settled(s):
    """Waits until etcd takes changes of members: it does once all members have seen one another for some seconds."""
    taken = s.server.members[1].peerURLs[0]
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while time.monotonic() < deadline:
        try:
            s.quietly("Cluster.MemberAdd", peerURLs=[taken], isLearner=True)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                return
        time.sleep(0.05)
    s.note(f"no change of members was taken within {SETTLES_WITHIN_S} s")


@case
def listed(s):
    for linearizable in (True, False):
        members = s.quietly("Cluster.MemberList", linearizable=linearizable)
        s.note(f"header: revision {members.header.revision}, term {members.header.raft_term > 0}")
        for member in sorted(members.members, key=lambda member: member.name):
            s.note(s.transcript.inline(member))


@case
def a_learner_comes_and_goes(s):
    settled(s)
    s.put(b"a")
    added = s.quietly("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1", "http://127.0.0.1:2"], isLearner=True)
    s.transcript.learn(added)
    s.note(s.transcript.inline(added.member))
    s.note(f"header: revision {added.header.revision}; members: {len(added.members)}")
    s.note(f"its id is drawn: {added.member.ID > 1 << 16}")
    newcomer = added.member.ID
    updated = s.quietly("Cluster.MemberUpdate", ID=newcomer, peerURLs=["http://127.0.0.1:3"])
    s.note(s.transcript.inline(next(member for member in updated.members if member.ID == newcomer)))
    removed = s.quietly("Cluster.MemberRemove", ID=newcomer)
    s.note(f"header: revision {removed.header.revision}; members: {len(removed.members)}")
    s.call("Cluster.MemberRemove", ID=newcomer)


@case
def additions_that_are_wrong(s):
    settled(s)
    s.call("Cluster.MemberAdd", isLearner=True)
    for url in ("", "127.0.0.1:1", "nonsense", "ftp://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:1/path",
                "http://host:port"):
        s.call("Cluster.MemberAdd", peerURLs=[url], isLearner=True)
    s.call("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1", "nonsense"], isLearner=True)


@case
def a_peer_url_that_is_taken(s):
    settled(s)
    taken = s.server.members[1].peerURLs[0]
    s.call("Cluster.MemberAdd", peerURLs=[taken], isLearner=True)
    s.call("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1", taken], isLearner=True)


# etcd makes the id out of URLs and the second, so that each case has URLs of its own.
@case
def a_second_learner(s):
    settled(s)
    s.quietly("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:11"], isLearner=True)
    try:
        second = s.quietly("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:12"], isLearner=True)
        s.note(f"taken, beside {len(second.members) - 1} members")
    except grpc.RpcError as error:
        s.note(f"{error.code().name}: {error.details()}")


@case
def what_is_no_member(s):
    s.call("Cluster.MemberRemove", ID=NOBODY)
    s.call("Cluster.MemberRemove")
    s.call("Cluster.MemberUpdate", ID=NOBODY, peerURLs=["http://127.0.0.1:1"])
    s.call("Cluster.MemberPromote", ID=NOBODY)
    s.call("Cluster.MemberPromote")


@case
def a_peer_url_without_a_host(s):
    settled(s)
    try:
        s.quietly("Cluster.MemberAdd", peerURLs=["http://:1"], isLearner=True)
        s.note("taken")
    except grpc.RpcError as error:
        s.note(f"{error.code().name}: {error.details()}")


# Not asked: updates of a voter to no URLs or to what is none. etcd 3.5.1 takes them, and its nodes no longer find one
# another.
@case
def updates_that_are_wrong(s):
    settled(s)
    s.call("Cluster.MemberUpdate", ID=NOBODY, peerURLs=["nonsense"])
    s.call("Cluster.MemberUpdate", ID=s.server.members[0].ID, peerURLs=list(s.server.members[1].peerURLs))


@case
def an_update_to_what_it_is(s):
    voter = s.server.members[0]
    updated = s.quietly("Cluster.MemberUpdate", ID=voter.ID, peerURLs=list(voter.peerURLs))
    s.note(f"members: {len(updated.members)}")


@case
def promotions_that_are_wrong(s):
    settled(s)
    s.call("Cluster.MemberPromote", ID=s.server.members[0].ID)
    added = s.quietly("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:21"], isLearner=True)
    s.transcript.learn(added)
    s.call("Cluster.MemberPromote", ID=added.member.ID)
