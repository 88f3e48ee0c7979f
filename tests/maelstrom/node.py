"""A node in the words of Maelstrom: messages, timers, and requests that are repeated until they are answered.

One thread, no library: `run` waits for the next line or the next timer, whichever comes first.
"""

import heapq
import json
import os
import select
import sys
import time


class Node:
    def __init__(self):
        self.id = None
        self.others = []
        self._handlers = {}
        self._waiting = {}
        self._timers = []
        self._count = 0

    def on(self, kind, handler):
        """`handler(message)` is called with every message of that type that is no answer."""
        self._handlers[kind] = handler

    def _number(self):
        self._count += 1
        return self._count

    def send(self, dest, body):
        line = json.dumps({"src": self.id, "dest": dest, "body": body})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def reply(self, request, body):
        self.send(request["src"], {**body, "in_reply_to": request["body"]["msg_id"]})

    def after(self, seconds, then):
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._number(), then))

    def ask(self, dest, body, then, again_after=None):
        """Calls `then(body)` with the first answer. With `again_after` the request is repeated until there is one, so it
        must be one that may happen twice."""
        state = {"answered": False}

        def answered(answer):
            if not state["answered"]:
                state["answered"] = True
                then(answer)

        def ask():
            if state["answered"]:
                return
            number = self._number()
            self._waiting[number] = answered
            self.send(dest, {**body, "msg_id": number})
            if again_after is not None:
                self.after(again_after, ask)

        ask()

    def _take(self, line):
        message = json.loads(line)
        body = message["body"]
        if "in_reply_to" in body:
            answered = self._waiting.pop(body["in_reply_to"], None)
            if answered is not None:
                answered(body)
        elif body["type"] == "init":
            self.id = body["node_id"]
            self.others = [node for node in body["node_ids"] if node != self.id]
            self.reply(message, {"type": "init_ok"})
        else:
            self._handlers[body["type"]](message)

    def run(self):
        unread = b""
        while True:
            wait = None
            if self._timers:
                wait = max(0.0, self._timers[0][0] - time.monotonic())
            if select.select([0], [], [], wait)[0]:
                read = os.read(0, 1 << 16)
                if not read:
                    return
                *lines, unread = (unread + read).split(b"\n")
                for line in lines:
                    self._take(line)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
