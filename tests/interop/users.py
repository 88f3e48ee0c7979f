"""Users, roles and permissions, as stock etcdctl has them."""

from ctl import UNUSABLE

ROOT = ("--user", "root:secret")
ALICE = ("--user", "alice:wonder")
DENIED = "etcdserver: permission denied"


def ask(every, nodes):
    node = nodes[0]
    node.says("auth status", "Authentication Status: false", f"AuthRevision: {node.json('auth status')['authRevision']}")
    node.says("user add root:secret", "User root created")
    node.says("user add alice --interactive=false", "User alice created", stdin="wonder")
    node.says("user add certified --no-password", "User certified created")
    node.says("role add reader", "Role reader created")
    node.says("role grant-permission reader read pub/ --prefix", "Role reader updated")
    node.says("role grant-permission reader readwrite mine", "Role reader updated")
    node.says("role get reader", "Role reader", "KV Read:", "\tmine", "\t[pub/, pub0) (prefix pub/)", "KV Write:", "\tmine")
    node.says("user grant-role alice reader", "Role reader is granted to user alice")
    node.says("user get alice", "User: alice", "Roles: reader")
    node.says("user get alice --detail", "User: alice", "", "Role reader", "KV Read:", "\tmine",
              "\t[pub/, pub0) (prefix pub/)", "KV Write:", "\tmine")
    node.says("user list", "alice", "certified", "root")
    node.says("role add root", "Role root created")
    node.says("role list", "reader", "root")
    node.says("user grant-role root root", "Role root is granted to user root")
    node.says("put pub/1 a", "OK")
    node.says("auth enable", "Authentication Enabled")
    for node in nodes:
        permitted(node)
    changes(nodes)
    root = nodes[0].using(*ROOT)
    root.says("auth disable", "Authentication Disabled")
    for name in ("alice", "certified", "root"):
        nodes[0].says(f"user delete {name}", f"User {name} deleted")
    for name in ("reader", "root"):
        nodes[0].says(f"role delete {name}", f"Role {name} deleted")
    every.says("del '' --prefix", "2")


def permitted(node):
    alice, root = node.using(*ALICE), node.using(*ROOT)
    node.refuses("get pub/1", "etcdserver: user name is empty")
    node.using("--user", "alice:wrong").refuses(
        "get pub/1", "etcdserver: authentication failed, invalid user ID or password", UNUSABLE)
    alice.says("get pub/1", "pub/1", "a")
    alice.says("get pub/ --prefix", "pub/1", "a")
    alice.says("put mine x", "OK")
    alice.says("put --prev-kv mine x", "OK", "mine", "x")
    for command in ("put pub/1 b", "get secret", "get p --prefix", "get '' --from-key", "del pub/1", "user list", "role list",
                    "user add eve:evil", "auth disable", "member add other --peer-urls http://127.0.0.1:1"):
        alice.refuses(command, DENIED)
    alice.refuses("txn", DENIED, stdin="\nput mine 1\nput pub/1 1\n\n\n")
    alice.refuses("txn", DENIED, stdin='val("secret") = "1"\n\nput mine 1\n\n\n')
    with alice.start("watch pub/ --prefix --rev 1") as watch:
        node.tally.check(node.name, "watch what may be read", watch.line() is not None, True)
    done = alice.run("watch secret")
    node.tally.check(node.name, "watch what may not be read", DENIED in done.stdout + done.stderr, True)
    root.says("user get alice", "User: alice", "Roles: reader")
    root.says("get mine", "mine", "x")


def changes(nodes):
    """What root changes through one node holds on another."""
    root, alice = nodes[0].using(*ROOT), nodes[-1].using(*ALICE)
    root.says("role revoke-permission reader mine", "Permission of key mine is revoked from role reader")
    alice.refuses("put mine y", DENIED)
    root.says("user passwd alice --interactive=false", "Password updated", stdin="changed")
    alice.refuses("get pub/1", "etcdserver: authentication failed, invalid user ID or password", UNUSABLE)
    alice = nodes[-1].using("--user", "alice:changed")
    alice.says("get pub/1", "pub/1", "a")
    root.says("user revoke-role alice reader", "Role reader is revoked from user alice")
    alice.refuses("get pub/1", DENIED)
