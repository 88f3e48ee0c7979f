"""A stock etcdctl, and a count of what it was answered as expected."""

import json
import os
import queue
import shlex
import subprocess
import threading

COMMAND_WITHIN_S = 30
# etcdctl's exit codes.
DONE, REFUSED, UNUSABLE, BAD_ARGUMENTS = 0, 1, 2, 128


class Tally:
    """What held and what did not."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, where, what, got, expected):
        if got == expected:
            self.passed += 1
            print(f"ok      {where:4} {what}")
        else:
            self.failed += 1
            print(f"FAILED  {where:4} {what}\n  expected {expected!r}\n  got      {got!r}")


class Node:
    """etcdctl with the endpoint of one node, or with all of them."""

    def __init__(self, etcdctl, endpoints, name, tally, flags=()):
        self.etcdctl, self.endpoints, self.name, self.tally, self.flags = etcdctl, endpoints, name, tally, flags

    def words(self, command):
        return [str(self.etcdctl), "--endpoints", self.endpoints, *self.flags, *shlex.split(command)]

    def run(self, command, stdin="", within_s=COMMAND_WITHIN_S):
        return subprocess.run(self.words(command), input=stdin, env=environment(), capture_output=True, text=True,
                              timeout=within_s)

    def using(self, *flags):
        """The same, with flags before every command."""
        return Node(self.etcdctl, self.endpoints, self.name, self.tally, (*self.flags, *flags))

    def says(self, command, *lines, stdin=""):
        """The command succeeds and prints these lines."""
        done = self.run(command, stdin)
        got = (done.returncode, done.stdout) if done.returncode == DONE else (done.returncode, error_of(done))
        self.tally.check(self.name, shown(command, stdin), got, (DONE, "".join(line + "\n" for line in lines)))

    def refuses(self, command, error, code=REFUSED, stdin=""):
        """The command fails with this error."""
        done = self.run(command, stdin)
        got = (done.returncode, error_of(done))
        self.tally.check(self.name, shown(command, stdin), got, (code, f"Error: {error}"))

    def json(self, command, stdin=""):
        """What the command prints as JSON; nothing if it fails."""
        done = self.run(f"{command} -w json", stdin)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    def holds(self, command, what, of, expected, stdin=""):
        """A part of what the command prints as JSON is as expected."""
        got = of(self.json(command, stdin))
        self.tally.check(self.name, f"{shown(command, stdin)} -w json: {what}", got, expected)

    def revision(self):
        return self.json("get none")["header"]["revision"]

    def start(self, command):
        """Begins a command that goes on until it is stopped."""
        return Running(self, command)


def environment():
    """This one's, without what would be flags of etcdctl."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
    return kept | {"ETCDCTL_API": "3"}


class Running:
    """A command under way, whose lines are read as they come. Leaving its context stops it."""

    def __init__(self, node, command):
        self.node, self.command = node, command
        self.process = subprocess.Popen(node.words(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=environment(), text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(COMMAND_WITHIN_S)

    def line(self):
        """The next line; none if none comes in time."""
        try:
            return self.lines.get(timeout=COMMAND_WITHIN_S)
        except queue.Empty:
            return None

    def prints(self, what, *expected):
        """The next lines are these."""
        got = [self.line() for _ in expected]
        self.node.tally.check(self.node.name, f"{self.command}: {what}", got, list(expected))


def error_of(done):
    """etcdctl's error, without the log lines of its client around it."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    return lines[-1] if lines else done.stderr


def shown(command, stdin):
    return f"{command} <<< {stdin!r}" if stdin else command
