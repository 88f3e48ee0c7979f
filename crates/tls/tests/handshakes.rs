//! Who is talked to, and who is told why not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quorate_tls::{
    Accepted, Acceptor, Allowed, Authorities, Caller, Dialer, Link, PairFiles, Port, Refusal,
    Stream, TlsError, Version, Versions,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Signs for people, into files.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { dir: tempfile::tempdir().unwrap(), issuer };
        fs::write(authority.file("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn authorities(&self) -> Authorities {
        Authorities::File(self.file("ca.pem"))
    }

    /// A certificate of this common name, good for this machine.
    fn pair(&self, name: &str) -> PairFiles {
        let hosts = ["localhost".to_string(), "127.0.0.1".to_string()];
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = PairFiles {
            cert: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
        };
        fs::write(&files.cert, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// One that demands certificates.
    fn port(&self) -> Port {
        Port {
            pair: self.pair("server"),
            dialing_pair: None,
            authorities: self.authorities(),
            demands_certificate: true,
            allowed: Allowed::default(),
            versions: Versions::default(),
            protocols: &["h2"],
        }
    }

    fn caller(&self, name: Option<&str>) -> Caller {
        Caller {
            pair: name.map(|name| self.pair(name)),
            authorities: self.authorities(),
            allowed: Allowed::default(),
            versions: Versions::default(),
            protocols: &["h2"],
        }
    }
}

async fn pipe() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dialled, listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

/// Has the two meet. In TLS 1.3 the one who dials learns only with the first answer that it is not welcome.
async fn meet(port: &Port, caller: &Caller) -> (Result<Accepted, Refusal>, Result<Stream, String>) {
    let (acceptor, dialer) = (Acceptor::new(port).unwrap(), Dialer::new(caller).unwrap());
    let (dialled, accepted) = pipe().await;
    let (accepted, dialled) =
        tokio::join!(acceptor.accept(accepted), dialer.connect("127.0.0.1", dialled));
    (accepted, dialled.map_err(|error| error.to_string()))
}

fn why(refusal: Result<Accepted, Refusal>) -> String {
    match refusal {
        Err(Refusal::Failed(why)) => why,
        other => panic!("{other:?} is no failed handshake"),
    }
}

#[tokio::test]
async fn a_caller_with_a_good_certificate_is_known_by_its_name() {
    let authority = Authority::new();
    let (accepted, dialled) = meet(&authority.port(), &authority.caller(Some("ada"))).await;
    let (mut accepted, mut dialled) = (accepted.unwrap(), dialled.unwrap());
    assert_eq!(accepted.common_name.as_deref(), Some("ada"));
    dialled.write_all(b"hello").await.unwrap();
    dialled.flush().await.unwrap();
    let mut heard = [0; 5];
    accepted.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn a_caller_without_a_certificate_or_with_a_strangers_is_refused() {
    let authority = Authority::new();
    let (accepted, _) = meet(&authority.port(), &authority.caller(None)).await;
    assert!(why(accepted).contains("it shows no certificate"));

    let stranger = Authority::new();
    let caller = Caller { pair: Some(stranger.pair("ada")), ..authority.caller(None) };
    let (accepted, _) = meet(&authority.port(), &caller).await;
    assert!(why(accepted).contains("nobody who is trusted has signed"));
}

#[tokio::test]
async fn a_port_that_demands_no_certificate_serves_anyone() {
    let authority = Authority::new();
    let port = Port { demands_certificate: false, ..authority.port() };
    let (accepted, dialled) = meet(&port, &authority.caller(None)).await;
    assert_eq!(accepted.unwrap().common_name, None);
    dialled.unwrap();
}

#[tokio::test]
async fn only_allowed_names_and_hosts_are_talked_to_either_way() {
    let authority = Authority::new();
    let allowed = Allowed { common_names: vec!["ada".into()], hosts: Vec::new() };
    let port = Port { allowed: allowed.clone(), ..authority.port() };
    let (accepted, _) = meet(&port, &authority.caller(Some("ada"))).await;
    accepted.unwrap();
    let (accepted, _) = meet(&port, &authority.caller(Some("eve"))).await;
    assert!(why(accepted).contains("common name is eve"));

    let caller = Caller { allowed, ..authority.caller(Some("ada")) };
    let (_, dialled) = meet(&authority.port(), &caller).await;
    assert!(dialled.unwrap_err().contains("common name is server"));

    for (host, is_welcome) in [("localhost", true), ("elsewhere", false)] {
        let allowed = Allowed { common_names: Vec::new(), hosts: vec![host.into()] };
        let port = Port { allowed, ..authority.port() };
        let (accepted, _) = meet(&port, &authority.caller(Some("ada"))).await;
        assert_eq!(accepted.is_ok(), is_welcome, "{host}");
    }
}

#[tokio::test]
async fn a_server_that_nobody_trusted_has_signed_for_is_left_unless_anyone_is_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let port = Port { demands_certificate: false, ..stranger.port() };
    let (_, dialled) = meet(&port, &authority.caller(None)).await;
    assert!(dialled.unwrap_err().contains("nobody who is trusted has signed"));
    let trusting = Caller { authorities: Authorities::Anyone, ..authority.caller(None) };
    let (accepted, dialled) = meet(&port, &trusting).await;
    dialled.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_by_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = ["127.0.0.1".to_string()];
    let pair = quorate_tls::self_signed::ensure(dir.path(), &hosts, 1).unwrap();
    let authority = Authority::new();
    let port = Port { pair: pair.clone(), demands_certificate: false, ..authority.port() };
    let caller = Caller { authorities: Authorities::File(pair.cert), ..authority.caller(None) };
    let (accepted, dialled) = meet(&port, &caller).await;
    dialled.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn versions_that_have_nothing_in_common_do_not_meet() {
    let authority = Authority::new();
    let only = |version| Versions { min: version, max: version };
    let port = Port { versions: only(Version::Tls13), ..authority.port() };
    let old = Caller { versions: only(Version::Tls12), ..authority.caller(Some("ada")) };
    let (accepted, dialled) = meet(&port, &old).await;
    assert!(accepted.is_err() && dialled.is_err());
    let port = Port { versions: only(Version::Tls12), ..authority.port() };
    let (accepted, _) = meet(&port, &old).await;
    accepted.unwrap();
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_apart_either_way() {
    let authority = Authority::new();
    let acceptor = Acceptor::new(&authority.port()).unwrap();
    let (mut dialled, accepted) = pipe().await;
    dialled.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(acceptor.accept(accepted).await, Err(Refusal::NotTls(_))));

    let dialer = Dialer::new(&authority.caller(None)).unwrap();
    let (dialled, mut accepted) = pipe().await;
    accepted.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let said = dialer.connect("127.0.0.1", dialled).await.unwrap_err().to_string();
    assert!(said.contains("does not speak TLS"), "{said}");
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_without_a_restart() {
    let authority = Authority::new();
    let port = Port { demands_certificate: false, ..authority.port() };
    let acceptor = Acceptor::new(&port).unwrap();
    let named = |name: &str| Caller {
        allowed: Allowed { common_names: vec![name.into()], hosts: Vec::new() },
        ..authority.caller(None)
    };
    let (old, new) = (Dialer::new(&named("server")).unwrap(), Dialer::new(&named("new")).unwrap());
    let is_shown = async |dialer: &Dialer| {
        let (dialled, accepted) = pipe().await;
        let (_, dialled) =
            tokio::join!(acceptor.accept(accepted), dialer.connect("127.0.0.1", dialled));
        dialled.is_ok()
    };
    assert!(is_shown(&old).await && !is_shown(&new).await);

    // The certificate first: for a moment its key is another's, and the old two are shown.
    let replacement = authority.pair("new");
    fs::rename(&replacement.cert, &port.pair.cert).unwrap();
    // Files are looked at once a second.
    let looked_at = Instant::now() + Duration::from_millis(1100);
    while Instant::now() < looked_at {
        assert!(is_shown(&old).await);
    }
    fs::rename(&replacement.key, &port.pair.key).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_shown(&new).await {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_link_hands_over_everything_however_slow_the_other_side_is() {
    let authority = Authority::new();
    let (accepted, dialled) = meet(&authority.port(), &authority.caller(Some("ada"))).await;
    let (mut accepted, link) = (accepted.unwrap().stream, Link::of(dialled.unwrap()).unwrap());
    let sent: Vec<u8> = (0..8 << 20).map(|at: u32| (at / 7) as u8).collect();
    let writes = async {
        let mut rest = &sent[..];
        let mut has_waited = false;
        while !rest.is_empty() || link.try_flush().is_err() {
            match link.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    has_waited = true;
                    link.writable().await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(has_waited, "the test is to be made larger");
    };
    let mut heard = vec![0; sent.len()];
    let (read, ()) = tokio::join!(accepted.read_exact(&mut heard), writes);
    read.unwrap();
    assert!(heard == sent);

    accepted.write_all(b"enough").await.unwrap();
    accepted.shutdown().await.unwrap();
    let mut buffer = BytesMut::new();
    loop {
        link.readable().await.unwrap();
        match link.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(&buffer[..], b"enough");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let authority = Authority::new();
    let port = authority.port();
    let refused = |port: Port| Acceptor::new(&port).expect_err("it was taken").to_string();
    let with = |cert: &Path, key: &Path| Port {
        pair: PairFiles { cert: cert.into(), key: key.into() },
        ..port.clone()
    };
    let missing = authority.file("missing.pem");
    let said = refused(with(&missing, &port.pair.key));
    assert!(said.contains("missing.pem") && said.contains("No such file"), "{said}");
    let said = refused(with(&port.pair.key, &port.pair.key));
    assert!(said.contains("server.key holds no certificate"), "{said}");
    let said = refused(with(&port.pair.cert, &port.pair.cert));
    assert!(said.contains("server.pem holds no private key"), "{said}");
    let other = authority.pair("other");
    let error = Acceptor::new(&with(&port.pair.cert, &other.key)).expect_err("it was taken");
    assert!(matches!(error, TlsError::OtherKey { .. }), "{error}");
    let empty = authority.file("empty.pem");
    fs::write(&empty, "").unwrap();
    let said = refused(Port { authorities: Authorities::File(empty), ..port.clone() });
    assert!(said.contains("empty.pem holds no certificate"), "{said}");
}
