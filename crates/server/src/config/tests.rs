use super::identity::{RESERVED_IDS, fnv1a, out_of_reserved};
use super::*;

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| item.to_string()).collect()
}

/// The second of three nodes, everything said.
fn second_of_three() -> Settings {
    Settings {
        name: "n2".into(),
        data_dir: Some("data/n2".into()),
        listen_client_urls: strings(&["http://127.0.0.1:2389"]),
        listen_peer_urls: strings(&["http://127.0.0.1:2390"]),
        initial_advertise_peer_urls: strings(&["http://127.0.0.1:2390"]),
        initial_cluster: strings(&[
            "n1=http://127.0.0.1:2380",
            "n2=http://127.0.0.1:2390",
            "n3=http://127.0.0.1:2400",
        ]),
        ..Settings::default()
    }
}

/// What is said to someone who changed the second of three nodes like this.
fn complaint(change: impl FnOnce(&mut Settings)) -> String {
    let mut settings = second_of_three();
    change(&mut settings);
    Config::from_settings(settings).expect_err("the settings were accepted").to_string()
}

#[track_caller]
fn assert_says(complaint: &str, words: &[&str]) {
    for word in words {
        assert!(complaint.contains(word), "{complaint:?} does not say {word:?}");
    }
}

#[test]
fn a_node_finds_itself_among_the_members_by_name() {
    let config = Config::from_settings(second_of_three()).unwrap();
    let own = config.members.iter().find(|member| member.id == config.node).unwrap();
    assert_eq!(own.name, "n2");
    assert_eq!(own.peer_url.to_string(), "http://127.0.0.1:2390");
    assert_eq!(config.members.len(), 3);
    assert!(config.members.is_sorted_by_key(|member| member.id));
    let plain = |address: &str| Listener { address: address.parse().unwrap(), is_tls: false };
    assert_eq!(config.listen_client, [plain("127.0.0.1:2389")]);
    assert_eq!(config.listen_peer, [plain("127.0.0.1:2390")]);
    assert_eq!(config.advertise_client_urls[0].to_string(), "http://127.0.0.1:2389");
    assert_eq!(config.election_timeout, Duration::from_millis(500));
}

#[test]
fn a_node_told_nothing_is_a_cluster_of_one() {
    let config = Config::from_settings(Settings::default()).unwrap();
    assert_eq!(config.members.len(), 1);
    assert_eq!(config.node, config.members[0].id);
    assert_eq!(config.data_dir, PathBuf::from("default.quorate"));
    assert_eq!(config.advertise_client_urls[0].to_string(), "http://127.0.0.1:2379");
}

#[test]
fn every_member_computes_the_same_ids_whatever_the_order_it_lists_them_in() {
    let second = Config::from_settings(second_of_three()).unwrap();
    let third = Config::from_settings(Settings {
        name: "n3".into(),
        listen_peer_urls: strings(&["http://0.0.0.0:2400"]),
        initial_advertise_peer_urls: strings(&["http://127.0.0.1:2400"]),
        initial_cluster: second_of_three().initial_cluster.into_iter().rev().collect(),
        ..Settings::default()
    })
    .unwrap();
    assert_eq!(second.members, third.members);
    assert_eq!(second.cluster, third.cluster);
    assert_ne!(second.node, third.node);
}

#[test]
fn ids_are_part_of_the_format_and_do_not_change() {
    let config = Config::from_settings(second_of_three()).unwrap();
    assert_eq!(format!("{:x}", config.node.0), "f4aa0655b7b808d7");
    assert_eq!(config.cluster.to_string(), "86c99648924cbe43");
}

#[test]
fn another_token_makes_other_ids() {
    let url: HttpUrl = "http://127.0.0.1:2380".parse().unwrap();
    assert_ne!(member_id("a", &url), member_id("b", &url));
    let member = Member { id: NodeId(1 << 20), name: "n1".into(), peer_url: url };
    let members = [member];
    assert_ne!(cluster_id("a", &members), cluster_id("b", &members));
}

#[test]
fn the_parts_of_an_id_do_not_run_into_each_other() {
    let first: [&[u8]; 2] = [b"ab", b"c"];
    let second: [&[u8]; 2] = [b"a", b"bc"];
    assert_ne!(fnv1a(first), fnv1a(second));
}

