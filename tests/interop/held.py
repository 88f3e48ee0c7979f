"""What lasts longer than a call: watches, leases, locks, elections, mirrors; as stock etcdctl has them."""

from ctl import UNUSABLE

def ask(node):
    watches(node)
    leases(node)
    locks(node)
    elections(node)
    mirrors(node)
    node.run("del '' --prefix")


def watches(node):
    base = node.revision()
    node.run("put w1 a")
    node.run("put w1 b")
    node.run("del w1")
    with node.start(f"watch w1 --rev {base + 1}") as watch:
        watch.prints("what has passed", "PUT", "w1", "a", "PUT", "w1", "b", "DELETE", "w1", "")
    with node.start(f"watch w1 --rev {base + 2} --prev-kv") as watch:
        watch.prints("with what was there before", "PUT", "w1", "a", "w1", "b", "DELETE", "w1", "b", "w1", "")
    with node.start(f"watch w --prefix --rev {base + 1} --progress-notify -- echo told") as watch:
        watch.prints("a command an event", "PUT", "w1", "a", "PUT", "w1", "b", "DELETE", "w1", "", "told", "told", "told")
    with node.start(f"watch w1 x --rev {base + 4}") as watch:
        node.run("put w9 elsewhere")
        node.run("put x outside")
        node.run("put w2 within")
        watch.prints("what is to come, in a range", "PUT", "w9", "elsewhere", "PUT", "w2", "within")
    node.run(f"compaction {base + 4}")
    done = node.run(f"watch w1 --rev {base + 1}")
    node.tally.check(node.name, "watch: what was compacted away", "required revision has been compacted" in
                     done.stdout + done.stderr, True)


def leases(node):
    granted = node.run("lease grant 100").stdout
    lease = granted.split()[1]
    node.tally.check(node.name, "lease grant", granted, f"lease {lease} granted with TTL(100s)\n")
    node.says(f"put leased v --lease {lease}", "OK")
    node.holds(f"lease timetolive {lease} --keys", "what is bound to it", lambda j: (j["granted-ttl"], j["keys"]),
               (100, ["bGVhc2Vk"]))
    node.tally.check(node.name, "lease list", lease in node.run("lease list").stdout.split(), True)
    node.says(f"lease keep-alive --once {lease}", f"lease {lease} keepalived with TTL(100)")
    with node.start(f"lease keep-alive {lease}") as kept:
        kept.prints("goes on", f"lease {lease} keepalived with TTL(100)")
    node.says(f"lease revoke {lease}", f"lease {lease} revoked")
    node.says("get leased")
    node.tally.check(node.name, "lease list: gone", lease in node.run("lease list").stdout.split(), False)
    node.refuses(f"lease revoke {lease}", "failed to revoke lease (etcdserver: requested lease not found)")
    node.says(f"lease timetolive {lease}", f"lease {lease} already expired")
    node.refuses(f"lease keep-alive --once {lease}", "etcdserver: requested lease not found", UNUSABLE)


def locks(node):
    node.says("lock door -- sh -c 'test \"$ETCD_LOCK_REV\" -gt 0 && echo \"${ETCD_LOCK_KEY%/*}\"'", "door")
    with node.start("lock door") as first:
        key = first.line()
        node.tally.check(node.name, "lock: the key", key is not None and key.startswith("door/"), True)
        with node.start("lock door") as second:
            waiting = None
            while waiting != 2:
                waiting = node.json("get door/ --prefix").get("count")
            node.tally.check(node.name, "lock: the second waits", second.lines.empty(), True)
            first.process.terminate()
            node.tally.check(node.name, "lock: then it has it", second.line() not in (None, key), True)
    wait_until_gone(node, "door/")


def elections(node):
    with node.start("elect -l mayor") as listener, node.start("elect mayor ada") as candidate:
        key = candidate.line()
        candidate.prints("it leads", "ada")
        listener.prints("whoever listens is told", key, "ada")
    wait_until_gone(node, "mayor/")


def wait_until_gone(node, prefix):
    """A command that was stopped gives back what it held on its way out."""
    done = node.json(f"get {prefix} --prefix")
    while done.get("count"):
        done = node.json(f"get {prefix} --prefix")


def mirrors(node):
    node.run("put src/1 a")
    with node.start(f"make-mirror --prefix src/ --dest-prefix dst/ {node.endpoints}"):
        node.run("put src/2 b")
        seen = ""
        while "src/2" in seen or seen.count("\n") < 4:
            seen = node.run("get dst/ --prefix").stdout
        node.tally.check(node.name, "make-mirror: what there is, and what comes", seen, "dst/1\na\ndst/2\nb\n")
