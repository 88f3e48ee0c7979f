//! What the face knows, and how it asks the node.

use std::sync::Arc;
use std::time::Duration;

use quorate_core::{GroupId, NodeId};
use quorate_kv::auth::Asker;
use quorate_kv::backup::Backup;
use quorate_kv::error::Error as StoreError;
use quorate_kv::long_read::{LongDigest, LongRead};
use quorate_kv::request::{Command, Query, RangeRequest, RangeResponse, Response, Revision};
use quorate_kv::service::{MemberChange, Members, NodeRequest, NodeResponse, Status};
use quorate_kv::watch::History;
use quorate_runtime::{Handle, Metrics, Stopped};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;
use crate::metrics::Counters;
use crate::password::{BCRYPT_COST, Passwords};
use crate::proto::etcdserverpb::ResponseHeader;
use crate::room::Room;
use crate::token::{TokenKind, Tokens};
use crate::watch::Lookout;

/// How long whoever asks for much waits until others have had their answers.
const PLACE_WITHIN: Duration = Duration::from_secs(2);

/// The version of etcd whose behaviour the face has, as clients ask for it.
pub const ETCD_VERSION: &str = "3.6.0";

/// The largest write that etcd takes unless it is told otherwise, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1536 * 1024;

/// What a gRPC message may be longer than a request, in bytes: as in etcd, so that a request just over its limit is
/// refused by name rather than by the framing.
pub const MESSAGE_OVERHEAD_BYTES: usize = 512 * 1024;

/// What a face has to be told. [`FaceConfig::new`] has etcd's defaults for what can be left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaceConfig {
    /// The cluster that the node belongs to.
    pub cluster_id: u64,
    /// The node.
    pub member_id: NodeId,
    /// The shard that the face speaks to.
    pub group: GroupId,
    /// The longest write, in bytes.
    pub request_bytes_max: usize,
    /// How much all requests may take that have begun to arrive and are not whole, in bytes.
    pub unfinished_bytes_max: usize,
    /// How many answers may be read from the store while they are sent. Each holds a thread, however slow its client is,
    /// and others need threads too.
    pub readers_max: usize,
    /// How many calls one connection may have under way.
    pub calls_per_connection_max: u32,
    /// How often an idle HTTP/2 connection is asked whether its client is still there; none for never. A client whose
    /// machine vanished would hold its connection for ever then.
    pub keep_alive_interval: Option<Duration>,
    /// How long such a question may go unanswered.
    pub keep_alive_timeout: Duration,
    /// How often a watcher that asks for it is told how far the store is, if there is nothing else to tell.
    pub progress_notify_interval: Duration,
    /// How long a health check waits for the node, in milliseconds.
    pub health_timeout_ms: u64,
    /// How long calls under way have to end once the node is told to stop, in milliseconds.
    pub drain_timeout_ms: u64,
    /// What clients that have shown a password are given.
    pub auth_token: TokenKind,
    /// How much work it is to check a password: bcrypt's cost, each more of which doubles it.
    pub bcrypt_cost: u32,
    /// Whether a line of the log says who asked for each change, and what became of it.
    pub audit: bool,
}

impl FaceConfig {
    /// A face of a node, with the defaults.
    pub fn new(cluster_id: u64, member_id: NodeId) -> Self {
        FaceConfig {
            cluster_id,
            member_id,
            group: GroupId(0),
            request_bytes_max: REQUEST_BYTES_MAX,
            unfinished_bytes_max: 256 << 20,
            readers_max: 128,
            calls_per_connection_max: 1 << 16,
            keep_alive_interval: Some(Duration::from_secs(60)),
            keep_alive_timeout: Duration::from_secs(20),
            progress_notify_interval: Duration::from_secs(600),
            health_timeout_ms: 5_000,
            drain_timeout_ms: 1_000,
            auth_token: TokenKind::Simple { ttl: Duration::from_secs(300) },
            bcrypt_cost: BCRYPT_COST,
            audit: false,
        }
    }
}

