//! A command line that cannot be meant, and ports that somebody else has.

use std::net::TcpListener;
use std::process::Command;

use crate::{FAILED, MISUSED, fails};

/// `quorate` with these arguments and nothing from the environment.
fn quorate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUORATE_") {
            command.env_remove(name);
        }
    }
    command
}

#[tokio::test]
async fn an_unknown_flag_is_misuse_and_the_nearest_one_is_named() {
    let misspelt = quorate(&["serve", "--data-dri", "d"]);
    fails(misspelt, MISUSED, &["--data-dri", "--data-dir", "--help"]).await;
    fails(quorate(&["sevre"]), MISUSED, &["sevre", "serve"]).await;
}

#[tokio::test]
async fn a_malformed_list_of_members_is_misuse_and_the_right_form_is_shown() {
    let serve = |members| quorate(&["serve", "--name", "n1", "--initial-cluster", members]);
    fails(serve("n1:2380"), MISUSED, &["--initial-cluster n1:2380", "NAME=URL"]).await;
    let no_scheme = serve("n1=127.0.0.1:2380");
    fails(no_scheme, MISUSED, &["--initial-cluster", "127.0.0.1:2380", "http://"]).await;
    let stranger = serve("n2=http://127.0.0.1:2380");
    fails(stranger, MISUSED, &["--name n1", "no such member", "n2"]).await;
    let twice = serve("n1=http://127.0.0.1:2380,n1=http://127.0.0.1:2390");
    fails(twice, MISUSED, &["names n1 twice", "rename or remove"]).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_gives_another() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let taken = format!("http://{}", holder.local_addr().expect("it is bound"));
    let other = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let free = format!("http://{}", other.local_addr().expect("it is bound"));
    drop(other);
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = dir.path().join("data");
    for (client, peer, flag) in
        [(&taken, &free, "--listen-client-urls"), (&free, &taken, "--listen-peer-urls")]
    {
        let mut command = quorate(&["serve", "--listen-client-urls", client]);
        command.args(["--listen-peer-urls", peer]).arg("--data-dir").arg(&data_dir);
        let port = taken.rsplit(':').next().expect("a URL has a port");
        fails(command, FAILED, &["cannot listen", port, flag, "stop what is listening"]).await;
        assert!(!data_dir.exists(), "a node that cannot listen leaves nothing behind");
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_named_with_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = nobody.local_addr().expect("it is bound").to_string();
    drop(nobody);
    let get = quorate(&["get", "k", "--endpoints", &address]);
    fails(get, FAILED, &[&address, "Is the cluster running", "--endpoints"]).await;
}
