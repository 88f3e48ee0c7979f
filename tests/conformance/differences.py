"""Where Quorate's answers are known not to be etcd's, each with its reason and the very lines that differ.

A case that is here and differs in other lines, or not at all any more, fails as one does that differs and is not here.
"""

from collections import namedtuple

Difference = namedtuple("Difference", "reason etcd quorate")

DIFFERENCES = {
    "auth.permissions_are_given_and_taken": Difference(
        "A range that is empty or has no key permits nothing, so it is refused, as etcd does since 3.6; 3.5.1 keeps it.",
        etcd=[
            '< AuthRoleGrantPermissionResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+0 raft_term=<measured>}',
            '< AuthRoleGrantPermissionResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+0 raft_term=<measured>}',
            '< AuthRoleGrantPermissionResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+0 raft_term=<measured>}',
            '< AuthRoleGrantPermissionResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+0 raft_term=<measured>}',
            '    perm {}',
            "    perm {range_end='\\x00'}",
            "    perm {key='d' range_end='c'}",
            "    perm {key='d' range_end='d'}",
            '    perm {}',
            "    perm {range_end='\\x00'}",
            "    perm {key='d' range_end='c'}",
            "    perm {key='d' range_end='d'}",
        ],
        quorate=[
            '< INVALID_ARGUMENT: etcdserver: invalid auth management',
            '< INVALID_ARGUMENT: etcdserver: invalid auth management',
            '< INVALID_ARGUMENT: etcdserver: invalid auth management',
            '< INVALID_ARGUMENT: etcdserver: invalid auth management',
        ],
    ),
    "auth.before_it_is_enabled": Difference(
        "While authentication is not enabled nobody is asked who they are, as in etcd 3.6; 3.5.1 looks at a token that nobody needed to send.",
        etcd=[
            '< UNAUTHENTICATED: etcdserver: invalid auth token',
        ],
        quorate=[
            '< PutResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+1 raft_term=<measured>}',
        ],
    ),
    "auth.without_authentication_again": Difference(
        "While authentication is not enabled nobody is asked who they are, as in etcd 3.6; 3.5.1 looks at a token that nobody needed to send.",
        etcd=[
            '< UNAUTHENTICATED: etcdserver: invalid auth token',
        ],
        quorate=[
            '< PutResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+2 raft_term=<measured>}',
        ],
    ),
    "auth.logging_in": Difference(
        "That a user has no password is not told to somebody who guesses at one.",
        etcd=[
            '< UNKNOWN: auth: authentication failed, password was given for no password user',
        ],
        quorate=[
            '< INVALID_ARGUMENT: etcdserver: authentication failed, invalid user ID or password',
        ],
    ),
    "auth.transactions_are_asked_about_throughout": Difference(
        "Transactions in transactions are asked about too, and a put that returns what was there before needs permission to read it; etcd 3.5.1 looks at neither.",
        etcd=[
            '< TxnResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+4 raft_term=<measured>}',
            '    succeeded True',
            '    responses {response_txn={header={} succeeded=True responses=[{response_put={header={revision=r+4}}}]}}',
            '< TxnResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+4 raft_term=<measured>}',
            '    succeeded True',
            '    responses {response_txn={header={} succeeded=True}}',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+4 raft_term=<measured>}',
            '< TxnResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+5 raft_term=<measured>}',
            '    succeeded True',
            '    responses {response_put={header={revision=r+5}}}',
        ],
        quorate=[
            '< PERMISSION_DENIED: etcdserver: permission denied',
            '< PERMISSION_DENIED: etcdserver: permission denied',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+3 raft_term=<measured>}',
            '< PERMISSION_DENIED: etcdserver: permission denied',
        ],
    ),
    "auth.leases_guard_what_is_bound_to_them": Difference(
        "The keys of a lease are told only to who may read them, as in etcd 3.6.",
        etcd=[
            '< LeaseTimeToLiveResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+1 raft_term=<measured>}',
            '    ID 700',
            '    TTL <about what was granted>',
            '    grantedTTL 100',
            "    keys 'apple'",
        ],
        quorate=[
            '< PERMISSION_DENIED: etcdserver: permission denied',
        ],
    ),
    "auth.who_is_not_root_runs_nothing": Difference(
        "Who may not do a thing is told so before its arguments are looked at, and always in the same words.",
        etcd=[
            '< INVALID_ARGUMENT: etcdserver: given member URLs are invalid',
            '< UNKNOWN: auth: permission denied',
            '< UNKNOWN: auth: permission denied',
        ],
        quorate=[
            '< PERMISSION_DENIED: etcdserver: permission denied',
            '< PERMISSION_DENIED: etcdserver: permission denied',
            '< PERMISSION_DENIED: etcdserver: permission denied',
        ],
    ),
    "auth.watches_are_asked_about": Difference(
        "A watch that was refused has the id -1, as in etcd since 3.5.5.",
        etcd=[
        ],
        quorate=[
            '    watch_id -1',
            '    watch_id -1',
        ],
    ),
    "auth.a_watch_without_a_token": Difference(
        "A watch that was refused has the id -1 and says what is missing, as in etcd since 3.5.5.",
        etcd=[
            "    cancel_reason 'rpc error: code = PermissionDenied desc = etcdserver: permission denied'",
        ],
        quorate=[
            '    watch_id -1',
            "    cancel_reason 'rpc error: code = InvalidArgument desc = etcdserver: user name is empty'",
        ],
    ),
    "cluster.a_learner_comes_and_goes": Difference(
        "An update of a learner's URLs leaves it a learner; etcd 3.5.1 forgets that it is one.",
        etcd=[
            "# ID=<newcomer 1> peerURLs=['http://127.0.0.1:3']",
        ],
        quorate=[
            "# ID=<newcomer 1> peerURLs=['http://127.0.0.1:3'] isLearner=True",
        ],
    ),
    "cluster.a_second_learner": Difference(
        'There may be eight learners beside the voters; etcd has one unless it is told otherwise.',
        etcd=[
            '# FAILED_PRECONDITION: etcdserver: too many learner members in cluster',
        ],
        quorate=[
            '# taken, beside 4 members',
        ],
    ),
    "cluster.a_peer_url_without_a_host": Difference(
        'A URL at which nobody can be reached is refused.',
        etcd=[
            '# taken',
        ],
        quorate=[
            '# INVALID_ARGUMENT: etcdserver: given member URLs are invalid',
        ],
    ),
    "cluster.updates_that_are_wrong": Difference(
        'URLs are looked at before it is asked whose they are; etcd takes whatever it is given for a known member.',
        etcd=[
            '< NOT_FOUND: etcdserver: member not found',
        ],
        quorate=[
            '< INVALID_ARGUMENT: etcdserver: given member URLs are invalid',
        ],
    ),
    "http.health": Difference(
        'The answer says that it is JSON.',
        etcd=[
            '# /health: (200, \'text/plain\', \'{"health":"true","reason":""}\')',
            '# /health?serializable=true: (200, \'text/plain\', \'{"health":"true","reason":""}\')',
            '# /health?serializable=false: (200, \'text/plain\', \'{"health":"true","reason":""}\')',
            '# /health?exclude=NOSPACE: (200, \'text/plain\', \'{"health":"true","reason":""}\')',
        ],
        quorate=[
            '# /health: (200, \'application/json\', \'{"health":"true","reason":""}\')',
            '# /health?serializable=true: (200, \'application/json\', \'{"health":"true","reason":""}\')',
            '# /health?serializable=false: (200, \'application/json\', \'{"health":"true","reason":""}\')',
            '# /health?exclude=NOSPACE: (200, \'application/json\', \'{"health":"true","reason":""}\')',
        ],
    ),
    "http.health_under_an_alarm": Difference(
        'An alarm is told by Alarm and Status; as long as a node serves, it is healthy.',
        etcd=[
            '# /health: (503, \'text/plain\', \'{"health":"false","reason":"ALARM CORRUPT"}\\n\')',
            '# /health?exclude=NOSPACE: (503, \'text/plain\', \'{"health":"false","reason":"ALARM CORRUPT"}\\n\')',
            '# /health?exclude=CORRUPT: (200, \'text/plain\', \'{"health":"true","reason":""}\')',
            '# /health?exclude=NOSPACE&exclude=CORRUPT: (200, \'text/plain\', \'{"health":"true","reason":""}\')',
            '# /health?serializable=true: (503, \'text/plain\', \'{"health":"false","reason":"ALARM CORRUPT"}\\n\')',
        ],
        quorate=[
            '# /health: (200, \'application/json\', \'{"health":"true","reason":""}\')',
            '# /health?exclude=NOSPACE: (200, \'application/json\', \'{"health":"true","reason":""}\')',
            '# /health?exclude=CORRUPT: (200, \'application/json\', \'{"health":"true","reason":""}\')',
            '# /health?exclude=NOSPACE&exclude=CORRUPT: (200, \'application/json\', \'{"health":"true","reason":""}\')',
            '# /health?serializable=true: (200, \'application/json\', \'{"health":"true","reason":""}\')',
        ],
    ),
    "http.metrics": Difference(
        'What the two have in common is listed as there; what is missing is not counted here. The format is OpenMetrics.',
        etcd=[
            '# 200 text/plain',
            '# etcd_server_id: there',
            '# etcd_server_slow_apply_total: there',
            '# etcd_cluster_version: there',
            '# etcd_disk_backend_commit_duration_seconds: there',
            '# etcd_mvcc_put_total: there',
            '# etcd_mvcc_range_total: there',
            '# etcd_mvcc_delete_total: there',
            '# etcd_mvcc_txn_total: there',
            '# etcd_debugging_mvcc_watcher_total: there',
            '# etcd_debugging_mvcc_watch_stream_total: there',
            '# etcd_debugging_mvcc_events_total: there',
            '# etcd_debugging_lease_granted_total: there',
            '# etcd_debugging_lease_revoked_total: there',
            '# etcd_debugging_lease_renewed_total: there',
            '# etcd_network_client_grpc_received_bytes_total: there',
            '# etcd_network_client_grpc_sent_bytes_total: there',
            '# etcd_network_peer_sent_bytes_total: there',
            '# etcd_network_peer_received_bytes_total: there',
            '# etcd_network_peer_round_trip_time_seconds: there',
            '# etcd_server_quota_backend_bytes: there',
            '# etcd_server_heartbeat_send_failures_total: there',
            '# grpc_server_started_total: there',
            '# grpc_server_msg_received_total: there',
            '# grpc_server_msg_sent_total: there',
            '# process_open_fds: there',
            '# process_max_fds: there',
            '# process_cpu_seconds_total: there',
            '# process_start_time_seconds: there',
        ],
        quorate=[
            '# 200 application/openmetrics-text',
            '# etcd_server_id: missing',
            '# etcd_server_slow_apply_total: missing',
            '# etcd_cluster_version: missing',
            '# etcd_disk_backend_commit_duration_seconds: missing',
            '# etcd_mvcc_put_total: missing',
            '# etcd_mvcc_range_total: missing',
            '# etcd_mvcc_delete_total: missing',
            '# etcd_mvcc_txn_total: missing',
            '# etcd_debugging_mvcc_watcher_total: missing',
            '# etcd_debugging_mvcc_watch_stream_total: missing',
            '# etcd_debugging_mvcc_events_total: missing',
            '# etcd_debugging_lease_granted_total: missing',
            '# etcd_debugging_lease_revoked_total: missing',
            '# etcd_debugging_lease_renewed_total: missing',
            '# etcd_network_client_grpc_received_bytes_total: missing',
            '# etcd_network_client_grpc_sent_bytes_total: missing',
            '# etcd_network_peer_sent_bytes_total: missing',
            '# etcd_network_peer_received_bytes_total: missing',
            '# etcd_network_peer_round_trip_time_seconds: missing',
            '# etcd_server_quota_backend_bytes: missing',
            '# etcd_server_heartbeat_send_failures_total: missing',
            '# grpc_server_started_total: missing',
            '# grpc_server_msg_received_total: missing',
            '# grpc_server_msg_sent_total: missing',
            '# process_open_fds: missing',
            '# process_max_fds: missing',
            '# process_cpu_seconds_total: missing',
            '# process_start_time_seconds: missing',
        ],
    ),
    "kv.in_an_unknown_order": Difference(
        'etcd 3.5.1 does not look at it; later versions refuse it in these words.',
        etcd=[
            '< RangeResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+16 raft_term=<measured>}',
            "    kvs {key='a' create_revision=r+2 mod_revision=r+7 version=2}",
            "    kvs {key='b' create_revision=r+4 mod_revision=r+13 version=5}",
            "    kvs {key='c' create_revision=r+1 mod_revision=r+8 version=2}",
            "    kvs {key='d' create_revision=r+5 mod_revision=r+16 version=4}",
            "    kvs {key='e' create_revision=r+3 mod_revision=r+14 version=3}",
            '    count 5',
        ],
        quorate=[
            '< INVALID_ARGUMENT: etcdserver: invalid sort option',
        ],
    ),
    "kv.comparisons_with_an_unknown_result": Difference(
        'A condition is there to prevent something, so one that cannot be read is refused; etcd takes it to hold.',
        etcd=[
            '< TxnResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+1 raft_term=<measured>}',
            '    succeeded True',
        ],
        quorate=[
            '< UNIMPLEMENTED: etcdserver: not supported: a comparison with an unknown result',
        ],
    ),
    "kv.comparisons_with_an_unknown_target": Difference(
        'A condition is there to prevent something, so one that cannot be read is refused; etcd takes it to hold.',
        etcd=[
            '< TxnResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+1 raft_term=<measured>}',
            '    succeeded True',
        ],
        quorate=[
            '< UNIMPLEMENTED: etcdserver: not supported: a comparison with an unknown target',
        ],
    ),
    "kv.garbage": Difference(
        'The words are those of another decoder; the code is the same.',
        etcd=[
            '< INTERNAL: grpc: error unmarshalling request: unexpected EOF',
        ],
        quorate=[
            '< INTERNAL: grpc: the message does not parse: failed to decode Protobuf message: invalid varint',
        ],
    ),
    "maintenance.without_space": Difference(
        "NOSPACE tells of one node's disk and is taken back by the node itself; only a node whose own disk is full refuses writes, and the others go on.",
        etcd=[
            '# KV.Put: RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded',
            '# KV.Txn: RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded',
            '# Lease.LeaseGrant: RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded',
        ],
        quorate=[
            '# KV.Put: done',
            '# KV.Txn: done',
            '# Lease.LeaseGrant: done',
        ],
    ),
    "maintenance.a_corrupt_member": Difference(
        'CORRUPT tells an operator of one member; the others are whole, and go on.',
        etcd=[
            '# KV.Put: DATA_LOSS: etcdserver: corrupt cluster',
            '# KV.Txn: DATA_LOSS: etcdserver: corrupt cluster',
            '# KV.DeleteRange: DATA_LOSS: etcdserver: corrupt cluster',
            '# Lease.LeaseGrant: DATA_LOSS: etcdserver: corrupt cluster',
            '# Lease.LeaseRevoke: DATA_LOSS: etcdserver: corrupt cluster',
        ],
        quorate=[
            '# KV.Put: done',
            '# KV.Txn: done',
            '# KV.DeleteRange: done',
            '# Lease.LeaseGrant: done',
            '# Lease.LeaseRevoke: done',
        ],
    ),
    "maintenance.snapshot": Difference(
        'How many bytes remain is an estimate, because the store is read while it is sent.',
        etcd=[
            '# what remains is told: True',
        ],
        quorate=[
            '# what remains is told: False',
        ],
    ),
    "maintenance.a_downgrade_that_etcd_could_make": Difference(
        "There is no older version whose data this one's could become.",
        etcd=[
            '< DowngradeResponse',
            '    header {cluster_id=<this cluster> member_id=n1 revision=r+0 raft_term=<measured>}',
            "    version '3.5.0'",
        ],
        quorate=[
            '< INVALID_ARGUMENT: etcdserver: invalid downgrade target version',
        ],
    ),
    "watch.garbage_ends_the_stream": Difference(
        'The words are those of another decoder; the code is the same.',
        etcd=[
            '< INTERNAL: grpc: failed to unmarshal the received message unexpected EOF',
        ],
        quorate=[
            '< INTERNAL: grpc: the message does not parse: failed to decode Protobuf message: invalid varint',
        ],
    ),
}
