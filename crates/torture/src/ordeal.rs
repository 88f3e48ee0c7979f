//! The parts that every ordeal under load has in common, in the form that tests want: what does not come about is a panic
//! that says so.

use crate::cluster::Cluster;
use crate::load::{Load, LoadOptions, Report};

/// So many answers in a row show that the cluster serves.
const SOME_ANSWERS: u64 = 1500;

/// Sets clients to work on every node, and waits until they are served.
pub async fn load_on(cluster: &Cluster, options: LoadOptions) -> Load {
    let load = Load::start(cluster.client_urls(), options).await.expect("clients are made");
    serves(&load).await;
    load
}

/// Waits until the clients have been served for a while.
pub async fn serves(load: &Load) {
    load.answers(SOME_ANSWERS).await.expect("the cluster serves");
}

/// Demands that what the clients saw and what every node holds agree, and that there was something to agree on.
pub async fn assert_stood(report: &Report) {
    match report.judge().await {
        Ok(verdict) => {
            assert!(!verdict.contents.entries.is_empty(), "the load left nothing to look at")
        }
        Err(error) => panic!("{error}"),
    }
}
