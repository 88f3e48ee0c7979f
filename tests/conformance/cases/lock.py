"""The Lock service."""

import threading

from catalogue import case


def grant(s, lease):
    return s.quietly("Lease.LeaseGrant", ID=lease, TTL=100).ID


@case
def taken_and_given_back(s):
    grant(s, 800)
    held = s.call("Lock.Lock", name=b"door", lease=800)
    s.call("KV.Range", key=b"door", range_end=b"doos")
    s.call("Lock.Unlock", key=held.key)
    s.call("KV.Range", key=b"door", range_end=b"doos")


@case
def taken_twice_by_one_lease(s):
    grant(s, 801)
    s.call("Lock.Lock", name=b"door", lease=801)
    s.call("Lock.Lock", name=b"door", lease=801)


@case
def a_lease_that_is_unknown(s):
    s.call("Lock.Lock", name=b"door", lease=12345)


@case
def without_a_name(s):
    grant(s, 802)
    s.call("Lock.Lock", lease=802)


@case
def giving_back_what_is_not_held(s):
    s.call("Lock.Unlock", key=b"nothing")
    s.call("Lock.Unlock")


@case
def the_next_one_gets_it_when_it_is_given_back(s):
    grant(s, 803)
    grant(s, 804)
    held = s.quietly("Lock.Lock", name=b"door", lease=803)
    got = []
    waits = threading.Thread(target=lambda: got.append(s.quietly("Lock.Lock", name=b"door", lease=804)))
    waits.start()
    waiting = b"door/" + b"%x" % 804
    while not s.quietly("KV.Range", key=waiting).count:
        pass
    s.note(f"before: {len(got)} got it")
    s.call("Lock.Unlock", key=held.key)
    waits.join(10)
    s.note(f"after: {[answer.key for answer in got]}")


@case
def a_lease_that_ends_gives_it_back(s):
    grant(s, 805)
    grant(s, 806)
    s.quietly("Lock.Lock", name=b"door", lease=805)
    s.call("Lease.LeaseRevoke", ID=805)
    s.call("Lock.Lock", name=b"door", lease=806)


@case
def the_fencing_token(s):
    grant(s, 807)
    key = s.quietly("Lock.Lock", name=b"door", lease=807).key
    token = s.quietly("KV.Range", key=key).kvs[0].create_revision
    fence = {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": token}
    put = {"request_put": {"key": b"guarded", "value": b"1"}}
    s.call("KV.Txn", compare=[fence], success=[put])
    s.quietly("Lock.Unlock", key=key)
    s.call("KV.Txn", compare=[fence], success=[put])
