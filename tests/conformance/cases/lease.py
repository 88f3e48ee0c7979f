"""Leases: how long they live, what hangs on them, and what goes with them."""

import time

from catalogue import case

# An expiry is looked for only by those that ask; what passes in between is the servers' own rhythm.
EXPIRES_WITHIN_S = 5


def grant(s, lease, ttl=100):
    return s.quietly("Lease.LeaseGrant", ID=lease, TTL=ttl).ID


@case
def granted(s):
    s.call("Lease.LeaseGrant", TTL=100)
    s.call("Lease.LeaseGrant", TTL=60, ID=500)
    s.call("Lease.LeaseLeases")


@case
def a_grant_makes_no_revision(s):
    s.put(b"a")
    s.call("Lease.LeaseGrant", TTL=100, ID=501)
    s.call("KV.Range", key=b"a")


@case
def ids_that_are_odd(s):
    for lease in (1, -1, -(1 << 63), (1 << 63) - 1):
        s.call("Lease.LeaseGrant", TTL=100, ID=lease)
        s.call("Lease.LeaseTimeToLive", ID=lease)
        s.call("Lease.LeaseRevoke", ID=lease)


@case
def times_that_are_odd(s):
    for lease, ttl in enumerate((0, -1, 1, 9_000_000_000, 9_000_000_001, 1 << 62, -(1 << 63)), 600):
        s.call("Lease.LeaseGrant", TTL=ttl, ID=lease)


@case
def an_id_that_is_taken(s):
    grant(s, 502)
    s.call("Lease.LeaseGrant", TTL=200, ID=502)
    s.call("Lease.LeaseGrant", TTL=9_000_000_001, ID=502)
    s.call("Lease.LeaseTimeToLive", ID=502)


@case
def an_id_may_be_had_again(s):
    grant(s, 503)
    s.quietly("KV.Put", key=b"a", value=b"1", lease=503)
    s.call("Lease.LeaseRevoke", ID=503)
    s.call("Lease.LeaseGrant", TTL=50, ID=503)
    s.call("Lease.LeaseTimeToLive", ID=503, keys=True)


@case
def revoking_what_is_unknown(s):
    s.call("Lease.LeaseRevoke", ID=12345)
    s.call("Lease.LeaseRevoke")
    s.call("Lease.LeaseRevoke", ID=-3)


@case
def revoking_deletes_at_one_revision(s):
    grant(s, 504)
    for key in (b"b", b"a", b"c"):
        s.put(key, lease=504)
    s.put(b"d")
    s.call("Lease.LeaseRevoke", ID=504)
    s.call("KV.Range", key=b"\0", range_end=b"\0")
    s.call("KV.Range", key=b"a", revision=s.base + 4)
    s.put(b"a")
    s.call("KV.Range", key=b"a")


@case
def revoking_without_keys_makes_no_revision(s):
    grant(s, 505)
    s.call("Lease.LeaseRevoke", ID=505)
    s.call("Lease.LeaseRevoke", ID=505)


@case
def kept_alive(s):
    grant(s, 506, 30)
    s.put(b"a", lease=506)
    stream = s.stream("Lease.LeaseKeepAlive")
    stream.send(ID=506)
    stream.recv()
    stream.send(ID=506)
    stream.recv()


@case
def keeping_alive_what_is_unknown(s):
    grant(s, 507, 30)
    stream = s.stream("Lease.LeaseKeepAlive")
    for lease in (404, 507, 0, -7, 507):
        stream.send(ID=lease)
        stream.recv()


@case
def keeping_alive_in_a_row_is_answered_in_order(s):
    stream = s.stream("Lease.LeaseKeepAlive")
    leases = [grant(s, 520 + k, 40 + k) for k in range(5)]
    for lease in [*leases, *reversed(leases)]:
        stream.send(ID=lease)
    for _ in range(2 * len(leases)):
        stream.recv()


@case
def keeping_alive_through_every_node(s):
    grant(s, 508, 30)
    for node in range(3):
        stream = s.stream("Lease.LeaseKeepAlive", node)
        stream.send(ID=508)
        stream.recv()


@case
def when_the_client_has_said_all(s):
    grant(s, 509, 30)
    stream = s.stream("Lease.LeaseKeepAlive")
    stream.send(ID=509)
    stream.half_close()
    stream.recv()
    stream.recv()


@case
def keeping_alive_nothing(s):
    stream = s.stream("Lease.LeaseKeepAlive")
    stream.half_close()
    stream.recv()


@case
def time_to_live(s):
    grant(s, 510)
    s.call("Lease.LeaseTimeToLive", ID=510)
    s.call("Lease.LeaseTimeToLive", ID=510, keys=True)
    for key in (b"b", b"a", b"c"):
        s.put(key, lease=510)
    s.call("Lease.LeaseTimeToLive", ID=510)
    s.call("Lease.LeaseTimeToLive", ID=510, keys=True)
    s.delete(b"b")
    s.call("Lease.LeaseTimeToLive", ID=510, keys=True)


@case
def time_to_live_of_what_is_unknown(s):
    s.call("Lease.LeaseTimeToLive", ID=999)
    s.call("Lease.LeaseTimeToLive", ID=999, keys=True)
    s.call("Lease.LeaseTimeToLive")


@case
def time_to_live_through_every_node(s):
    grant(s, 511)
    s.put(b"a", lease=511)
    for node in range(3):
        s.call("Lease.LeaseTimeToLive", node, ID=511, keys=True)


