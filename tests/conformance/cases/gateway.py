"""The JSON gateway: what each kind of call looks like over plain HTTP."""

import base64
import json

from catalogue import case
from session import PASSWORD

VARIES = {"cluster_id": "this cluster", "member_id": "a member", "raft_term": "a term", "token": "a token"}


def b64(data):
    return base64.b64encode(data).decode()


def post(s, path, body, headers=None, raw=False):
    """Asks, and records the status, the type and the answer, in which revisions are counted from the case's first."""
    sent = body if raw else json.dumps(body)
    status, kind, text = s.http(f"/v3/{path}", "POST", headers, sent.encode())
    s.note(f"{path} {sent}: {status} {kind}")
    try:
        answer = json.loads(text)
    except ValueError:
        s.note(f"not JSON: {text!r}")
        return None
    s.note(json.dumps(shown(s, answer), sort_keys=True))
    return answer


def shown(s, answer):
    if isinstance(answer, list):
        return [shown(s, item) for item in answer]
    if not isinstance(answer, dict):
        return answer
    out = {}
    for name, value in answer.items():
        if name in VARIES:
            out[name] = VARIES[name]
        elif name == "authRevision":
            out[name] = f"a{int(value) - s.server.auth_base:+}"
        elif name.endswith("revision"):
            out[name] = f"r{int(value) - s.base:+}"
        else:
            out[name] = shown(s, value)
    return out


@case
def puts_ranges_and_deletions(s):
    key = b64(b"k")
    post(s, "kv/put", {"key": key, "value": b64(b"1")})
    post(s, "kv/put", {"key": key, "value": b64(b"2"), "prev_kv": True})
    post(s, "kv/range", {"key": key})
    post(s, "kv/range", {"key": key, "revision": str(s.base + 1)})
    post(s, "kv/range", {"key": b64(b"a"), "range_end": b64(b"z"), "sort_order": "DESCEND", "sort_target": "MOD", "limit": 1})
    post(s, "kv/range", {"key": b64(b"none")})
    post(s, "kv/deleterange", {"key": key, "prev_kv": True})


@case
def a_transaction(s):
    key = b64(b"k")
    post(s, "kv/txn", {
        "compare": [{"key": key, "target": "VERSION", "version": "0"}],
        "success": [{"requestPut": {"key": key, "value": b64(b"1")}}],
        "failure": [{"requestRange": {"key": key}}],
    })
    post(s, "kv/txn", {
        "compare": [{"key": key, "result": "EQUAL", "target": "CREATE", "create_revision": "0"}],
        "failure": [{"request_range": {"key": key}}, {"request_delete_range": {"key": key}}],
    })


@case
def compaction(s):
    revision = s.put(b"k")
    post(s, "kv/compaction", {"revision": revision})
    post(s, "kv/compaction", {"revision": revision})
    post(s, "kv/compaction", {"revision": revision + 100})


@case
def leases(s):
    post(s, "lease/grant", {"ID": "950", "TTL": "100"})
    post(s, "lease/grant", {"ID": 950, "TTL": 100})
    post(s, "lease/leases", {})
    post(s, "kv/lease/leases", {})
    post(s, "lease/revoke", {"ID": 950})
    post(s, "lease/revoke", {"ID": 950})


@case
def refusals(s):
    post(s, "kv/put", {"key": ""})
    post(s, "kv/range", {})
    post(s, "kv/range", {"key": b64(b"k"), "revision": 1 << 40})
    post(s, "kv/put", {"key": b64(b"k"), "lease": "4242"})


@case
def what_is_no_request(s):
    for sent in ('{"key"', "[]", '{"key": 5}', '{"key": "%"}', '{"limit": "many"}'):
        status, kind, _ = s.http("/v3/kv/range", "POST", None, sent.encode())
        s.note(f"{sent}: {status} {kind}")


@case
def what_nobody_knows_is_passed_over(s):
    post(s, "kv/range", {"key": b64(b"k"), "colour": "red"})


@case
def where_nothing_is(s):
    for verb, path in (("POST", "/v3/kv/nothing"), ("GET", "/v3/kv/range"), ("PUT", "/v3/kv/range"), ("POST", "/v3/nothing")):
        s.note(f"{verb} {path}: {s.http(path, verb, None, b'{}')[0]}")


@case
def members_and_status(s):
    answer = s.http("/v3/cluster/member/list", "POST", None, b"{}")
    s.note(f"{answer[:2]} {sorted(json.loads(answer[2]))}")
    s.note(f"{sorted(sorted(member) for member in json.loads(answer[2])['members'])}")
    answer = s.http("/v3/maintenance/status", "POST", None, b"{}")
    s.note(f"{answer[:2]}")


@case
def users_and_tokens(s):
    post(s, "auth/status", {})
    for name in ("root", "alice"):
        post(s, "auth/user/add", {"name": name, "password": PASSWORD})
    post(s, "auth/role/add", {"name": "root"})
    post(s, "auth/user/grant", {"user": "root", "role": "root"})
    post(s, "auth/enable", {})
    post(s, "auth/authenticate", {"name": "root", "password": "wrong"})
    token = post(s, "auth/authenticate", {"name": "root", "password": PASSWORD})["token"]
    post(s, "kv/put", {"key": b64(b"k"), "value": b64(b"1")})
    post(s, "kv/put", {"key": b64(b"k"), "value": b64(b"1")}, {"Authorization": token})
    post(s, "auth/user/list", {}, {"Authorization": token})
    post(s, "auth/disable", {}, {"Authorization": token})


@case
def locks_and_elections(s):
    post(s, "lease/grant", {"ID": "951", "TTL": "100"})
    held = post(s, "lock/lock", {"name": b64(b"door"), "lease": 951})
    post(s, "lock/unlock", {"key": held["key"]})
    leader = post(s, "election/campaign", {"name": b64(b"mayor"), "lease": 951, "value": b64(b"me")})
    post(s, "election/leader", {"name": b64(b"mayor")})
    post(s, "election/resign", {"leader": leader["leader"]})
    post(s, "election/leader", {"name": b64(b"mayor")})
