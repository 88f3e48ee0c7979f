//! What people write: flags, endpoints, and files with certificates.

use std::sync::LazyLock;

use quorate_client::Endpoint;
use quorate_server::{Config, Settings};
use quorate_tls::terms::{Allowed, Authorities, PairFiles, Port, Versions};
use quorate_tls::{Acceptor, Dialer};
use tempfile::TempDir;

/// What a setting is said to be: the first byte of an input chooses which.
fn said(which: u8, text: String) -> Settings {
    let mut settings = Settings::default();
    let list = || text.split(',').map(String::from).collect::<Vec<_>>();
    match which % 16 {
        0 => settings.name = text,
        1 => settings.listen_client_urls = list(),
        2 => settings.advertise_client_urls = list(),
        3 => settings.listen_peer_urls = list(),
        4 => settings.initial_advertise_peer_urls = list(),
        5 => settings.initial_cluster = list(),
        6 => settings.initial_cluster_token = text,
        7 => settings.initial_cluster_state = text,
        8 => settings.grpc_keepalive_interval = text,
        9 => settings.grpc_keepalive_timeout = text,
        10 => settings.watch_progress_notify_interval = text,
        11 => settings.auto_compaction_mode = text,
        12 => settings.auto_compaction_retention = text,
        13 => settings.tls_min_version = text,
        14 => settings.listen_metrics_urls = list(),
        // Whatever file it names is read only once the node starts.
        _ => settings.auth_token = text,
    }
    settings
}

pub(crate) fn settings() -> Vec<Vec<u8>> {
    let said = [
        "\x01http://127.0.0.1:2379,https://[::1]:2379",
        "\x03http://localhost:2380",
        "\x05default=http://127.0.0.1:2380,n2=http://[fe80::1%25eth0]:2380",
        "\x081h30m",
        "\x0c72h",
        "\x0f",
        "\x0fjwt,pub-key=/nowhere/a.pem,priv-key=/nowhere/b.pem,sign-method=RS256,ttl=10m",
        "\x00n1",
    ];
    said.map(|text| text.as_bytes().to_vec()).into()
}

pub(crate) fn setting(bytes: &[u8]) {
    let Some((which, text)) = bytes.split_first() else { return };
    // An error, or a configuration.
    let _ = Config::from_settings(said(*which, String::from_utf8_lossy(text).into_owned()));
}

pub(crate) fn endpoints() -> Vec<Vec<u8>> {
    let said = ["127.0.0.1:2379", "https://db.example:2379", "http://[::1]:1", "localhost"];
    said.map(|text| text.as_bytes().to_vec()).into()
}

pub(crate) fn endpoint(bytes: &[u8]) {
    // An error, or an endpoint.
    let _ = String::from_utf8_lossy(bytes).parse::<Endpoint>();
}

/// A good pair, in PEM.
static PAIR: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("it can be made");
    (made.cert.pem(), made.signing_key.serialize_pem())
});

pub(crate) fn pems() -> Vec<Vec<u8>> {
    let (cert, key) = &*PAIR;
    vec![cert.clone().into(), key.clone().into(), format!("{key}{cert}").into()]
}

/// A file as certificate, as key, and as the authorities.
pub(crate) fn file(bytes: &[u8]) {
    static DIR: LazyLock<TempDir> =
        LazyLock::new(|| tempfile::tempdir().expect("there is room for a directory"));
    let (damaged, good) = (DIR.path().join("damaged.pem"), DIR.path().join("good.pem"));
    let (cert, key) = &*PAIR;
    std::fs::write(&damaged, bytes).expect("there is room");
    std::fs::write(&good, format!("{cert}{key}")).expect("there is room");
    let files = [&damaged, &good];
    for (cert, key, authorities) in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] {
        let port = Port {
            pair: PairFiles { cert: files[cert].clone(), key: files[key].clone() },
            dialing_pair: None,
            authorities: Authorities::File(files[authorities].clone()),
            demands_certificate: true,
            allowed: Allowed::default(),
            versions: Versions::default(),
            protocols: &[],
        };
        // An error, or a pair that can be used.
        let _ = Acceptor::new(&port);
        let _ = Dialer::new(&port.caller());
    }
}

pub(crate) fn certificates() -> Vec<Vec<u8>> {
    let cert = pem::parse(&PAIR.0).expect("it was just made");
    vec![cert.into_contents()]
}

/// The bytes of a certificate, in a file that is right.
pub(crate) fn certificate(bytes: &[u8]) {
    file(pem::encode(&pem::Pem::new("CERTIFICATE", bytes)).as_bytes());
}
