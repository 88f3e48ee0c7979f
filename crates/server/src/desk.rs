//! Where changes of the membership, and questions after the data, come in: from the face of this node, and from other nodes. The leader carries them
//! out, so every other node hands them on to it, over the peer port.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_kv::error::Error;
use quorate_kv::node::DEFAULT_GROUP;
use quorate_kv::request::{Command, CompactRequest, Revision};
use quorate_kv::service::{MemberChange, Members, NodeRequest, NodeResponse, Status};
use quorate_runtime::Stopped;
use quorate_runtime::handle::Question;
use quorate_runtime::{EnquiryError, Handle};
use quorate_tls::Dialer;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::config::HttpUrl;
use crate::enquiry::{self, Enquiry, Failure, Reply};
use crate::fingerprint::{Fingerprint, Fingerprints};

/// How long a change is tried again that certainly did not happen: while there is no leader, or another is under way.
const CHANGE_WITHIN: Duration = Duration::from_secs(5);
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Asks a node of this process.
pub(crate) type Node = Handle<NodeRequest, NodeResponse>;

/// Has the membership read and changed.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    node: Node,
    me: NodeId,
    cluster: u64,
    /// Reaches nodes that speak TLS.
    pub(crate) dialer: Option<Dialer>,
    fingerprints: Fingerprints,
}

impl Desk {
    pub(crate) fn new(node: Node, me: NodeId, cluster: u64, dialer: Option<Dialer>) -> Self {
        Desk { node, me, cluster, dialer, fingerprints: Fingerprints::default() }
    }

    /// Answers other nodes' enquiries, and changes that the face asks for, until nobody can ask any more.
    pub(crate) fn serve(
        self,
        mut enquiries: UnboundedReceiver<Question<Bytes, Bytes>>,
        mut requests: UnboundedReceiver<Question<NodeRequest, NodeResponse>>,
    ) {
        let desk = Arc::new(self);
        let for_nodes = desk.clone();
        tokio::spawn(async move {
            while let Some(Question { request, answer }) = enquiries.recv().await {
                let desk = for_nodes.clone();
                tokio::spawn(async move {
                    if let Some(enquiry) = enquiry::read(desk.cluster, request) {
                        let outcome = desk.answer(enquiry).await;
                        // Who asked may have left.
                        let _ = answer.send(enquiry::answer(desk.cluster, outcome));
                    }
                });
            }
        });
        tokio::spawn(async move {
            while let Some(Question { request, answer }) = requests.recv().await {
                let desk = desk.clone();
                tokio::spawn(async move {
                    let response = match request {
                        NodeRequest::ChangeMembers { change, .. } => {
                            Ok(NodeResponse::Members(desk.change(change).await))
                        }
                        other => desk.node.ask(other).await,
                    };
                    if let Ok(response) = response {
                        let _ = answer.send(response);
                    }
                });
            }
        });
    }

    /// Another node's question. A change is not passed on a second time: two nodes that each take the other for the
    /// leader would pass it on for ever.
    async fn answer(&self, enquiry: Enquiry) -> Result<Reply, Error> {
        Ok(match enquiry {
            Enquiry::Roll => Reply::Members(self.members(true).await?),
            Enquiry::Change(change) => Reply::Members(self.change_here(change).await?),
            Enquiry::Fingerprint(upto) => Reply::Fingerprint(self.fingerprint(upto).await?),
        })
    }

    /// The fingerprint of this node's data up to a revision, if it is there; else it is being computed.
    pub(crate) async fn fingerprint(&self, upto: Revision) -> Result<Option<Fingerprint>, Error> {
        if let Some(known) = self.fingerprints.known(upto) {
            return known;
        }
        let request = NodeRequest::Digest { group: DEFAULT_GROUP, upto: Some(upto) };
        match self.node.ask(request).await {
            Ok(NodeResponse::Digest(digest)) => self.fingerprints.begin(digest?),
            Ok(_) | Err(_) => return Err(Error::Stopped),
        }
        Ok(None)
    }

