"""Watches: what they are told, in which order, and how they end."""

from catalogue import case

ALL = {"key": b"\0", "range_end": b"\0"}


@case
def created(s):
    watch = s.watch()
    s.put(b"before")
    watch.create(b"a")
    s.put(b"a")
    watch.events(0, 1)


@case
def ids_are_the_servers_or_the_clients(s):
    watch = s.watch()
    for fields in ({}, {}, {"watch_id": 7}, {}, {"watch_id": 2}, {"watch_id": 3}, {}, {}, {"watch_id": -5}):
        watch.create(b"a", **fields)


@case
def a_duplicate_id_is_refused(s):
    watch = s.watch()
    watch.create(b"a", watch_id=7)
    watch.create(b"b", watch_id=7)
    watch.create(b"c")
    s.put(b"b")
    s.put(b"a")
    watch.events(7, 1)


@case
def the_id_that_the_server_would_have_drawn_is_taken(s):
    watch = s.watch()
    watch.create(b"a", watch_id=1)
    watch.create(b"b")
    watch.create(b"c")
    watch.create(b"d", watch_id=1)


@case
def an_empty_range_is_refused(s):
    watch = s.watch()
    watch.create(b"b", range_end=b"a")
    watch.create(b"b", range_end=b"b")
    watch.create(b"b", range_end=b"a", watch_id=9)
    watch.create(b"b")


@case
def an_empty_key(s):
    watch = s.watch()
    watch.create(b"")
    s.put(b"\0")
    watch.events(0, 1)
    watch.create(b"", range_end=b"\0")
    s.put(b"x")
    watch.events(1, 1)


@case
def from_the_past(s):
    first = s.put(b"a", b"1")
    s.put(b"b", b"1")
    s.put(b"a", b"2")
    s.delete(b"a")
    s.put(b"a", b"3")
    watch = s.watch()
    watch.create(b"a", start_revision=first)
    watch.events(0, 4)
    watch.create(b"a", start_revision=first + 2)
    watch.events(1, 3)
    s.put(b"a", b"4")
    watch.events(0, 1)
    watch.events(1, 1)


@case
def from_the_present(s):
    now = s.put(b"a", b"1")
    watch = s.watch()
    watch.create(b"a", start_revision=now)
    watch.events(0, 1)
    watch.create(b"a", start_revision=now + 1)
    s.put(b"a", b"2")
    watch.events(1, 1)


@case
def from_the_future(s):
    now = s.put(b"a", b"1")
    watch = s.watch()
    watch.create(b"a", start_revision=now + 3)
    for value in (b"2", b"3", b"4", b"5"):
        s.put(b"a", value)
    watch.events(0, 2)


@case
def from_a_negative_revision(s):
    last = s.put(b"a", b"1")
    s.quietly("KV.Compact", revision=last, physical=True)
    watch = s.watch()
    watch.create(b"a", start_revision=-1)
    watch.recv()


@case
def of_a_prefix(s):
    watch = s.watch()
    watch.create(b"p", range_end=b"q")
    for key in (b"o", b"p", b"p1", b"pzz", b"q"):
        s.put(key)
    watch.events(0, 3)


@case
def of_a_range(s):
    watch = s.watch()
    watch.create(b"b", range_end=b"d")
    for key in (b"a", b"b", b"c", b"d", b"bb"):
        s.put(key)
    watch.events(0, 3)


@case
def from_a_key_on(s):
    watch = s.watch()
    watch.create(b"m", range_end=b"\0")
    for key in (b"l", b"m", b"z", b"\xff\xff"):
        s.put(key)
    watch.events(0, 3)


@case
def of_everything(s):
    watch = s.watch()
    watch.create(**ALL)
    for key in (b"\0", b"a", b"\xff"):
        s.put(key)
    s.delete(b"a", b"\0")
    watch.events(0, 5)


@case
def with_the_pairs_before(s):
    past = s.put(b"a", b"1")
    s.put(b"a", b"2")
    watch = s.watch()
    watch.create(b"a", prev_kv=True, start_revision=past)
    watch.events(0, 2)
    s.put(b"a", b"3")
    s.delete(b"a")
    s.put(b"a", b"4")
    watch.events(0, 3)


@case
def the_pair_before_is_compacted(s):
    s.put(b"a", b"1")
    second = s.put(b"a", b"2")
    s.quietly("KV.Compact", revision=second, physical=True)
    watch = s.watch()
    watch.create(b"a", prev_kv=True, start_revision=second)
    watch.events(0, 1)


