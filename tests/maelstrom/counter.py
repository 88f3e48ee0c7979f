#!/usr/bin/env python3
"""A counter kept in the service `seq-kv`: each node keeps the sum of its own addings under a key of its own.

Nobody else writes that key, so a compare-and-set that finds another value than expected has happened already, and its
answer was lost. Reads of `seq-kv` may come from the past; a write of something new takes the node to the present first.

With `--shared` all nodes keep one sum under one key, which each reads and then writes: what others add in between is
lost.
"""

import sys

from node import Node

AGAIN_AFTER = 0.1
STORE = "seq-kv"

node = Node()
# The sum that is stored, and the addings that are not in it yet with those who wait for them.
stored = 0
unstored = []
is_storing = False
refreshed = 0


def store():
    global is_storing
    if is_storing or not unstored:
        return
    is_storing = True
    batch = unstored[:]
    total = stored + sum(message["body"]["delta"] for message in batch)

    def done(_):
        global stored, is_storing
        stored, is_storing = total, False
        del unstored[: len(batch)]
        for message in batch:
            node.reply(message, {"type": "add_ok"})
        store()

    request = {"type": "cas", "key": node.id, "from": stored, "to": total, "create_if_not_exists": True}
    node.ask(STORE, request, done, again_after=AGAIN_AFTER)


def on_add(message):
    unstored.append(message)
    store()


def on_read(message):
    global refreshed
    refreshed += 1
    sums = {}

    def gather(owner):
        def got(answer):
            sums[owner] = answer.get("value", 0)
            if len(sums) == len(node.others) + 1:
                node.reply(message, {"type": "read_ok", "value": sum(sums.values())})

        return got

    def refreshed_now(_):
        for owner in [node.id, *node.others]:
            node.ask(STORE, {"type": "read", "key": owner}, gather(owner), again_after=AGAIN_AFTER)

    refresh = {"type": "write", "key": "refresh-" + node.id, "value": refreshed}
    node.ask(STORE, refresh, refreshed_now, again_after=AGAIN_AFTER)


def on_shared_add(message):
    def write(answer):
        value = answer.get("value", 0) + message["body"]["delta"]
        request = {"type": "write", "key": "sum", "value": value}
        node.ask(STORE, request, lambda _: node.reply(message, {"type": "add_ok"}))

    node.ask(STORE, {"type": "read", "key": "sum"}, write)


def on_shared_read(message):
    def answer(read):
        node.reply(message, {"type": "read_ok", "value": read.get("value", 0)})

    node.ask(STORE, {"type": "read", "key": "sum"}, answer)


is_shared = "--shared" in sys.argv
node.on("add", on_shared_add if is_shared else on_add)
node.on("read", on_shared_read if is_shared else on_read)
node.run()
