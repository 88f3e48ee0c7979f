"""One case on one server: what it asks goes over the wire as it is, and with its answer into the transcript."""

import queue
import threading
import time
import urllib.error
import urllib.request

import grpc

ANSWER_WITHIN_S = 10
# What every user of every case has.
PASSWORD = "open sesame"
# Larger than any answer here, so that no limit is the client's.
MESSAGE_BYTES_MAX = 64 << 20


class Refusal:
    """An error: its code and its message. False, so that a case may ask whether it got an answer."""

    def __init__(self, error):
        self.code, self.message = error.code().name, error.details()

    def __bool__(self):
        return False


def shown(token):
    """The metadata in which a call shows its token."""
    return [("token", token)] if token else []


class Server:
    """A cluster of either kind, and connections to its nodes."""

    def __init__(self, kind, cluster, methods):
        self.kind, self.methods = kind, methods
        self.endpoints = cluster.endpoints()
        options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.max_send_message_length", MESSAGE_BYTES_MAX)]
        self.channels = [grpc.insecure_channel(endpoint, options) for endpoint in self.endpoints]
        listed = self.ask("Cluster.MemberList")
        self.cluster_id = listed.header.cluster_id
        self.members = sorted(listed.members, key=lambda member: member.name)

    def stub(self, method, node):
        channel = self.channels[node]
        kind = {(False, False): channel.unary_unary, (False, True): channel.unary_stream, (True, True): channel.stream_stream}
        make = kind[method.takes_stream, method.gives_stream]
        return make(method.path, lambda sent: sent if isinstance(sent, bytes) else sent.SerializeToString(),
                    method.response.FromString)

    def ask(self, name, /, node=0, token=None, **fields):
        """An answer that is in no transcript."""
        method = self.methods[name]
        return self.stub(method, node)(method.request(**fields), timeout=ANSWER_WITHIN_S, metadata=shown(token))

    def clear(self):
        """Leaves no user, role, key, lease, alarm, newcomer or past, and returns the revision."""
        self.clear_users()
        for alarm in self.ask("Maintenance.Alarm").alarms:
            self.ask("Maintenance.Alarm", action="DEACTIVATE", memberID=alarm.memberID, alarm=alarm.alarm)
        self.catch_up()
        for lease in self.ask("Lease.LeaseLeases").leases:
            self.ask("Lease.LeaseRevoke", ID=lease.ID)
        known = {member.ID for member in self.members}
        for member in self.ask("Cluster.MemberList").members:
            if member.ID not in known:
                self.ask("Cluster.MemberRemove", ID=member.ID)
        # Something is there to be deleted, so that there is a revision that was not compacted.
        self.ask("KV.Put", key=b"swept", value=b"")
        revision = self.ask("KV.DeleteRange", key=b"\0", range_end=b"\0").header.revision
        self.ask("KV.Compact", revision=revision)
        self.catch_up()
        return revision

    def clear_users(self):
        try:
            root = self.ask("Auth.Authenticate", name="root", password=PASSWORD).token
            self.ask("Auth.AuthDisable", token=root)
        except grpc.RpcError as error:
            if error.details() != "etcdserver: authentication is not enabled":
                raise
        for user in self.ask("Auth.UserList").users:
            self.ask("Auth.UserDelete", name=user)
        for role in self.ask("Auth.RoleList").roles:
            self.ask("Auth.RoleDelete", role=role)
        self.auth_base = self.ask("Auth.AuthStatus").authRevision

    def catch_up(self):
        """Has every node apply what was done: one that has answered a linearizable read has."""
        for node in range(len(self.channels)):
            self.ask("KV.Range", node, key=b"swept")

    def leader(self):
        """The number of the node that leads."""
        leader = self.ask("Maintenance.Status").leader
        names = {member.ID: member.name for member in self.members}
        return int(names[leader][1:]) - 1


