"""Users, roles and permissions: who is let in, and what each may do."""

from catalogue import case
from session import PASSWORD

READ, WRITE, READWRITE = "READ", "WRITE", "READWRITE"


def user(s, name, *roles, password=PASSWORD):
    s.quietly("Auth.UserAdd", name=name, password=password)
    for role in roles:
        s.quietly("Auth.UserGrantRole", user=name, role=role)


def role(s, name, *permissions):
    s.quietly("Auth.RoleAdd", name=name)
    for kind, key, range_end in permissions:
        s.quietly("Auth.RoleGrantPermission", name=name, perm={"permType": kind, "key": key, "range_end": range_end})


def enable(s):
    """Has root and nobody else yet. Returns root's token."""
    role(s, "root")
    user(s, "root", "root")
    s.quietly("Auth.AuthEnable")
    return login(s, "root")


def login(s, name, node=0):
    return s.quietly("Auth.Authenticate", node, name=name, password=PASSWORD).token


def town(s):
    """Alice reads and writes what begins with `a`, Rita reads `r` to `t`. Returns their tokens and root's."""
    role(s, "a", (READWRITE, b"a", b"b"))
    role(s, "r", (READ, b"r", b"t"), (WRITE, b"w", b""))
    user(s, "alice", "a")
    user(s, "rita", "r")
    root = enable(s)
    return login(s, "alice"), login(s, "rita"), root


@case
def users_come_and_go(s):
    s.call("Auth.UserAdd", name="alice", password="1")
    s.call("Auth.UserAdd", name="alice", password="2")
    s.call("Auth.UserAdd", name="bob", password="")
    s.call("Auth.UserAdd", name="", password="1")
    s.call("Auth.UserAdd", name="cert-only", options={"no_password": True})
    s.call("Auth.UserList")
    s.call("Auth.UserGet", name="alice")
    s.call("Auth.UserGet", name="nobody")
    s.call("Auth.UserChangePassword", name="alice", password="3")
    s.call("Auth.UserChangePassword", name="nobody", password="3")
    s.call("Auth.UserDelete", name="alice")
    s.call("Auth.UserDelete", name="alice")
    s.call("Auth.UserList")


@case
def roles_come_and_go(s):
    s.call("Auth.RoleAdd", name="r")
    s.call("Auth.RoleAdd", name="r")
    s.call("Auth.RoleAdd", name="")
    s.call("Auth.RoleList")
    s.call("Auth.RoleGet", role="r")
    s.call("Auth.RoleGet", role="none")
    s.call("Auth.RoleDelete", role="r")
    s.call("Auth.RoleDelete", role="r")
    s.call("Auth.RoleList")


@case
def a_role_is_given_and_taken(s):
    role(s, "r")
    user(s, "alice")
    s.call("Auth.UserGrantRole", user="alice", role="r")
    s.call("Auth.UserGrantRole", user="alice", role="r")
    s.call("Auth.UserGrantRole", user="alice", role="none")
    s.call("Auth.UserGrantRole", user="nobody", role="r")
    s.call("Auth.UserGrantRole", user="alice", role="root")
    s.call("Auth.UserGet", name="alice")
    s.call("Auth.UserRevokeRole", name="alice", role="r")
    s.call("Auth.UserRevokeRole", name="alice", role="r")
    s.call("Auth.UserRevokeRole", name="nobody", role="r")
    s.call("Auth.UserGet", name="alice")


@case
def a_deleted_role_is_taken_from_its_users(s):
    role(s, "r")
    user(s, "alice", "r")
    s.call("Auth.RoleDelete", role="r")
    s.call("Auth.UserGet", name="alice")


@case
def permissions_are_given_and_taken(s):
    role(s, "r")
    for kind, key, range_end in [
        (READ, b"b", b""), (WRITE, b"a", b"c"), (READWRITE, b"x", b"\0"), (READ, b"", b""), (READ, b"", b"\0"),
        (READ, b"d", b"c"), (READ, b"d", b"d"), (WRITE, b"b", b""), (READ, b"a", b"c"),
    ]:
        perm = {"permType": kind, "key": key, "range_end": range_end}
        s.call("Auth.RoleGrantPermission", name="r", perm=perm)
    s.call("Auth.RoleGrantPermission", name="r")
    s.call("Auth.RoleGrantPermission", name="none", perm={"key": b"a"})
    s.call("Auth.RoleGet", role="r")
    s.call("Auth.RoleRevokePermission", role="r", key=b"b")
    s.call("Auth.RoleRevokePermission", role="r", key=b"b")
    s.call("Auth.RoleRevokePermission", role="r", key=b"a", range_end=b"d")
    s.call("Auth.RoleRevokePermission", role="r", key=b"a", range_end=b"c")
    s.call("Auth.RoleRevokePermission", role="none", key=b"a")
    s.call("Auth.RoleGet", role="r")