#[test]
fn ids_of_simulated_nodes_are_left_free() {
    assert_eq!(out_of_reserved(7), 7 | 1 << 63);
    assert_eq!(out_of_reserved(RESERVED_IDS), RESERVED_IDS);
}

#[test]
fn a_url_is_read_in_every_form_that_names_the_same_place() {
    for (written, read) in [
        ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
        ("http://127.0.0.1:2379/", "http://127.0.0.1:2379"),
        ("http://Node-1.Example:80", "http://node-1.example:80"),
        ("https://Node-1.Example:80/", "https://node-1.example:80"),
        ("http://[0:0::1]:2379", "http://[::1]:2379"),
    ] {
        assert_eq!(written.parse::<HttpUrl>().unwrap().to_string(), read);
    }
}

#[test]
fn a_url_that_is_not_one_says_which_part_is_wrong() {
    for (written, fault) in [
        ("unix://127.0.0.1:2379", UrlFault::Scheme),
        ("127.0.0.1:2379", UrlFault::Scheme),
        ("http://127.0.0.1", UrlFault::Port),
        ("http://127.0.0.1:0", UrlFault::Port),
        ("http://127.0.0.1:65536", UrlFault::Port),
        ("http://127.0.0.1:2379/path", UrlFault::Port),
        ("http://:2379", UrlFault::Host),
        ("http://::1:2379", UrlFault::Host),
        ("http://[n1]:2379", UrlFault::Host),
        ("http://a b:2379", UrlFault::Host),
    ] {
        assert_eq!(written.parse::<HttpUrl>(), Err(fault), "{written}");
    }
}

#[test]
fn localhost_is_listened_on_as_an_address() {
    let mut settings = second_of_three();
    settings.listen_client_urls = strings(&["http://localhost:2389", "http://[::1]:2389"]);
    let config = Config::from_settings(settings).unwrap();
    assert_eq!(
        config.listen_client,
        ["127.0.0.1:2389", "[::1]:2389"]
            .map(|address| Listener { address: address.parse().unwrap(), is_tls: false })
    );
}

#[test]
fn a_bad_url_is_named_with_its_flag() {
    let said = complaint(|s| s.listen_client_urls = strings(&["127.0.0.1:1"]));
    assert_says(&said, &["--listen-client-urls 127.0.0.1:1", "http://"]);
    let said = complaint(|s| s.listen_peer_urls = strings(&["http://127.0.0.1"]));
    assert_says(&said, &["--listen-peer-urls http://127.0.0.1", "port"]);
    let said = complaint(|s| s.advertise_client_urls = strings(&["ftp://h:1"]));
    assert_says(&said, &["--advertise-client-urls ftp://h:1", "http:// or https://"]);
    let said = complaint(|s| s.initial_advertise_peer_urls = strings(&["ftp://h:1"]));
    assert_says(&said, &["--initial-advertise-peer-urls ftp://h:1", "http://"]);
    let said = complaint(|s| s.initial_cluster = strings(&["n2=ftp://127.0.0.1:1"]));
    assert_says(&said, &["--initial-cluster ftp://127.0.0.1:1", "http:// or https://"]);
}

#[test]
fn a_name_cannot_be_listened_on() {
    let said = complaint(|s| s.listen_peer_urls = strings(&["http://node.example:2390"]));
    assert_says(&said, &["--listen-peer-urls http://node.example:2390", "address", "0.0.0.0"]);
}

#[test]
fn an_address_that_nobody_can_connect_to_is_not_advertised() {
    let said = complaint(|s| s.listen_client_urls = strings(&["http://0.0.0.0:2389"]));
    assert_says(&said, &["--advertise-client-urls http://0.0.0.0:2389", "reach this node"]);
    let said = complaint(|s| s.initial_cluster = strings(&["n2=http://0.0.0.0:1"]));
    assert_says(&said, &["--initial-cluster n2=http://0.0.0.0:1", "reach this node"]);
}

#[test]
fn a_node_that_would_listen_nowhere_is_refused() {
    assert_says(&complaint(|s| s.listen_client_urls.clear()), &["--listen-client-urls is empty"]);
}