/// One node's face to clients of etcd: all its connections share one, and each call of a client that has said who it is
/// has a clone that knows.
#[derive(Clone, Debug)]
pub struct Face {
    pub(crate) config: Arc<FaceConfig>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) lookout: Arc<Lookout>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) room: Arc<Room>,
    readers: Arc<Semaphore>,
    /// Who asks, if that was said.
    pub(crate) asker: Option<Asker>,
    node: Handle<NodeRequest, NodeResponse>,
    leader: Handle<NodeRequest, NodeResponse>,
    pub(crate) runtime: Arc<Metrics>,
}

impl Face {
    /// A face of the node that the first handle asks. The second asks the node that leads, wherever it is: for what only
    /// that can do and the node doesn't pass on.
    pub fn new(
        config: FaceConfig,
        node: Handle<NodeRequest, NodeResponse>,
        leader: Handle<NodeRequest, NodeResponse>,
        runtime: Arc<Metrics>,
    ) -> Self {
        let lookout = Lookout::new(node.clone(), config.group, config.progress_notify_interval);
        Face {
            counters: Arc::default(),
            lookout: Arc::new(lookout),
            tokens: Arc::new(Tokens::new(config.auth_token.clone())),
            passwords: Arc::new(Passwords::new(config.bcrypt_cost)),
            room: Arc::new(Room::new(config.unfinished_bytes_max)),
            readers: Arc::new(Semaphore::new(config.readers_max)),
            asker: None,
            config: Arc::new(config),
            node,
            leader,
            runtime,
        }
    }

    /// The face as somebody sees it.
    pub(crate) fn asked_by(&self, asker: Asker) -> Self {
        Face { asker: Some(asker), ..self.clone() }
    }

