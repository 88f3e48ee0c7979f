//! What nodes say of themselves.

use std::time::Instant;

use etcd_client::{Client, ConnectOptions};

use super::{ANSWER_WITHIN, ASK_EVERY, Cluster, DEADLINE, NodeIndex};
use crate::error::TortureError;
use crate::http;

impl Cluster {
    /// Who the members are, by a node's account.
    pub async fn members(
        &self,
        through: NodeIndex,
    ) -> Result<Vec<etcd_client::Member>, TortureError> {
        let endpoints = self.client_url(through);
        let mut client = self.client(through).await?;
        let list = client.member_list().await;
        let list = list.map_err(|source| TortureError::Client { endpoints, source })?;
        Ok(list.members().to_vec())
    }

    /// Waits until so many members vote, by a node's account.
    pub async fn wait_for_voters(
        &self,
        through: NodeIndex,
        voters: usize,
    ) -> Result<(), TortureError> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let members = self.members(through).await?;
            let seen = members.iter().filter(|member| !member.is_learner()).count();
            if seen == voters {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let (what, last) = (format!("{voters} members that vote"), format!("{members:?}"));
                return Err(TortureError::NotSeen { what, within: DEADLINE, last });
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// The node that says of itself that it leads, as soon as one does. Of several the one with the newest term: the
    /// others have been deposed and do not know it yet.
    pub async fn leader(&mut self) -> Result<NodeIndex, TortureError> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut newest = None;
            for node in self.running() {
                newest = newest.max(self.led_term(node).await.map(|term| (term, node)));
            }
            if let Some((_, leader)) = newest {
                return Ok(leader);
            }
            if Instant::now() >= deadline {
                let (what, last) = ("a leader".to_owned(), "no node said that it leads".to_owned());
                return Err(TortureError::NotSeen { what, within: DEADLINE, last });
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// The term that a node leads, by its own account.
    async fn led_term(&self, node: NodeIndex) -> Option<u64> {
        let options = ConnectOptions::new().with_timeout(ANSWER_WITHIN);
        let mut client = Client::connect([self.client_url(node)], Some(options)).await.ok()?;
        let status = client.status().await.ok()?;
        let leads = status.header()?.member_id() == status.leader();
        leads.then(|| status.raft_term())
    }

    /// Waits until a node's metric is as it should be.
    pub async fn wait_for_metric(
        &self,
        node: NodeIndex,
        name: &str,
        is_right: impl Fn(f64) -> bool,
    ) -> Result<(), TortureError> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let last = self.metric(node, name).await;
            if last.as_ref().is_ok_and(|value| is_right(*value)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("the metric {name} of {node} being right");
                return Err(TortureError::NotSeen {
                    what,
                    within: DEADLINE,
                    last: format!("{last:?}"),
                });
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// The value of a metric, by its whole name with labels, if the node has it.
    pub async fn metric(&self, node: NodeIndex, name: &str) -> Result<f64, TortureError> {
        let not_seen = |last: String| TortureError::NotSeen {
            what: format!("the metric {name} of {node}"),
            within: DEADLINE,
            last,
        };
        let answer = http::get(self.client_address(node), "/metrics", DEADLINE).await;
        let answer = answer.map_err(|error| not_seen(error.to_string()))?;
        let mut lines = answer.body.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
            .ok_or_else(|| not_seen("it is not among the node's metrics".into()))
    }
}