#[test]
fn one_address_is_not_listened_on_twice() {
    let twice = strings(&["http://127.0.0.1:5", "http://localhost:5"]);
    let said = complaint(|s| s.listen_client_urls = twice);
    assert_says(&said, &["--listen-client-urls http://localhost:5", "own port"]);
    let said = complaint(|s| s.listen_client_urls = strings(&["http://127.0.0.1:2390"]));
    assert_says(&said, &["--listen-peer-urls http://127.0.0.1:2390", "--listen-client-urls"]);
}

#[test]
fn a_name_that_could_not_be_listed_is_refused() {
    for name in ["", "a=b", "a,b", "a b"] {
        let said = complaint(|s| s.name = name.into());
        assert_says(&said, &[&format!("--name {name:?}"), "must not"]);
    }
}

#[test]
fn a_member_without_a_name_or_a_url_is_refused() {
    for member in ["http://127.0.0.1:2390", "n2", "=http://127.0.0.1:2390"] {
        let said = complaint(|s| s.initial_cluster = strings(&[member]));
        assert_says(&said, &[&format!("--initial-cluster {member}"), "NAME=URL"]);
    }
}

#[test]
fn two_members_do_not_share_a_name() {
    let said = complaint(|s| s.initial_cluster.push("n2=http://127.0.0.1:2410".into()));
    assert_says(&said, &["--initial-cluster names n2 twice"]);
}

#[test]
fn two_members_do_not_share_a_peer_url() {
    let said = complaint(|s| s.initial_cluster.push("n4=http://127.0.0.1:2380/".into()));
    assert_says(&said, &["http://127.0.0.1:2380", "n1 and n4"]);
}

#[test]
fn a_node_that_is_not_a_member_is_told_who_is() {
    let said = complaint(|s| s.name = "n9".into());
    assert_says(&said, &["--name n9", "n1,n2,n3"]);
}

#[test]
fn a_node_whose_fellows_know_another_url_is_refused() {
    let said = complaint(|s| s.initial_advertise_peer_urls = strings(&["http://127.0.0.1:9"]));
    assert_says(
        &said,
        &["--initial-advertise-peer-urls http://127.0.0.1:9", "http://127.0.0.1:2390 for n2"],
    );
}

#[test]
fn a_member_has_one_peer_url() {
    let said = complaint(|s| {
        s.initial_advertise_peer_urls = strings(&["http://127.0.0.1:2390", "http://[::1]:2390"]);
    });
    assert_says(&said, &["--initial-advertise-peer-urls http://127.0.0.1:2390,http://[::1]:2390"]);
}

#[test]
fn a_node_begins_a_cluster_or_joins_one() {
    let state = |state: &str| {
        let settings = Settings { initial_cluster_state: state.into(), ..second_of_three() };
        Config::from_settings(settings).unwrap().cluster_state
    };
    assert_eq!((state("new"), state("existing")), (ClusterState::New, ClusterState::Existing));
    let said = complaint(|s| s.initial_cluster_state = "old".into());
    assert_says(&said, &["--initial-cluster-state old", "'new'", "'existing'"]);
}

#[test]
fn an_election_timeout_spans_at_least_five_heartbeats() {
    let said = complaint(|s| (s.heartbeat_interval_ms, s.election_timeout_ms) = (100, 499));
    assert_says(&said, &["--election-timeout 499", "--heartbeat-interval (100 ms)", "give 500"]);
    let mut settings = second_of_three();
    (settings.heartbeat_interval_ms, settings.election_timeout_ms) = (100, 500);
    Config::from_settings(settings).unwrap();
}

#[test]
fn timing_beyond_all_use_is_refused() {
    assert_says(&complaint(|s| s.heartbeat_interval_ms = 0), &["--heartbeat-interval 0"]);
    assert_says(&complaint(|s| s.heartbeat_interval_ms = u64::MAX), &["--election-timeout 500"]);
    assert_says(&complaint(|s| s.election_timeout_ms = 50_001), &["--election-timeout 50001"]);
}

#[test]
fn a_request_limit_that_none_or_too_many_would_pass_is_refused() {
    assert_says(&complaint(|s| s.max_request_bytes = 0), &["--max-request-bytes 0"]);
    assert_says(&complaint(|s| s.snapshot_count = 0), &["--snapshot-count 0", "at least 1"]);
    let said = complaint(|s| s.max_request_bytes = u64::MAX);
    assert_says(&said, &["--max-request-bytes 18446744073709551615"]);
}