class Session:
    """What a case is given. `base` is the revision at its start; `node` is whom it asks unless it says otherwise."""

    def __init__(self, server, transcript, base):
        self.server, self.transcript, self.base = server, transcript, base
        self.streams = []

    def call(self, name, /, node=0, token=None, **fields):
        """Asks once. Returns the answer, a list of them if the method gives a stream, or a refusal."""
        method = self.server.methods[name]
        return self.send(method, method.request(**fields), node, token)

    def raw(self, name, sent, node=0):
        """Asks with bytes that no message of ours need be."""
        return self.send(self.server.methods[name], sent, node)

    def send(self, method, sent, node, token=None):
        self.transcript.asked(method, sent)
        try:
            answer = self.server.stub(method, node)(sent, timeout=ANSWER_WITHIN_S, metadata=shown(token))
            answer = list(answer) if method.gives_stream else answer
        except grpc.RpcError as error:
            refusal = Refusal(error)
            self.transcript.refused(method, refusal)
            return refusal
        for message in answer if isinstance(answer, list) else [answer]:
            self.transcript.answered(method, message)
        return answer

    def quietly(self, name, /, node=0, token=None, **fields):
        """Asks for what the case only needs, not for what it shows."""
        return self.server.ask(name, node, token, **fields)

    def put(self, key, value=b"v", **fields):
        """A write that the case needs. Returns its revision."""
        return self.quietly("KV.Put", key=key, value=value, **fields).header.revision

    def delete(self, key, range_end=b""):
        return self.quietly("KV.DeleteRange", key=key, range_end=range_end).header.revision

    def note(self, text):
        self.transcript.note(text)

    def stream(self, name, node=0, token=None):
        stream = Stream(self, self.server.methods[name], node, token)
        self.streams.append(stream)
        return stream

    def watch(self, node=0, token=None):
        return self.stream("Watch.Watch", node, token)

    def http(self, path, method="GET", headers=None, body=None):
        """Asks over HTTP. Returns the status, the type and the text, and records nothing."""
        url = f"http://{self.server.endpoints[0]}{path}"
        request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S) as answer:
                return answer.status, answer.headers.get_content_type(), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get_content_type(), error.read().decode()

    def close(self):
        for stream in self.streams:
            stream.cancel()


END = object()


class Stream:
    """A call of which both sides are streams."""

    def __init__(self, session, method, node, token):
        self.session, self.method = session, method
        self.outbound, self.inbound = queue.Queue(), queue.Queue()
        self.held = []
        self.call = session.server.stub(method, node)(iter(self.outbound.get, END), metadata=shown(token))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for message in self.call:
                self.inbound.put(message)
            self.inbound.put(END)
        except grpc.RpcError as error:
            self.inbound.put(Refusal(error))

    def send(self, **fields):
        """Sends a request."""
        self.raw(self.method.request(**fields))

    def raw(self, sent):
        self.session.transcript.asked(self.method, sent)
        self.outbound.put(sent)

    def half_close(self):
        """Says that no more is asked."""
        self.session.note("no more requests")
        self.outbound.put(END)

    def cancel(self):
        self.call.cancel()

    def next(self):
        """The next message, the end, or a refusal; nothing of it is recorded."""
        if self.held:
            return self.held.pop(0)
        try:
            return self.inbound.get(timeout=ANSWER_WITHIN_S)
        except queue.Empty:
            return None

    def recv(self, wanted=lambda message: True):
        """Records the next message that is wanted; others wait for whoever wants them."""
        held, deadline = [], time.monotonic() + ANSWER_WITHIN_S
        message = self.next()
        while hasattr(message, "ListFields") and not wanted(message) and time.monotonic() < deadline:
            held.append(message)
            message = self.next()
        self.held = held + self.held
        return self.record(message)

    def record(self, message):
        if message is None:
            self.session.note(f"nothing more came within {ANSWER_WITHIN_S} s")
        elif message is END:
            self.session.note("the stream ended")
        elif isinstance(message, Refusal):
            self.session.transcript.refused(self.method, message)
        else:
            self.session.transcript.answered(self.method, message)
            return message
        return None

    def create(self, key=b"", **fields):
        """Asks for a watch and records what comes of it. Returns its id."""
        self.send(create_request={"key": key, **fields})
        created = self.recv(lambda message: message.created)
        return created.watch_id if created else None

    def events(self, watch_id, count):
        """Records so many events of a watch, as one list: how they are spread over messages is the server's to choose,
        as long as those of one revision are together."""
        events, parts, deadline = [], [], time.monotonic() + ANSWER_WITHIN_S
        held = []
        while len(events) < count and time.monotonic() < deadline:
            message = self.next()
            if not hasattr(message, "ListFields"):
                self.record(message)
                break
            if message.watch_id == watch_id and message.events:
                parts.append(message)
                events.extend(message.events)
            else:
                held.append(message)
        self.held = held + self.held
        self.session.transcript.told(self.method, watch_id, parts)
        return events
