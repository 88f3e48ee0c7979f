//! The methods that the face has.

use crate::error::Error;

/// How many messages a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One each way.
    Unary,
    /// One from the client, and any number back.
    ServerStream,
    /// Any number each way.
    BidiStream,
}

impl Shape {
    /// What gRPC's metrics call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Unary => "unary",
            Shape::ServerStream => "server_stream",
            Shape::BidiStream => "bidi_stream",
        }
    }
}

/// Who may call a method while authentication is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenTo {
    /// Anybody, or whoever the node says.
    All,
    /// Whoever has said who asks.
    Users,
    /// Whoever may do everything.
    Root,
}

/// Makes the closed set of methods out of one table.
macro_rules! methods {
    ($($service:literal { $($method:ident = $name:literal $shape:ident,)* })*) => {
        /// A method that the face has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($($method,)*)*
        }

        impl Method {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: &[Method] = &[$($(Method::$method,)*)*];

            /// Its name on the wire.
            pub(crate) fn name(self) -> &'static str {
                match self { $($(Method::$method => $name,)*)* }
            }

            /// The service that it belongs to.
            pub(crate) fn service(self) -> &'static str {
                match self { $($(Method::$method => $service,)*)* }
            }

            /// How many messages it takes and gives.
            pub(crate) fn shape(self) -> Shape {
                match self { $($(Method::$method => Shape::$shape,)*)* }
            }
        }
    };
}

methods! {
    "etcdserverpb.KV" {
        Range = "Range" Unary,
        Put = "Put" Unary,
        DeleteRange = "DeleteRange" Unary,
        Txn = "Txn" Unary,
        Compact = "Compact" Unary,
    }
    "etcdserverpb.Watch" {
        Watch = "Watch" BidiStream,
    }
    "etcdserverpb.Lease" {
        LeaseGrant = "LeaseGrant" Unary,
        LeaseRevoke = "LeaseRevoke" Unary,
        LeaseKeepAlive = "LeaseKeepAlive" BidiStream,
        LeaseTimeToLive = "LeaseTimeToLive" Unary,
        LeaseLeases = "LeaseLeases" Unary,
    }
    "etcdserverpb.Cluster" {
        MemberAdd = "MemberAdd" Unary,
        MemberRemove = "MemberRemove" Unary,
        MemberUpdate = "MemberUpdate" Unary,
        MemberList = "MemberList" Unary,
        MemberPromote = "MemberPromote" Unary,
    }
    "etcdserverpb.Auth" {
        AuthEnable = "AuthEnable" Unary,
        AuthDisable = "AuthDisable" Unary,
        AuthStatus = "AuthStatus" Unary,
        Authenticate = "Authenticate" Unary,
        UserAdd = "UserAdd" Unary,
        UserGet = "UserGet" Unary,
        UserList = "UserList" Unary,
        UserDelete = "UserDelete" Unary,
        UserChangePassword = "UserChangePassword" Unary,
        UserGrantRole = "UserGrantRole" Unary,
        UserRevokeRole = "UserRevokeRole" Unary,
        RoleAdd = "RoleAdd" Unary,
        RoleGet = "RoleGet" Unary,
        RoleList = "RoleList" Unary,
        RoleDelete = "RoleDelete" Unary,
        RoleGrantPermission = "RoleGrantPermission" Unary,
        RoleRevokePermission = "RoleRevokePermission" Unary,
    }
    "etcdserverpb.Maintenance" {
        Alarm = "Alarm" Unary,
        Status = "Status" Unary,
        Defragment = "Defragment" Unary,
        Hash = "Hash" Unary,
        HashKv = "HashKV" Unary,
        Snapshot = "Snapshot" ServerStream,
        MoveLeader = "MoveLeader" Unary,
        Downgrade = "Downgrade" Unary,
    }
    "v3lockpb.Lock" {
        Lock = "Lock" Unary,
        Unlock = "Unlock" Unary,
    }
    "v3electionpb.Election" {
        Campaign = "Campaign" Unary,
        Proclaim = "Proclaim" Unary,
        Leader = "Leader" Unary,
        Observe = "Observe" ServerStream,
        Resign = "Resign" Unary,
    }
}

impl Method {
    /// How many there are.
    pub(crate) const COUNT: usize = Method::ALL.len();

    /// The method at a path.
    pub(crate) fn at(path: &str) -> Option<Method> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        let mut all = Method::ALL.iter().copied();
        all.find(|method| name == method.name() && service == method.service())
    }

    /// Who may call it, as far as that doesn't depend on the keys.
    pub(crate) fn open_to(self) -> OpenTo {
        match self {
            Method::MemberAdd
            | Method::MemberRemove
            | Method::MemberUpdate
            | Method::MemberPromote
            | Method::Defragment
            | Method::Hash
            | Method::HashKv
            | Method::Snapshot
            | Method::MoveLeader
            | Method::Downgrade
            // The node refuses these by itself, but passwords are hashed before it is asked.
            | Method::UserAdd
            | Method::UserChangePassword => OpenTo::Root,
            // Stock clients look at alarms to see how a node is; to change one takes root.
            Method::MemberList | Method::Alarm => OpenTo::Users,
            // The node decides by what is asked; and how it is doing anybody may know, as in etcd.
            _ => OpenTo::All,
        }
    }

    /// Whether its requests change something.
    pub(crate) fn is_change(self) -> bool {
        !matches!(
            self,
            Method::Range
                | Method::Watch
                | Method::LeaseKeepAlive
                | Method::LeaseTimeToLive
                | Method::LeaseLeases
                | Method::MemberList
                | Method::AuthStatus
                | Method::UserGet
                | Method::UserList
                | Method::RoleGet
                | Method::RoleList
                | Method::Status
                | Method::Hash
                | Method::HashKv
                | Method::Leader
                | Method::Observe
        )
    }

    /// What to say of a path at which there is none.
    pub(crate) fn absence(path: &str) -> Error {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (service, name) = path.rsplit_once('/').unwrap_or((path, ""));
        let (service, name) = (service.to_owned(), name.to_owned());
        match Method::ALL.iter().any(|method| method.service() == service) {
            true => Error::UnknownMethod { name, service },
            false => Error::UnknownService(service),
        }
    }

    /// Whether its requests go through the log, and so may not be longer than the log takes.
    pub(crate) fn is_logged(self) -> bool {
        matches!(
            self,
            Method::Put
                | Method::DeleteRange
                | Method::Txn
                | Method::Compact
                | Method::Campaign
                | Method::Proclaim
        )
    }
}