@case
def without_puts(s):
    watch = s.watch()
    watch.create(b"a", filters=["NOPUT"])
    s.put(b"a", b"1")
    s.delete(b"a")
    s.put(b"a", b"2")
    s.delete(b"a")
    watch.events(0, 2)


@case
def without_deletions(s):
    watch = s.watch()
    watch.create(b"a", filters=["NODELETE"])
    s.put(b"a", b"1")
    s.delete(b"a")
    s.put(b"a", b"2")
    watch.events(0, 2)


@case
def without_anything(s):
    watch = s.watch()
    watch.create(b"a", filters=["NODELETE", "NOPUT"])
    watch.create(b"a")
    s.put(b"a", b"1")
    s.delete(b"a")
    watch.events(1, 2)
    watch.send(cancel_request={"watch_id": 0})
    watch.recv()


@case
def an_unknown_filter_filters_nothing(s):
    watch = s.watch()
    watch.raw(b"\x0a\x05\x0a\x01a\x28\x07")
    watch.recv()
    s.put(b"a", b"1")
    s.delete(b"a")
    watch.events(0, 2)


@case
def filters_of_the_past(s):
    first = s.put(b"a", b"1")
    s.delete(b"a")
    s.put(b"a", b"2")
    watch = s.watch()
    watch.create(b"a", filters=["NOPUT"], start_revision=first)
    watch.events(0, 1)
    watch.create(b"a", filters=["NODELETE"], start_revision=first)
    watch.events(1, 2)


@case
def all_events_of_a_transaction_come_together(s):
    watch = s.watch()
    watch.create(**ALL)
    s.put(b"c")
    s.quietly("KV.Txn", success=[{"request_put": {"key": key, "value": b"1"}} for key in (b"b", b"a")]
              + [{"request_delete_range": {"key": b"c"}}])
    watch.events(0, 4)
    s.quietly("KV.DeleteRange", key=b"a", range_end=b"z")
    watch.events(0, 2)


@case
def all_events_of_an_old_transaction_come_together(s):
    s.put(b"c")
    s.quietly("KV.Txn", success=[{"request_put": {"key": key, "value": b"1"}} for key in (b"b", b"a")]
              + [{"request_delete_range": {"key": b"c"}}])
    watch = s.watch()
    watch.create(**ALL, start_revision=s.base + 1, prev_kv=True)
    watch.events(0, 4)


@case
def large_values_in_fragments(s):
    value = bytes(1 << 20)
    for key in (b"a", b"b", b"c", b"d"):
        s.put(key, value)
    s.quietly("KV.DeleteRange", key=b"a", range_end=b"z")
    watch = s.watch()
    watch.create(**ALL, start_revision=s.base + 5, prev_kv=True, fragment=True)
    parts = []
    while not parts or parts[-1].fragment:
        parts.append(watch.next())
        if not hasattr(parts[-1], "fragment"):
            s.note("the stream broke")
            return
    s.note(f"whether each says that more follows: {[part.fragment for part in parts]}")
    s.note(f"events in each: {[len(part.events) for part in parts]}")
    s.note(f"in order: {[event.kv.key for part in parts for event in part.events]}")


@case
def large_values_in_one_piece(s):
    value = bytes(1 << 20)
    for key in (b"a", b"b", b"c", b"d"):
        s.put(key, value)
    s.quietly("KV.DeleteRange", key=b"a", range_end=b"z")
    watch = s.watch()
    watch.create(**ALL, start_revision=s.base + 5, prev_kv=True)
    watch.events(0, 4)


@case
def progress_on_request(s):
    s.put(b"a")
    watch = s.watch()
    watch.create(b"a")
    watch.send(progress_request={})
    watch.recv()


@case
def progress_on_request_without_watches(s):
    watch = s.watch()
    watch.send(progress_request={})
    watch.recv()


@case
def progress_notify_says_nothing_before_its_time(s):
    watch = s.watch()
    watch.create(b"a", progress_notify=True)
    s.put(b"a")
    watch.recv()


@case
def canceled(s):
    watch = s.watch()
    watch.create(b"a")
    watch.create(b"a")
    watch.send(cancel_request={"watch_id": 0})
    watch.recv()
    s.put(b"a")
    watch.events(1, 1)


@case
def canceling_what_is_unknown_is_passed_over(s):
    watch = s.watch()
    watch.send(cancel_request={"watch_id": 4})
    watch.create(b"a")
    watch.send(cancel_request={"watch_id": 0})
    watch.recv()
    watch.send(cancel_request={"watch_id": 0})
    watch.create(b"b")


