"""The Election service."""

import threading

from catalogue import case


def grant(s, lease):
    return s.quietly("Lease.LeaseGrant", ID=lease, TTL=100).ID


def leader_key(leader):
    return {"name": leader.name, "key": leader.key, "rev": leader.rev, "lease": leader.lease}


@case
def won_and_resigned(s):
    grant(s, 900)
    leader = s.call("Election.Campaign", name=b"mayor", lease=900, value=b"me").leader
    s.call("Election.Leader", name=b"mayor")
    s.call("Election.Proclaim", leader=leader_key(leader), value=b"still me")
    s.call("Election.Leader", name=b"mayor")
    s.call("Election.Resign", leader=leader_key(leader))
    s.call("Election.Leader", name=b"mayor")


@case
def nobody_leads(s):
    s.call("Election.Leader", name=b"mayor")
    s.call("Election.Leader")


@case
def a_lease_that_is_unknown(s):
    s.call("Election.Campaign", name=b"mayor", lease=12345, value=b"me")


@case
def without_saying_which_leader(s):
    s.call("Election.Proclaim", value=b"me")
    s.call("Election.Resign")


@case
def a_leader_that_leads_no_more(s):
    grant(s, 901)
    leader = s.quietly("Election.Campaign", name=b"mayor", lease=901, value=b"me").leader
    s.quietly("Lease.LeaseRevoke", ID=901)
    s.call("Election.Proclaim", leader=leader_key(leader), value=b"me again")
    s.call("Election.Resign", leader=leader_key(leader))


@case
def campaigning_again_proclaims(s):
    grant(s, 902)
    s.call("Election.Campaign", name=b"mayor", lease=902, value=b"one")
    s.call("Election.Campaign", name=b"mayor", lease=902, value=b"two")
    s.call("Election.Leader", name=b"mayor")


@case
def the_next_one_leads_when_one_resigns(s):
    grant(s, 903)
    grant(s, 904)
    first = s.quietly("Election.Campaign", name=b"mayor", lease=903, value=b"first").leader
    got = []
    waits = threading.Thread(
        target=lambda: got.append(s.quietly("Election.Campaign", name=b"mayor", lease=904, value=b"second")))
    waits.start()
    while not s.quietly("KV.Range", key=b"mayor/%x" % 904).count:
        pass
    s.call("Election.Resign", leader=leader_key(first))
    waits.join(10)
    s.note(f"leads then: {[answer.leader.key for answer in got]}")
    s.call("Election.Leader", name=b"mayor")
