"""What was asked and answered, as text that is the same for two servers that behave the same.

What may differ is replaced by what it means: ids of members by their names, the ids that a server drew for leases by
their order, revisions by their distance from the case's first, and what is a measurement by whether it is zero.
"""

REVISIONS = {
    "revision", "create_revision", "mod_revision", "start_revision", "compact_revision", "hash_revision",
    "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision",
}
MEASURED = {"raft_term", "raftTerm", "raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse", "hash", "remaining_bytes"}
MEMBERS = {"member_id", "memberID", "targetID"}
# etcd has these since a later version than the one beside which Quorate is put here.
LATER = {"HashKVResponse.hash_revision", "StatusResponse.storageVersion", "StatusResponse.dbSizeQuota",
         "StatusResponse.downgradeInfo", "SnapshotResponse.version"}
# What is left of a lease may be this much less than what was granted, so slow is a machine.
TTL_SLACK_S = 3
# Longer values are shown by their lengths.
SHOWN_BYTES_MAX = 64


class Transcript:
    """The lines of one case on one server, and what they cover."""

    def __init__(self, server, base, coverage):
        self.server, self.base, self.coverage = server, base, coverage
        self.lines = []
        self.leases, self.newcomers = {}, {}
        self.members = {member.ID: member.name for member in server.members}
        self.urls = {}
        for member in server.members:
            self.urls |= {url: f"<client URL of {member.name}>" for url in member.clientURLs}
            self.urls |= {url: f"<peer URL of {member.name}>" for url in member.peerURLs}

    def note(self, text):
        self.lines.append(f"# {text}")

    def asked(self, method, sent):
        if isinstance(sent, bytes):
            self.lines.append(f"> {method.name} bytes {sent.hex()}")
            return
        self.coverage.asked(method, sent)
        self.lines.append(f"> {method.name} {self.inline(sent)}".rstrip())

    def answered(self, method, message):
        self.coverage.answered(method, message)
        self.learn(message)
        self.show("<", message)

    def refused(self, method, refusal):
        self.coverage.refused(method, refusal)
        self.lines.append(f"< {refusal.code}: {self.replaced(refusal.message)}")

    def told(self, method, watch_id, parts):
        """The events of one watch, out of all messages that had some."""
        self.lines.append(f"< events of watch {watch_id}")
        last = 0
        for part in parts:
            self.coverage.answered(method, part)
            revisions = [event.kv.mod_revision for event in part.events]
            if revisions[0] == last:
                self.note("the events of one revision are spread over messages")
            last = revisions[-1]
            if part.header.revision < last:
                self.note("the header is older than the events")
            for flag in ("created", "canceled", "compact_revision", "fragment"):
                if getattr(part, flag):
                    self.note(f"with events: {flag}")
            for event in part.events:
                self.lines.append(f"    {self.inline(event)}")

    def learn(self, message):
        """Remembers what the server drew."""
        kind = message.DESCRIPTOR.name
        if kind == "LeaseGrantResponse" and message.ID > 1 << 40:
            self.leases.setdefault(message.ID, f"<lease {len(self.leases) + 1}>")
        if kind == "MemberAddResponse":
            self.newcomers[message.member.ID] = f"<newcomer {len(self.newcomers) + 1}>"

    def show(self, sign, message):
        """An answer: one line a field."""
        self.lines.append(f"{sign} {message.DESCRIPTOR.name}")
        for field, value in message.ListFields():
            if f"{message.DESCRIPTOR.name}.{field.name}" in LATER:
                continue
            if field.is_repeated:
                # etcd lists a lease's keys in no order, and leases in one that only its leader knows.
                is_unordered = message.DESCRIPTOR.name in ("LeaseTimeToLiveResponse", "LeaseLeasesResponse")
                items = [f"    {field.name} {self.value(message, field, item)}" for item in value]
                self.lines.extend(sorted(items) if is_unordered else items)
            else:
                self.lines.append(f"    {field.name} {self.value(message, field, value)}")

    def inline(self, message):
        parts = []
        for field, value in message.ListFields():
            if field.is_repeated:
                parts.append(f"{field.name}=[{', '.join(self.value(message, field, item) for item in value)}]")
            else:
                parts.append(f"{field.name}={self.value(message, field, value)}")
        return " ".join(parts)

    def value(self, message, field, value):
        kind, name = message.DESCRIPTOR.name, field.name
        if field.type == field.TYPE_MESSAGE:
            return "{" + self.inline(value) + "}"
        if field.type == field.TYPE_ENUM:
            known = field.enum_type.values_by_number.get(value)
            return known.name if known else str(value)
        if name == "cluster_id":
            return "<this cluster>" if value == self.server.cluster_id else str(value)
        if name in REVISIONS:
            return f"r{value - self.base:+}" if value > 0 else str(value)
        if name in MEASURED:
            return "<measured>"
        if name == "authRevision":
            return f"a{value - self.server.auth_base:+}"
        if name == "token":
            return "<a token>"
        if name in MEMBERS or kind.startswith("Member") and name == "ID":
            return self.newcomers.get(value) or self.members.get(value) or str(value)
        if name == "lease" or kind.startswith("Lease") and name == "ID":
            return self.leases.get(value, str(value))
        if kind == "LeaseTimeToLiveResponse" and name == "TTL" and 0 <= message.grantedTTL - value <= TTL_SLACK_S:
            return "<about what was granted>"
        if kind == "StatusResponse" and name == "version":
            return "<a version>"
        if name == "leader":
            return "<a member>" if value in self.members else str(value)
        if isinstance(value, bytes):
            return repr(value)[1:] if len(value) <= SHOWN_BYTES_MAX else f"<{len(value)} bytes>"
        return repr(self.replaced(value)) if isinstance(value, str) else str(value)

    def replaced(self, text):
        """Text without ports."""
        for url, meaning in self.urls.items():
            text = text.replace(url, meaning)
        return text