@case
def enabling_needs_root(s):
    s.call("Auth.AuthStatus")
    s.call("Auth.AuthEnable")
    user(s, "root")
    s.call("Auth.AuthEnable")
    s.call("Auth.UserGrantRole", user="root", role="root")
    role(s, "root")
    s.call("Auth.UserGrantRole", user="root", role="root")
    s.call("Auth.AuthEnable")
    s.call("Auth.AuthEnable")
    s.call("Auth.AuthStatus")
    root = login(s, "root")
    s.call("Auth.AuthStatus", token=root)
    s.call("Auth.AuthDisable")
    s.call("Auth.AuthDisable", token=root)
    s.call("Auth.AuthDisable")


@case
def before_it_is_enabled(s):
    user(s, "alice")
    s.call("Auth.Authenticate", name="alice", password=PASSWORD)
    s.call("KV.Put", token="of no meaning", key=b"a", value=b"1")


@case
def logging_in(s):
    user(s, "alice")
    s.quietly("Auth.UserAdd", name="cert-only", options={"no_password": True})
    enable(s)
    s.call("Auth.Authenticate", name="alice", password=PASSWORD)
    s.call("Auth.Authenticate", name="alice", password="wrong")
    s.call("Auth.Authenticate", name="alice", password="")
    s.call("Auth.Authenticate", name="nobody", password=PASSWORD)
    s.call("Auth.Authenticate", name="", password="")
    s.call("Auth.Authenticate", name="cert-only", password="")


@case
def who_shows_no_token_or_a_wrong_one(s):
    town(s)
    for token in (None, "made.up", "made-up", "x.12"):
        s.call("KV.Range", token=token, key=b"a")
        s.call("KV.Put", token=token, key=b"a", value=b"1")
        s.call("Auth.UserList", token=token)


@case
def keys_within_and_without(s):
    alice, rita, root = town(s)
    for token in (alice, rita, root):
        s.call("KV.Put", token=token, key=b"apple", value=b"1")
        s.call("KV.Put", token=token, key=b"w", value=b"1")
        s.call("KV.Put", token=token, key=b"b", value=b"1")
        s.call("KV.Range", token=token, key=b"apple")
        s.call("KV.Range", token=token, key=b"apple", serializable=True)
        s.call("KV.Range", token=token, key=b"a", range_end=b"b")
        s.call("KV.Range", token=token, key=b"a", range_end=b"c")
        s.call("KV.Range", token=token, key=b"s", range_end=b"t")
        s.call("KV.Range", token=token, key=b"\0", range_end=b"\0")
        s.call("KV.DeleteRange", token=token, key=b"s")
        s.call("KV.DeleteRange", token=token, key=b"a", range_end=b"b")
        s.call("KV.DeleteRange", token=token, key=b"a", range_end=b"c")


@case
def through_another_node(s):
    alice, _, _ = town(s)
    s.call("KV.Put", node=1, token=login(s, "alice", 1), key=b"apple", value=b"1")
    s.call("KV.Put", node=2, token=login(s, "alice", 2), key=b"w", value=b"1")
    s.call("KV.Range", token=alice, key=b"apple")


@case
def what_was_there_before_must_be_readable(s):
    role(s, "w", (WRITE, b"k", b"l"))
    user(s, "wanda", "w")
    enable(s)
    wanda = login(s, "wanda")
    s.call("KV.Put", token=wanda, key=b"k", value=b"1")
    s.call("KV.Put", token=wanda, key=b"k", value=b"2", prev_kv=True)
    s.call("KV.Put", token=wanda, key=b"k", ignore_value=True)
    s.call("KV.DeleteRange", token=wanda, key=b"k", prev_kv=True)
    s.call("KV.DeleteRange", token=wanda, key=b"k")


def op(kind, **fields):
    return {f"request_{kind}": fields}


@case
def transactions_are_asked_about_throughout(s):
    alice, rita, _ = town(s)
    inside = op("put", key=b"apple", value=b"1")
    outside = op("put", key=b"zebra", value=b"1")
    reading = op("range", key=b"zebra")
    true = [{"key": b"apple", "target": "VERSION", "result": "GREATER", "version": -1}]
    for fields in (
        {"success": [inside]},
        {"success": [inside, outside]},
        {"success": [inside], "failure": [outside]},
        {"success": [inside], "failure": [reading]},
        {"compare": true, "success": [inside]},
        {"compare": [{"key": b"zebra", "target": "VERSION"}], "success": [inside]},
        {"compare": [{"key": b"a", "range_end": b"z", "target": "VERSION"}], "success": [inside]},
        {"success": [op("txn", success=[inside])]},
        {"success": [op("txn", success=[outside])]},
        {"success": [op("txn", failure=[op("txn", failure=[reading])])]},
        {"success": [op("delete_range", key=b"a", range_end=b"z")]},
        {},
    ):
        s.call("KV.Txn", token=alice, **fields)
    s.call("KV.Txn", token=rita, success=[op("put", key=b"w", value=b"1", prev_kv=True)])


