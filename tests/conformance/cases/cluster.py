"""Who the members are, and changes of that. No voter is added or removed: nobody would start it."""

from catalogue import case

NOBODY = 0x1234




@case
def listed(s):
    for linearizable in (True, False):
        members = s.quietly("Cluster.MemberList", linearizable=linearizable)
        s.note(f"header: revision {members.header.revision}, term {members.header.raft_term > 0}")
        for member in sorted(members.members, key=lambda member: member.name):
            s.note(s.transcript.inline(member))


@case
def a_learner_comes_and_goes(s):
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
    s.call("Cluster.MemberAdd", isLearner=True)
    for url in ("", "127.0.0.1:1", "nonsense", "ftp://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:1/path", "http://:1", "http://host:port"):
        s.call("Cluster.MemberAdd", peerURLs=[url], isLearner=True)
    s.call("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1", "nonsense"], isLearner=True)


@case
def a_peer_url_that_is_taken(s):
    taken = s.server.members[1].peerURLs[0]
    s.call("Cluster.MemberAdd", peerURLs=[taken], isLearner=True)
    s.call("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1", taken], isLearner=True)
    added = s.quietly("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1"], isLearner=True).member.ID
    s.call("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1"], isLearner=True)
    s.quietly("Cluster.MemberRemove", ID=added)


@case
def a_second_learner(s):
    added = s.quietly("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1"], isLearner=True).member.ID
    s.call("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:2"], isLearner=True)
    s.quietly("Cluster.MemberRemove", ID=added)


@case
def what_is_no_member(s):
    s.call("Cluster.MemberRemove", ID=NOBODY)
    s.call("Cluster.MemberRemove")
    s.call("Cluster.MemberUpdate", ID=NOBODY, peerURLs=["http://127.0.0.1:1"])
    s.call("Cluster.MemberPromote", ID=NOBODY)
    s.call("Cluster.MemberPromote")


@case
def updates_that_are_wrong(s):
    voter, other = s.server.members[:2]
    s.call("Cluster.MemberUpdate", ID=voter.ID)
    s.call("Cluster.MemberUpdate", ID=voter.ID, peerURLs=["nonsense"])
    s.call("Cluster.MemberUpdate", ID=voter.ID, peerURLs=[other.peerURLs[0]])
    s.call("Cluster.MemberUpdate", ID=NOBODY, peerURLs=["nonsense"])


@case
def an_update_to_what_it_is(s):
    voter = s.server.members[0]
    updated = s.quietly("Cluster.MemberUpdate", ID=voter.ID, peerURLs=list(voter.peerURLs))
    s.note(f"members: {len(updated.members)}")


@case
def promotions_that_are_wrong(s):
    s.call("Cluster.MemberPromote", ID=s.server.members[0].ID)
    added = s.quietly("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:1"], isLearner=True)
    s.transcript.learn(added)
    s.call("Cluster.MemberPromote", ID=added.member.ID)
    s.quietly("Cluster.MemberRemove", ID=added.member.ID)