    /// Who the members are: as all have agreed, or as far as this node knows.
    pub(crate) async fn members(&self, is_linearizable: bool) -> Result<Members, Error> {
        self.ask(NodeRequest::Members { group: DEFAULT_GROUP, is_linearizable }).await
    }

    /// Has the leader make a change, wherever that is.
    pub(crate) async fn change(&self, mut change: MemberChange) -> Result<Members, Error> {
        normalize(&mut change)?;
        let deadline = Instant::now() + CHANGE_WITHIN;
        loop {
            let outcome = match self.change_here(change.clone()).await {
                Err(Error::NotLeader) => self.change_there(&change).await,
                outcome => outcome,
            };
            let did_not_happen =
                matches!(outcome, Err(Error::NotLeader | Error::NoLeader | Error::ChangeUnderWay));
            if !did_not_happen || Instant::now() >= deadline {
                return outcome.map_err(|error| match error {
                    Error::NotLeader => Error::NoLeader,
                    other => other,
                });
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    /// Has this node make a change, if it leads.
    pub(crate) async fn change_here(&self, change: MemberChange) -> Result<Members, Error> {
        self.ask(NodeRequest::ChangeMembers { group: DEFAULT_GROUP, change }).await
    }

    async fn change_there(&self, change: &MemberChange) -> Result<Members, Error> {
        let leader = self.status().await?.leader.filter(|leader| *leader != self.me);
        let leader = leader.ok_or(Error::NoLeader)?;
        let members = self.members(false).await?.members;
        let urls = members.into_iter().find(|member| member.node == leader);
        let urls = urls.map(|member| member.info.peer_urls).unwrap_or_default();
        let addresses = urls.iter().filter_map(|url| Some(url.parse::<HttpUrl>().ok()?.address()));
        for address in addresses {
            let enquiry = Enquiry::Change(change.clone());
            return match enquiry::ask(&address, self.dialer.as_ref(), Some(self.cluster), &enquiry)
                .await
            {
                Ok((_, members)) => Ok(members),
                Err(Failure::Refused(error)) => Err(error),
                Err(Failure::Transport(EnquiryError::Unreachable(_))) => continue,
                // The connection may have broken on the way back.
                Err(Failure::Transport(_) | Failure::OtherCluster(_)) => Err(Error::TimedOut),
            };
        }
        Err(Error::NoLeader)
    }

    /// Has the shard's history forgotten up to a revision.
    pub(crate) async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let command = Command::Compact(CompactRequest { revision, physical: false });
        let request = NodeRequest::Command { group: DEFAULT_GROUP, command };
        match self.node.ask(request).await {
            Ok(NodeResponse::Done { outcome, .. }) => outcome.map(|_| ()),
            Ok(_) | Err(_) => Err(Error::Stopped),
        }
    }

    pub(crate) async fn status(&self) -> Result<Status, Error> {
        match self.node.ask(NodeRequest::Status { group: DEFAULT_GROUP }).await {
            Ok(NodeResponse::Status(status)) => Ok(status),
            Ok(_) | Err(_) => Err(Error::Stopped),
        }
    }

    /// Has the node tell how much time has passed. Whether that went well is for the next time to show.
    pub(crate) async fn tick(&self) -> Result<(), Stopped> {
        self.node.ask(NodeRequest::Tick { group: DEFAULT_GROUP }).await.map(|_| ())
    }

    async fn ask(&self, request: NodeRequest) -> Result<Members, Error> {
        match self.node.ask(request).await {
            Ok(NodeResponse::Members(outcome)) => outcome,
            Ok(_) | Err(_) => Err(Error::Stopped),
        }
    }
}

/// Writes peer URLs as all nodes write them, so that they can be compared.
fn normalize(change: &mut MemberChange) -> Result<(), Error> {
    let (MemberChange::Add { peer_urls, .. } | MemberChange::Update { peer_urls, .. }) = change
    else {
        return Ok(());
    };
    for url in peer_urls {
        let normal: HttpUrl = url.parse().map_err(|_| Error::MemberBadUrls)?;
        *url = normal.to_string();
    }
    Ok(())
}