    /// A place among those whose answers are read while they are sent. Readers who read give theirs back soon.
    ///
    /// # Errors
    /// If there is none for a while: too many requests.
    pub(crate) async fn begin_to_read(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = tokio::time::timeout(PLACE_WITHIN, self.readers.clone().acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or_else(|| StoreError::TooManyRequests.into())
    }

    /// The header of an answer.
    pub(crate) fn header(&self, revision: Revision, term: u64) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.config.cluster_id,
            member_id: self.config.member_id.0,
            revision: revision.0,
            raft_term: term,
        })
    }

    /// Has the node carry out a command or answer a query. Returns its term with the answer.
    pub(crate) async fn ask(&self, request: NodeRequest) -> Result<(u64, Response), Error> {
        if takes_room(&request) && self.runtime.is_disk_full() {
            // What is left of the log is for what is under way, and for what makes room.
            return Err(StoreError::NoSpace.into());
        }
        match self.node.ask(self.signed(request)).await {
            Ok(NodeResponse::Done { term, outcome }) => Ok((term, self.verdict(outcome)?)),
            Ok(other) => unreachable!("the node answered a command or a query with {other:?}"),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }

    /// Has the node carry out a command; its answer may be waited for later.
    pub(crate) fn post(
        &self,
        request: NodeRequest,
    ) -> impl Future<Output = Result<NodeResponse, Stopped>> + use<> {
        self.node.post(self.signed(request))
    }

    /// What the node has answered; and if a token counts for nothing any more, that in the words that etcd has for its kind.
    pub(crate) fn verdict(
        &self,
        outcome: Result<Response, StoreError>,
    ) -> Result<Response, StoreError> {
        match (outcome, &self.asker) {
            (Err(StoreError::AuthOldRevision), Some(asker)) => {
                self.tokens.forget(asker);
                Err(self.tokens.outdated())
            }
            (outcome, _) => outcome,
        }
    }

    /// A request on behalf of whoever asks.
    fn signed(&self, request: NodeRequest) -> NodeRequest {
        match &self.asker {
            Some(asker) => NodeRequest::For { asker: asker.clone(), request: Box::new(request) },
            None => request,
        }
    }

    /// How the node's replica is doing.
    pub(crate) async fn status(&self) -> Result<Status, Error> {
        match self.node.ask(NodeRequest::Status { group: self.config.group }).await {
            Ok(NodeResponse::Status(status)) => Ok(status),
            Ok(other) => {
                unreachable!("the node answered a question after its status with {other:?}")
            }
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }

    /// The store as the node has it now.
    pub(crate) async fn backup(&self) -> Result<Backup, Error> {
        match self.node.ask(NodeRequest::Backup { group: self.config.group }).await {
            Ok(NodeResponse::Backup(outcome)) => Ok(outcome?),
            Ok(other) => unreachable!("the node answered a request for a backup with {other:?}"),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }

    /// A hash of the store as the node has it now, up to a revision, to be computed.
    pub(crate) async fn digest(&self, upto: Option<Revision>) -> Result<LongDigest, Error> {
        match self.node.ask(NodeRequest::Digest { group: self.config.group, upto }).await {
            Ok(NodeResponse::Digest(outcome)) => Ok(outcome?),
            Ok(other) => unreachable!("the node answered a request for a digest with {other:?}"),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }

    /// What was changed, as the node has it now.
    pub(crate) async fn history(&self) -> Result<History, Error> {
        let request = NodeRequest::History { group: self.config.group, beyond: None };
        match self.node.ask(request).await {
            Ok(NodeResponse::History(outcome)) => Ok(outcome?),
            Ok(other) => unreachable!("the node answered a request for its history with {other:?}"),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }

    /// Has the node answer a read of a range, unless that takes long.
    pub(crate) async fn read(&self, request: RangeRequest) -> Result<Ranged, Error> {
        let serializable = request.serializable;
        let query = Query::Range(request);
        let query = NodeRequest::Query { group: self.config.group, query, serializable };
        match self.node.ask(self.signed(query)).await {
            Ok(NodeResponse::Done { term, outcome }) => match self.verdict(outcome)? {
                Response::Range(range) => Ok(Ranged::Answer { term, range }),
                other => unreachable!("the node answered a read with {other:?}"),
            },
            Ok(NodeResponse::LongRead(read)) => Ok(Ranged::Long(read)),
            Ok(other) => unreachable!("the node answered a read with {other:?}"),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }

    /// Who the members are: as all have agreed, or as far as this node knows.
    pub(crate) async fn members(&self, is_linearizable: bool) -> Result<Members, Error> {
        let request = NodeRequest::Members { group: self.config.group, is_linearizable };
        members_in(self.node.ask(request).await)
    }

    /// Has the leader change who the members are. Returns who they are then.
    pub(crate) async fn change_members(&self, change: MemberChange) -> Result<Members, Error> {
        let request = NodeRequest::ChangeMembers { group: self.config.group, change };
        members_in(self.leader.ask(request).await)
    }

    /// Has the node hand leadership to a member.
    pub(crate) async fn transfer_leadership(&self, to: NodeId) -> Result<(), Error> {
        let members = self.members(false).await?.members;
        if !members.iter().any(|member| member.node == to && !member.is_learner) {
            return Err(Error::BadLeaderTransferee);
        }
        let request = NodeRequest::TransferLeadership { group: self.config.group, to };
        match self.node.ask(request).await {
            Ok(NodeResponse::Transfer(begun)) => Ok(begun?),
            Ok(other) => unreachable!("the node answered a transfer of leadership with {other:?}"),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }
}

/// What the node makes of a read of a range.
pub(crate) enum Ranged {
    /// It has answered.
    Answer {
        /// The replica's term.
        term: u64,
        /// The answer.
        range: RangeResponse,
    },
    /// It takes long, and is to be carried out here.
    Long(LongRead),
}

fn takes_room(request: &NodeRequest) -> bool {
    let NodeRequest::Command { command, .. } = request else { return false };
    matches!(command, Command::Put(_) | Command::Txn(_) | Command::LeaseGrant(_))
}

fn members_in(answer: Result<NodeResponse, Stopped>) -> Result<Members, Error> {
    match answer {
        Ok(NodeResponse::Members(outcome)) => Ok(outcome?),
        Ok(other) => unreachable!("the node answered about the members with {other:?}"),
        Err(_) => Err(StoreError::Stopped.into()),
    }
}
