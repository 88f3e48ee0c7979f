#!/usr/bin/env python3
"""A broadcast: whatever a node hears for the first time it tells its neighbours, again and again until they have it.

With `--once` it tells them a single time, and what is lost on the way stays lost.
"""

import sys

from node import Node

AGAIN_AFTER = 0.1

node = Node()
seen = set()
neighbours = []


def tell(value, whom):
    request = {"type": "tell", "value": value}
    if "--once" in sys.argv:
        node.send(whom, request)
    else:
        node.ask(whom, request, lambda _: None, again_after=AGAIN_AFTER)


def take(value, teller=None):
    if value in seen:
        return
    seen.add(value)
    for neighbour in neighbours:
        if neighbour != teller:
            tell(value, neighbour)


def on_topology(message):
    neighbours.extend(message["body"]["topology"][node.id])
    node.reply(message, {"type": "topology_ok"})


def on_broadcast(message):
    take(message["body"]["message"])
    node.reply(message, {"type": "broadcast_ok"})


def on_tell(message):
    take(message["body"]["value"], message["src"])
    if "msg_id" in message["body"]:
        node.reply(message, {"type": "tell_ok"})


node.on("topology", on_topology)
node.on("broadcast", on_broadcast)
node.on("tell", on_tell)
node.on("read", lambda message: node.reply(message, {"type": "read_ok", "messages": sorted(seen)}))
node.run()
