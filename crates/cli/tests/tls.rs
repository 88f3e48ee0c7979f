//! Three processes that speak TLS with each other and with clients: who is served, who is not, and what changes without a
//! restart.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate_torture::http;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(60);

fn quorate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["QUORATE_", "ETCD_", "ETCDCTL_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Signs for nodes and clients.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(dir.join(format!("{name}.pem")), issuer.pem()).unwrap();
        Authority { issuer }
    }

    fn sign(&self, dir: &Path, name: &str) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        // The key first: a node that looks in between finds two that do not belong together, and keeps what it has.
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(dir.join(format!("{name}.crt")), certificate.pem()).unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Nodes that end with the test.
struct Nodes {
    dir: TempDir,
    clients: Vec<u16>,
    processes: Vec<Child>,
}

impl Nodes {
    /// Starts `size` nodes, whose URLs have these schemes, with more flags.
    fn start(dir: TempDir, size: usize, schemes: (&str, &str), flags: &[&str]) -> Self {
        let clients: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let peers: Vec<String> =
            (0..size).map(|_| format!("{}://127.0.0.1:{}", schemes.1, free_port())).collect();
        let members: Vec<String> =
            peers.iter().enumerate().map(|(at, url)| format!("n{at}={url}")).collect();
        let processes = (0..size).map(|at| {
            let mut command = quorate();
            command.current_dir(dir.path()).args(["serve", "--exit-with-stdin"]);
            command.args(["--name", &format!("n{at}"), "--data-dir", &format!("n{at}")]);
            let client_url = format!("{}://127.0.0.1:{}", schemes.0, clients[at]);
            command.args(["--listen-client-urls", &client_url, "--listen-peer-urls", &peers[at]]);
            command.args(["--initial-cluster", &members.join(",")]).args(flags);
            let log = File::create(dir.path().join(format!("n{at}.log"))).unwrap();
            command.stdin(Stdio::piped()).stderr(log).spawn().unwrap()
        });
        let processes = processes.collect();
        Nodes { dir, clients, processes }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command of the client's with a node.
    fn run(&self, node: usize, scheme: &str, args: &[&str]) -> Output {
        let endpoint = format!("{scheme}127.0.0.1:{}", self.clients[node]);
        quorate()
            .current_dir(self.dir.path())
            .args(args)
            .args(["--endpoints", &endpoint, "--timeout", "5"])
            .output()
            .unwrap()
    }

    /// What it writes, once it is done.
    fn eventually(&self, node: usize, scheme: &str, args: &[&str]) -> String {
        let deadline = Instant::now() + WITHIN;
        loop {
            let output = self.run(node, scheme, args);
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(Instant::now() < deadline, "{args:?}: {said}\n{}", self.log(node));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Why it is not done.
    fn refused(&self, node: usize, scheme: &str, args: &[&str]) -> String {
        let output = self.run(node, scheme, args);
        assert!(!output.status.success(), "{args:?} was done");
        String::from_utf8(output.stderr).unwrap()
    }

    fn log(&self, node: usize) -> String {
        fs::read_to_string(self.file(&format!("n{node}.log"))).unwrap()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

const GOOD: [&str; 6] = ["--cacert", "ca.pem", "--cert", "ada.crt", "--key", "ada.key"];

#[test]
fn a_cluster_serves_those_with_a_good_certificate_and_takes_new_ones_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let stranger = Authority::new(dir.path(), "stranger-ca");
    ["node", "ada"].iter().for_each(|name| authority.sign(dir.path(), name));
    stranger.sign(dir.path(), "eve");
    let flags = [
        ["--cert-file=node.crt", "--key-file=node.key", "--trusted-ca-file=ca.pem"],
        ["--peer-cert-file=node.crt", "--peer-key-file=node.key", "--peer-trusted-ca-file=ca.pem"],
        ["--client-cert-auth", "--peer-client-cert-auth=true", "--peer-cert-allowed-cn=node"],
    ];
    let mut flags = flags.concat();
    flags.push("--log-level=info,quorate_api_etcd=debug");
    let nodes = Nodes::start(dir, 3, ("https", "https"), &flags);
    let with = |words: &[&'static str], credentials: &[&'static str]| [words, credentials].concat();

    nodes.eventually(0, "https://", &with(&["put", "greeting", "hello"], &GOOD));
    for node in 0..3 {
        // The scheme may be left out where a flag is about TLS.
        let said = nodes.eventually(node, "", &with(&["get", "greeting"], &GOOD));
        assert!(said.contains("hello"), "{said}");
    }
    assert!(nodes.log(0).contains("common_name=\"ada\""), "{}", nodes.log(0));

    let get = ["get", "greeting"];
    nodes.refused(0, "https://", &with(&get, &["--cacert", "ca.pem"]));
    assert!(nodes.log(0).contains("it shows no certificate"), "{}", nodes.log(0));
    let eve = ["--cacert", "ca.pem", "--cert", "eve.crt", "--key", "eve.key"];
    nodes.refused(0, "https://", &with(&get, &eve));
    nodes.refused(0, "http://", &get);
    let said = nodes.refused(0, "https://", &with(&get, &["--cacert", "stranger-ca.pem"]));
    assert!(said.contains("nobody who is trusted has signed its certificate"), "{said}");

    // Another authority signs for the nodes, and both are trusted, as when one is replaced.
    let both = ["ca.pem", "stranger-ca.pem"].map(|name| fs::read(nodes.file(name)).unwrap());
    fs::write(nodes.file("ca.new"), both.concat()).unwrap();
    fs::rename(nodes.file("ca.new"), nodes.file("ca.pem")).unwrap();
    stranger.sign(nodes.dir.path(), "node");
    let new = ["--cacert", "stranger-ca.pem", "--cert", "eve.crt", "--key", "eve.key"];
    let said = nodes.eventually(1, "https://", &with(&get, &new));
    assert!(said.contains("hello"), "{said}");
}

#[test]
fn a_node_that_makes_its_own_certificates_keeps_them_and_is_reached_by_who_has_them() {
    let flags = ["--auto-tls", "--peer-auto-tls"];
    let nodes = Nodes::start(tempfile::tempdir().unwrap(), 3, ("https", "https"), &flags);
    let trusting = ["put", "k", "v", "--insecure-transport=false", "--insecure-skip-tls-verify"];
    nodes.eventually(0, "", &trusting);
    let said =
        nodes.eventually(1, "https://", &["get", "k", "--cacert", "n1/fixtures/client/cert.pem"]);
    assert!(said.contains('v'), "{said}");
    let said =
        nodes.refused(1, "https://", &["get", "k", "--cacert", "n0/fixtures/client/cert.pem"]);
    assert!(said.contains("certificate"), "{said}");
    assert!(nodes.file("n2/fixtures/peer/key.pem").exists());
}

/// How many connections the node that serves clients on this port has refused on its peer port.
async fn refused(port: u16) -> u64 {
    let metrics = http::get(([127, 0, 0, 1], port).into(), "/metrics", WITHIN).await;
    let metrics = metrics.expect("it serves its metrics").body;
    let number =
        metrics.lines().find_map(|line| line.strip_prefix("quorate_peer_strangers_total "));
    number.expect("it counts them").parse().expect("a number")
}

#[tokio::test]
async fn peers_that_do_not_agree_on_tls_say_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let (client, peer) = ([free_port(), free_port()], [free_port(), free_port()]);
    let members = format!("n0=https://127.0.0.1:{},n1=http://127.0.0.1:{}", peer[0], peer[1]);
    let serve = |at: usize, scheme: &str, members: &str| {
        let mut command = quorate();
        command.current_dir(dir.path()).args(["serve", "--exit-with-stdin", "--peer-auto-tls"]);
        command.args(["--name", &format!("n{at}"), "--initial-cluster", members]);
        command.arg("--listen-client-urls").arg(format!("http://127.0.0.1:{}", client[at]));
        command.arg("--listen-peer-urls").arg(format!("{scheme}://127.0.0.1:{}", peer[at]));
        let log = File::create(dir.path().join(format!("n{at}.log"))).unwrap();
        command.stdin(Stdio::piped()).stderr(log).spawn().unwrap()
    };
    // The second one has not heard that the first speaks TLS.
    let plain = members.replace("https", "http");
    let mut both = [serve(0, "https", &members), serve(1, "http", &plain)];
    let log = |at: usize| fs::read_to_string(dir.path().join(format!("n{at}.log"))).unwrap();
    let deadline = Instant::now() + WITHIN;
    let told = "does not speak TLS and this port does";
    while !(log(0).contains(told) && log(1).contains(told)) {
        assert!(Instant::now() < deadline, "n0:\n{}\nn1:\n{}", log(0), log(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while refused(client[0]).await < 4 {
        assert!(Instant::now() < deadline, "no further attempt was made:\n{}", log(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    both.iter_mut().for_each(|node| {
        let _ = node.kill();
        let _ = node.wait();
    });
    for at in 0..2 {
        assert_eq!(log(at).matches(told).count(), 1, "n{at}:\n{}", log(at));
    }
}