@case
def leases_guard_what_is_bound_to_them(s):
    alice, rita, root = town(s)
    s.quietly("Lease.LeaseGrant", token=alice, ID=700, TTL=100)
    s.quietly("KV.Put", token=alice, key=b"apple", value=b"1", lease=700)
    s.call("Lease.LeaseTimeToLive", token=rita, ID=700)
    s.call("Lease.LeaseTimeToLive", token=rita, ID=700, keys=True)
    s.call("Lease.LeaseTimeToLive", token=alice, ID=700, keys=True)
    s.call("KV.Put", token=rita, key=b"w", value=b"1", lease=700)
    s.call("Lease.LeaseRevoke", token=rita, ID=700)
    s.call("Lease.LeaseRevoke", token=alice, ID=700)
    s.call("Lease.LeaseGrant", token=rita, ID=701, TTL=100)
    s.call("Lease.LeaseRevoke", token=root, ID=701)


@case
def who_is_not_root_runs_nothing(s):
    alice, _, root = town(s)
    for token in (alice, root):
        s.call("Auth.UserAdd", token=token, name="eve", password=PASSWORD)
        s.call("Auth.UserList", token=token)
        s.call("Auth.UserGet", token=token, name="rita")
        s.call("Auth.UserGet", token=token, name="alice")
        s.call("Auth.RoleList", token=token)
        s.call("Auth.RoleGet", token=token, role="a")
        s.call("Auth.RoleGet", token=token, role="r")
        s.call("Auth.RoleAdd", token=token, name="new")
        s.call("Auth.RoleGrantPermission", token=token, name="a", perm={"permType": READ, "key": b"z"})
        s.call("Auth.UserGrantRole", token=token, user="alice", role="r")
        s.call("Auth.UserChangePassword", token=token, name="rita", password=PASSWORD)
        s.call("Cluster.MemberAdd", token=token, peerURLs=["not a url"])
        s.call("Maintenance.HashKV", token=token)
        s.call("Maintenance.Defragment", token=token)


@case
def a_changed_password_ends_what_was_begun(s):
    alice, _, root = town(s)
    s.call("Auth.UserChangePassword", token=root, name="alice", password="new")
    s.call("KV.Range", token=alice, key=b"apple")
    s.call("Auth.Authenticate", name="alice", password=PASSWORD)
    s.call("Auth.Authenticate", name="alice", password="new")


@case
def a_deleted_user_is_out(s):
    alice, _, root = town(s)
    s.call("Auth.UserDelete", token=root, name="alice")
    s.call("KV.Range", token=alice, key=b"apple")
    s.call("Auth.UserDelete", token=root, name="root")
    s.call("Auth.RoleDelete", token=root, role="root")
    s.call("Auth.UserRevokeRole", token=root, name="root", role="root")


@case
def a_revoked_permission_holds_at_once(s):
    alice, _, root = town(s)
    s.call("KV.Range", token=alice, key=b"apple")
    s.call("Auth.RoleRevokePermission", token=root, role="a", key=b"a", range_end=b"b")
    s.call("KV.Range", token=alice, key=b"apple")


@case
def watches_are_asked_about(s):
    alice, rita, _ = town(s)
    for token, key, range_end in ((alice, b"apple", b""), (alice, b"a", b"c"), (rita, b"s", b""), (rita, b"w", b"")):
        stream = s.watch(token=token)
        stream.create(key, range_end=range_end)
    s.call("KV.Put", token=alice, key=b"apple", value=b"1")


@case
def a_watch_without_a_token(s):
    town(s)
    s.watch().create(b"apple")


@case
def two_ranges_that_touch_are_one(s):
    role(s, "r", (READ, b"a", b"c"), (READ, b"c", b"e"), (READ, b"f", b"g"))
    user(s, "rita", "r")
    enable(s)
    rita = login(s, "rita")
    for key, range_end in ((b"a", b"e"), (b"b", b"d"), (b"a", b"f"), (b"d", b"g"), (b"f", b"g")):
        s.call("KV.Range", token=rita, key=key, range_end=range_end)


@case
def without_authentication_again(s):
    alice, _, root = town(s)
    s.call("Auth.AuthDisable", token=alice)
    s.call("Auth.AuthDisable", token=root)
    s.call("KV.Put", key=b"zebra", value=b"1")
    s.call("KV.Put", token=alice, key=b"zebra", value=b"1")
