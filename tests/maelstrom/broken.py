#!/usr/bin/env python3
"""Nodes that don't keep to the protocol, each in its own way: `broken.py WAY`. The workload is echo."""

import sys
import time

from node import Node

way = sys.argv[1]
node = Node()


def on_echo(message):
    echo = message["body"]["echo"]
    if way == "garbage":
        print("about to complain", file=sys.stderr)
        print("DEBUG: got", echo, flush=True)
    elif way == "die":
        raise RuntimeError("this node has had enough")
    elif way == "nobody":
        node.send("n99", {"type": "hello"})
    elif way == "impostor":
        node.id = "n2" if node.id == "n1" else "n1"
    elif way == "mute":
        node.send(message["src"], {"type": "echo_ok", "echo": echo})
    elif way == "wrong-type":
        node.reply(message, {"type": "ok", "echo": echo})
    elif way == "lie":
        echo = "what you said"
    if way == "refuse":
        node.reply(message, {"type": "error", "code": 11, "text": "not today"})
    elif way != "silent":
        node.reply(message, {"type": "echo_ok", "echo": echo})


if way == "hang":
    print("thinking about it", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600)
node.on("echo", on_echo)
node.run()