@case
def a_canceled_id_may_be_had_again(s):
    watch = s.watch()
    watch.create(b"a", watch_id=5)
    watch.send(cancel_request={"watch_id": 5})
    watch.recv()
    watch.create(b"b", watch_id=5)
    s.put(b"a")
    s.put(b"b")
    watch.events(5, 1)


@case
def from_a_compacted_revision(s):
    first = s.put(b"a", b"1")
    s.put(b"a", b"2")
    third = s.put(b"a", b"3")
    s.quietly("KV.Compact", revision=third, physical=True)
    watch = s.watch()
    watch.create(b"a", start_revision=first)
    watch.recv()
    watch.create(b"a", start_revision=third)
    watch.events(1, 1)
    watch.send(cancel_request={"watch_id": 0})
    watch.create(b"b")


@case
def compaction_of_what_was_told_cancels_nothing(s):
    watch = s.watch()
    watch.create(b"a")
    s.put(b"a", b"1")
    last = s.put(b"a", b"2")
    watch.events(0, 2)
    s.quietly("KV.Compact", revision=last, physical=True)
    s.put(b"a", b"3")
    watch.events(0, 1)


@case
def deletions_have_a_key_and_a_revision(s):
    lease = s.quietly("Lease.LeaseGrant", TTL=100, ID=71).ID
    s.put(b"a", b"1", lease=lease)
    watch = s.watch()
    watch.create(b"a")
    watch.create(b"a", prev_kv=True)
    s.delete(b"a")
    watch.events(0, 1)
    watch.events(1, 1)


@case
def deleting_nothing_is_no_event(s):
    watch = s.watch()
    watch.create(b"a")
    s.delete(b"a")
    s.put(b"a")
    watch.events(0, 1)


@case
def a_revoked_lease_deletes(s):
    lease = s.quietly("Lease.LeaseGrant", TTL=100, ID=72).ID
    for key in (b"c", b"a", b"b"):
        s.put(key, lease=lease)
    watch = s.watch()
    watch.create(**ALL, prev_kv=True)
    s.quietly("Lease.LeaseRevoke", ID=lease)
    watch.events(0, 3)


@case
def an_expired_lease_deletes(s):
    lease = s.quietly("Lease.LeaseGrant", TTL=1, ID=73).ID
    for key in (b"b", b"a"):
        s.put(key, lease=lease)
    watch = s.watch()
    watch.create(**ALL)
    watch.events(0, 2)


@case
def writes_of_one_transaction_to_a_lease(s):
    lease = s.quietly("Lease.LeaseGrant", TTL=100, ID=74).ID
    watch = s.watch()
    watch.create(**ALL)
    s.put(b"a", lease=lease)
    s.put(b"a", ignore_lease=True)
    s.put(b"a")
    watch.events(0, 3)


@case
def many_watches_of_one_stream(s):
    watch = s.watch()
    for key in (b"a", b"b", b"a", b"c"):
        watch.create(key)
    watch.create(b"a", range_end=b"d")
    for key in (b"a", b"c", b"b", b"a"):
        s.put(key)
    for watch_id, count in enumerate((2, 1, 2, 1, 4)):
        watch.events(watch_id, count)


@case
def through_another_node(s):
    watch = s.watch(node=1)
    watch.create(b"a")
    s.put(b"a", b"1")
    s.delete(b"a")
    watch.events(0, 2)


@case
def a_request_of_no_kind_is_passed_over(s):
    watch = s.watch()
    watch.raw(b"")
    watch.raw(b"\x22\x00")
    watch.create(b"a")


@case
def garbage_ends_the_stream(s):
    watch = s.watch()
    watch.raw(b"\xff\xff\xff")
    watch.recv()


@case
def when_the_client_has_said_all(s):
    watch = s.watch()
    watch.create(b"a")
    watch.half_close()
    s.put(b"a")
    watch.events(0, 1)


@case
def ids_are_of_a_stream(s):
    first, second = s.watch(), s.watch()
    first.create(b"a")
    second.create(b"a")
    second.send(cancel_request={"watch_id": 0})
    second.recv()
    s.put(b"a")
    first.events(0, 1)


@case
def what_follows_is_told_after_what_was(s):
    for value in range(20):
        s.put(b"a", b"%d" % value)
    watch = s.watch()
    watch.create(b"a", start_revision=s.base + 1)
    for value in range(20, 25):
        s.put(b"a", b"%d" % value)
    watch.events(0, 25)
