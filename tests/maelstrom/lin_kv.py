#!/usr/bin/env python3
"""A key-value store that passes everything on to the service `lin-kv`. What is lost on the way is not answered: only
the client may decide what an unknown outcome means to it.

With `--cache` a node answers reads from what it saw last, and so doesn't notice what others write.
"""

import sys

from node import Node

node = Node()
cache = {}


def pass_on(message):
    request = {name: value for name, value in message["body"].items() if name != "msg_id"}

    def answer(body):
        if body["type"] == "read_ok":
            cache[request["key"]] = body["value"]
        elif body["type"] in ("write_ok", "cas_ok"):
            cache[request["key"]] = request.get("value", request.get("to"))
        node.reply(message, {name: value for name, value in body.items() if name != "in_reply_to"})

    node.ask("lin-kv", request, answer)


def on_read(message):
    key = message["body"]["key"]
    if "--cache" in sys.argv and key in cache:
        node.reply(message, {"type": "read_ok", "value": cache[key]})
    else:
        pass_on(message)


node.on("read", on_read)
node.on("write", pass_on)
node.on("cas", pass_on)
node.run()