/// The ids of the second of three nodes that restores a backup, and those of its cluster.
fn restored(backup: u8, raised_by: Option<u64>, token: &str) -> (u64, u64) {
    let settings = Settings { initial_cluster_token: token.into(), ..second_of_three() };
    let beginning = Beginning { backup: [backup; 32], raised_by };
    let config = beginning.of(Config::from_settings(settings).unwrap()).unwrap();
    assert!(config.members.is_sorted_by_key(|member| member.id));
    let own = config.members.iter().find(|member| member.id == config.node).unwrap();
    assert_eq!(own.name, "n2");
    (config.cluster.0, config.node.0)
}

#[test]
fn a_cluster_that_begins_with_a_backup_has_ids_that_no_other_beginning_gives() {
    let founded = Config::from_settings(second_of_three()).unwrap();
    let mut seen = vec![
        (founded.cluster.0, founded.node.0),
        restored(1, None, "token"),
        restored(2, None, "token"),
        restored(1, None, "other"),
        restored(1, Some(0), "token"),
        restored(1, Some(9), "token"),
    ];
    assert_eq!(seen[1], restored(1, None, "token"), "every node computes the same");
    seen.sort_unstable();
    for pair in seen.windows(2) {
        assert!(pair[0].0 != pair[1].0 && pair[0].1 != pair[1].1, "{seen:x?}");
    }
    let (cluster, node) = restored(1, None, "token");
    assert_eq!(
        (cluster, node),
        (0x186e_e26e_8ca9_0feb, 0x759c_fbd0_20c8_f32b),
        "part of the format"
    );
}

/// A node that speaks TLS on both ports, with files.
fn secure() -> Settings {
    let files = TlsSettings {
        cert_file: Some("cert.pem".into()),
        key_file: Some("key.pem".into()),
        trusted_ca_file: Some("ca.pem".into()),
        ..TlsSettings::default()
    };
    Settings {
        listen_client_urls: strings(&["https://127.0.0.1:2379"]),
        listen_peer_urls: strings(&["https://127.0.0.1:2380"]),
        client_tls: files.clone(),
        peer_tls: files,
        ..Settings::default()
    }
}

fn complaint_about_tls(change: impl FnOnce(&mut Settings)) -> String {
    let mut settings = secure();
    change(&mut settings);
    Config::from_settings(settings).expect_err("the settings were accepted").to_string()
}

#[test]
fn the_scheme_of_a_url_says_whether_tls_is_spoken() {
    let config = Config::from_settings(secure()).unwrap();
    assert!(config.listen_client[0].is_tls && config.listen_peer[0].is_tls);
    assert_eq!(config.peer_url.to_string(), "https://127.0.0.1:2380");
    assert_eq!(config.peer_url.address(), "https://127.0.0.1:2380");
    let port = config.client_tls.unwrap().port;
    assert!(port.demands_certificate, "a trusted authority is enough to demand certificates");
    assert_eq!(config.warnings, [""; 0]);

    let plain = Settings { listen_client_urls: strings(&["http://127.0.0.1:2379"]), ..secure() };
    let config = Config::from_settings(plain).unwrap();
    assert!(!config.listen_client[0].is_tls);
    assert_says(&config.warnings.join(" "), &["--cert-file", "https:// in --listen-client-urls"]);
}

#[test]
fn tls_without_what_it_needs_is_refused_with_what_to_give() {
    let said = complaint_about_tls(|settings| settings.client_tls = TlsSettings::default());
    assert_says(&said, &["https://127.0.0.1:2379", "--cert-file", "--key-file", "--auto-tls"]);
    let said = complaint_about_tls(|settings| settings.peer_tls = TlsSettings::default());
    assert_says(&said, &["--peer-cert-file", "--peer-auto-tls"]);
    let said = complaint_about_tls(|settings| settings.client_tls.key_file = None);
    assert_says(&said, &["--cert-file is of no use without --key-file"]);
    let said = complaint_about_tls(|settings| {
        settings.peer_tls.trusted_ca_file = None;
        settings.peer_tls.allowed_common_names = strings(&["peer"]);
    });
    assert_says(&said, &["--peer-cert-allowed-cn", "--peer-client-cert-auth"]);
    let said = complaint_about_tls(|settings| {
        settings.tls_min_version = "TLS1.3".into();
        settings.tls_max_version = "TLS1.2".into();
    });
    assert_says(&said, &["--tls-min-version TLS1.3", "--tls-max-version TLS1.2"]);
    let said = complaint_about_tls(|settings| settings.tls_min_version = "SSL3".into());
    assert_says(&said, &["--tls-min-version SSL3", "TLS1.2 or TLS1.3"]);
}

