"""What is asked over plain HTTP."""

import json

from catalogue import case

# What dashboards and alerts for etcd ask after; but not etcd_network_peer_round_trip_time_seconds, which is there once
# etcd has run for half a minute. Quorate has none: between its nodes nothing is sent to measure time.
METRICS = """
etcd_server_has_leader etcd_server_is_leader etcd_server_leader_changes_seen_total etcd_server_proposals_committed_total
etcd_server_proposals_applied_total etcd_server_proposals_pending etcd_server_proposals_failed_total etcd_server_id
etcd_server_version etcd_server_slow_apply_total etcd_server_is_learner etcd_cluster_version
etcd_disk_wal_fsync_duration_seconds etcd_disk_backend_commit_duration_seconds
etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes etcd_mvcc_put_total etcd_mvcc_range_total
etcd_mvcc_delete_total etcd_mvcc_txn_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_watch_stream_total
etcd_debugging_mvcc_events_total etcd_debugging_lease_granted_total etcd_debugging_lease_revoked_total
etcd_debugging_lease_renewed_total etcd_network_client_grpc_received_bytes_total
etcd_network_client_grpc_sent_bytes_total etcd_network_peer_sent_bytes_total etcd_network_peer_received_bytes_total
etcd_server_quota_backend_bytes etcd_server_heartbeat_send_failures_total
grpc_server_started_total grpc_server_handled_total grpc_server_msg_received_total grpc_server_msg_sent_total
process_resident_memory_bytes process_open_fds process_max_fds process_cpu_seconds_total process_start_time_seconds
""".split()


@case
def health(s):
    for path in ("/health", "/health?serializable=true", "/health?serializable=false", "/health?exclude=NOSPACE"):
        s.note(f"{path}: {s.http(path)}")
    s.note(f"POST: {s.http('/health', method='POST')[0]}")


@case
def health_under_an_alarm(s):
    member = s.server.members[0].ID
    s.quietly("Maintenance.Alarm", action="ACTIVATE", memberID=member, alarm="CORRUPT")
    for path in ("/health", "/health?exclude=NOSPACE", "/health?exclude=CORRUPT", "/health?exclude=NOSPACE&exclude=CORRUPT",
                 "/health?serializable=true"):
        s.note(f"{path}: {s.http(path)}")


@case
def version(s):
    status, kind, text = s.http("/version")
    said = json.loads(text)
    s.note(f"{status} {kind} {sorted(said)}")
    s.note(f"like a version: {[len(value.split('.')) for value in said.values()]}")
    s.note(f"POST: {s.http('/version', method='POST')[0]}")


@case
def metrics(s):
    s.put(b"a")
    status, kind, text = s.http("/metrics")
    s.note(f"{status} {kind}")
    # A histogram has no line of its own name, but several that begin so.
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for name in METRICS:
        is_there = any(line.startswith((f"{name} ", f"{name}{{", f"{name}_bucket{{")) for line in lines)
        s.note(f"{name}: {'there' if is_there else 'missing'}")


@case
def what_is_not_there(s):
    s.note(f"{s.http('/nothing')[0]}")