@case
def leases_are_listed(s):
    s.call("Lease.LeaseLeases")
    for lease, ttl in ((514, 100), (512, 200), (513, 300)):
        grant(s, lease, ttl)
    s.call("Lease.LeaseLeases")
    s.server.catch_up()
    s.call("Lease.LeaseLeases", 1)


@case
def putting_with_an_unknown_lease(s):
    s.call("KV.Put", key=b"a", value=b"1", lease=404)
    s.call("KV.Put", key=b"a", value=b"1", lease=-1)
    s.call("KV.Txn", success=[{"request_put": {"key": b"b", "value": b"1", "lease": 404}}])
    s.call("KV.Range", key=b"\0", range_end=b"\0")


@case
def a_transaction_with_an_unknown_lease_does_nothing(s):
    s.call("KV.Txn", success=[{"request_put": {"key": b"a", "value": b"1"}},
                              {"request_put": {"key": b"b", "value": b"1", "lease": 404}}])
    s.call("KV.Range", key=b"\0", range_end=b"\0")


@case
def moving_a_key_between_leases(s):
    grant(s, 530), grant(s, 531)
    s.put(b"a", lease=530)
    s.call("KV.Range", key=b"a")
    s.put(b"a", lease=531)
    s.call("KV.Range", key=b"a")
    s.call("Lease.LeaseTimeToLive", ID=530, keys=True)
    s.call("Lease.LeaseTimeToLive", ID=531, keys=True)
    s.call("Lease.LeaseRevoke", ID=530)
    s.call("KV.Range", key=b"a")
    s.put(b"a")
    s.call("Lease.LeaseTimeToLive", ID=531, keys=True)
    s.call("Lease.LeaseRevoke", ID=531)
    s.call("KV.Range", key=b"a")


@case
def ignoring_the_lease(s):
    grant(s, 532)
    s.put(b"a", lease=532)
    s.call("KV.Put", key=b"a", value=b"2", ignore_lease=True)
    s.call("KV.Range", key=b"a")
    s.call("KV.Put", key=b"a", ignore_lease=True, ignore_value=True)
    s.call("KV.Range", key=b"a")
    s.call("KV.Put", key=b"a", value=b"3", ignore_lease=True, lease=532)
    s.call("KV.Put", key=b"none", value=b"3", ignore_lease=True)
    s.call("KV.Put", key=b"a", ignore_value=True)
    s.call("KV.Range", key=b"a")
    s.call("Lease.LeaseTimeToLive", ID=532, keys=True)


@case
def comparing_the_lease(s):
    grant(s, 533)
    s.put(b"a", lease=533)
    s.put(b"b")
    for key in (b"a", b"b", b"none"):
        for result in ("EQUAL", "GREATER", "LESS", "NOT_EQUAL"):
            for lease in (533, 0):
                s.call("KV.Txn", compare=[{"target": "LEASE", "result": result, "key": key, "lease": lease}])


@case
def deleting_takes_the_key_off_its_lease(s):
    grant(s, 534)
    s.put(b"a", lease=534)
    s.call("KV.DeleteRange", key=b"a", prev_kv=True)
    s.put(b"a")
    s.call("Lease.LeaseRevoke", ID=534)
    s.call("KV.Range", key=b"a")


@case
def many_keys(s):
    grant(s, 535)
    keys = [b"key-%03d" % k for k in range(300)]
    for start in range(0, len(keys), 100):
        s.quietly("KV.Txn", success=[{"request_put": {"key": key, "lease": 535}} for key in keys[start:start + 100]])
    left = s.quietly("Lease.LeaseTimeToLive", ID=535, keys=True)
    s.note(f"{len(left.keys)} keys, all of them: {sorted(left.keys) == keys}")
    s.call("Lease.LeaseRevoke", ID=535)
    s.call("KV.Range", key=b"\0", range_end=b"\0", count_only=True)


@case
def writes_and_deletions_of_one_transaction(s):
    grant(s, 536)
    s.put(b"a", lease=536)
    s.call("KV.Txn", success=[{"request_delete_range": {"key": b"a"}}, {"request_put": {"key": b"b", "lease": 536}}])
    s.call("Lease.LeaseTimeToLive", ID=536, keys=True)


@case
def expired(s):
    granted = s.quietly("Lease.LeaseGrant", TTL=2, ID=537)
    began = time.monotonic()
    s.put(b"a", lease=537)
    watch = s.watch()
    watch.create(b"a", start_revision=s.base + 2)
    watch.events(0, 1)
    took = time.monotonic() - began
    s.note(f"not before its time: {took > granted.TTL - 0.5}")
    s.note(f"soon after it: {took < granted.TTL + EXPIRES_WITHIN_S}")
    s.call("Lease.LeaseTimeToLive", ID=537, keys=True)
    s.call("Lease.LeaseRevoke", ID=537)
    s.call("KV.Put", key=b"a", lease=537)
    stream = s.stream("Lease.LeaseKeepAlive")
    stream.send(ID=537)
    stream.recv()


@case
def kept_alive_beyond_its_time(s):
    # The other lease is there to tell the time: it ends when this one would have.
    grant(s, 538, 3), grant(s, 539, 3)
    s.put(b"kept", lease=538)
    s.put(b"let go", lease=539)
    watch = s.watch()
    watch.create(b"let go", start_revision=s.base + 3)
    stream = s.stream("Lease.LeaseKeepAlive")
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        stream.outbound.put(stream.method.request(ID=538))
        stream.next()
        time.sleep(0.2)
    watch.events(0, 1)
    s.call("KV.Range", key=b"kept")