#[test]
fn a_node_that_makes_its_own_certificates_keeps_them_in_its_directory_and_trusts_any_peer() {
    let own = TlsSettings { auto_tls: true, ..TlsSettings::default() };
    let settings = Settings { client_tls: own.clone(), peer_tls: own, ..secure() };
    let config = Config::from_settings(settings).unwrap();
    let (client, peer) = (config.client_tls.unwrap(), config.peer_tls.unwrap());
    let made = client.self_signed.unwrap();
    assert_eq!(made.dir, PathBuf::from("default.quorate/fixtures/client"));
    assert_eq!((made.hosts, made.years), (strings(&["127.0.0.1"]), 1));
    assert!(!client.port.demands_certificate);
    assert_eq!(peer.port.caller().authorities, quorate_tls::Authorities::Anyone);
    assert_eq!(peer.port.pair.key, PathBuf::from("default.quorate/fixtures/peer/key.pem"));
}

#[test]
fn a_time_is_read_as_go_writes_it() {
    for (text, millis) in
        [("10m", 600_000), ("1h30m", 5_400_000), ("1.5s", 1_500), ("250ms", 250), ("0", 0)]
    {
        assert_eq!(limits::duration("flag", text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "10", "m", "10 m", "-1s", "1x", "1e9s", "99999999999999999999h"] {
        assert!(limits::duration("flag", text).is_err(), "{text}");
    }
}

#[test]
fn history_is_kept_by_revisions_or_by_time() {
    let compaction = |mode: &str, retention: &str| {
        let settings = Settings {
            auto_compaction_mode: mode.into(),
            auto_compaction_retention: retention.into(),
            ..Settings::default()
        };
        Config::from_settings(settings)
            .map(|config| config.auto_compaction)
            .map_err(|error| error.to_string())
    };
    let period = |seconds| Ok(Some(AutoCompaction::Period(Duration::from_secs(seconds))));
    assert_eq!(compaction("periodic", "0"), Ok(None));
    assert_eq!(compaction("periodic", "2"), period(7200));
    assert_eq!(compaction("periodic", "30m"), period(1800));
    assert_eq!(compaction("revision", "0"), Ok(None));
    assert_eq!(compaction("revision", "1000"), Ok(Some(AutoCompaction::Revisions(1000))));
    assert_says(&compaction("revision", "1h").unwrap_err(), &["1h", "a number of revisions"]);
    assert_says(&compaction("periodic", "soon").unwrap_err(), &["soon", "number of hours"]);
    assert_says(&compaction("daily", "1").unwrap_err(), &["daily", "'periodic' or 'revision'"]);
}

#[test]
fn other_values_that_cannot_be_meant_are_refused() {
    assert_says(&complaint(|settings| settings.max_txn_ops = 0), &["--max-txn-ops 0"]);
    let said = complaint(|settings| settings.watch_progress_notify_interval = "1ms".into());
    assert_says(&said, &["--watch-progress-notify-interval 1ms", "100ms"]);
    let said = complaint(|settings| settings.corrupt_check_time = "often".into());
    assert_says(&said, &["--corrupt-check-time often", "10m"]);
    assert_says(&complaint(|settings| settings.auth_token = "magic".into()), &["magic", "'jwt'"]);
    assert_says(&complaint(|settings| settings.bcrypt_cost = 3), &["--bcrypt-cost 3"]);
    let jwt = "jwt,pub-key=a,sign-method=RS256";
    let config = Config::from_settings(Settings { auth_token: jwt.into(), ..Settings::default() });
    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    let options = vec![pair("pub-key", "a"), pair("sign-method", "RS256")];
    assert_eq!(config.unwrap().auth_token, AuthToken::Jwt(options));
}
