//! What a local cluster consists of, and the file that says so: `cluster.json` in its directory.
//!
//! The number of nodes and their ports are fixed when the directory is made, because members know each other by ids
//! that come from their peer URLs: other ports would be other members, without the data.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Where `up` keeps a cluster, unless told otherwise.
pub(crate) const DEFAULT_DIR: &str = "./quorate-data";
/// etcd's client port.
pub(crate) const DEFAULT_BASE_PORT: u16 = 2379;

const DEFAULT_NODES: u16 = 5;
const PORTS_PER_NODE: u16 = 10;
const FILE: &str = "cluster.json";
const VERSION: u32 = 1;
/// Part of what the members' ids are made of; the directory decides which cluster it is.
const TOKEN: &str = "quorate-up";

/// A local cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    version: u32,
    base_port: u16,
    /// `--initial-cluster-token` of all nodes.
    pub(crate) token: String,
    /// One per node, in order.
    pub(crate) members: Vec<Member>,
}

/// One node of a local cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// `n1`, `n2`, and so on.
    pub(crate) name: String,
    /// Where it listens for clients, on 127.0.0.1.
    pub(crate) client_port: u16,
    /// Where it listens for its peers, on 127.0.0.1.
    pub(crate) peer_port: u16,
    /// Its process, while the cluster runs.
    pub(crate) pid: Option<u32>,
}

impl Member {
    /// `HOST:PORT` for clients.
    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    pub(crate) fn client_url(&self) -> String {
        format!("http://{}", self.authority())
    }

    pub(crate) fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// Everything of this node.
    pub(crate) fn dir(&self, cluster: &Path) -> PathBuf {
        cluster.join(&self.name)
    }

    /// What the node keeps.
    pub(crate) fn data_dir(&self, cluster: &Path) -> PathBuf {
        self.dir(cluster).join("data")
    }
}

impl Layout {
    /// The cluster of this directory, or a new one for it. What was said must not contradict what is there.
    ///
    /// A new one is not written yet: its ports may turn out to be taken, and must not have been settled then.
    pub(crate) fn open(
        dir: &Path,
        nodes: Option<u16>,
        base_port: Option<u16>,
    ) -> Result<Self, CliError> {
        let Some(found) = Self::read(dir)? else {
            let base_port = base_port.unwrap_or(DEFAULT_BASE_PORT);
            return Self::new(nodes.unwrap_or(DEFAULT_NODES), base_port);
        };
        let conflict = |flag, said: u16, has: usize| {
            CliError::Misuse(format!(
                "--{flag} {said}: the cluster in {dir} was made with {has}; leave the flag out to go on with \
                 its data, or give another --dir for a new cluster (or remove {dir} if nothing in it is needed)",
                dir = dir.display(),
            ))
        };
        match (nodes, base_port) {
            (Some(said), _) if usize::from(said) != found.members.len() => {
                Err(conflict("nodes", said, found.members.len()))
            }
            (_, Some(said)) if said != found.base_port => {
                Err(conflict("base-port", said, found.base_port.into()))
            }
            _ => Ok(found),
        }
    }

    /// The cluster of this directory, if there is one.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, CliError> {
        let path = dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::File { action: "read", path, error }),
        };
        let damaged = |fault: String| {
            let path = path.display();
            CliError::Up(format!("{path}: {fault}; give another --dir, or restore the file"))
        };
        let layout: Layout =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if layout.version != VERSION {
            return Err(damaged(format!(
                "version {} is not {VERSION}, which this is",
                layout.version
            )));
        }
        if layout.members.is_empty() {
            return Err(damaged("it has no members".into()));
        }
        Ok(Some(layout))
    }

    /// Writes the file, whole or not at all, and makes the directory if it is not there.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), CliError> {
        std::fs::create_dir_all(dir).map_err(|error| CliError::File {
            action: "create",
            path: dir.into(),
            error,
        })?;
        let path = dir.join(FILE);
        let unfinished = dir.join(format!("{FILE}.new"));
        let text = serde_json::to_string_pretty(self).expect("a layout is plain data");
        std::fs::write(&unfinished, text + "\n")
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(|error| CliError::File { action: "write", path, error })
    }

    fn new(nodes: u16, base_port: u16) -> Result<Self, CliError> {
        let port = |k: u16, offset: u16| {
            k.checked_mul(PORTS_PER_NODE)
                .and_then(|step| step.checked_add(offset)?.checked_add(base_port))
                .ok_or_else(|| {
                    let least = PORTS_PER_NODE * (nodes - 1) + 1;
                    CliError::Misuse(format!(
                        "--base-port {base_port}: {nodes} nodes would need ports beyond 65535; give {} or less",
                        u16::MAX - least
                    ))
                })
        };
        let members = (0..nodes).map(|k| {
            let (client_port, peer_port) = (port(k, 0)?, port(k, 1)?);
            Ok(Member { name: format!("n{}", k + 1), client_port, peer_port, pid: None })
        });
        let members = members.collect::<Result<_, CliError>>()?;
        Ok(Layout { version: VERSION, base_port, token: TOKEN.into(), members })
    }

    /// `HOST:PORT` of every node.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::authority).collect()
    }

    /// What `--initial-cluster` says.
    pub(crate) fn initial_cluster(&self) -> String {
        let members = self.members.iter().map(|m| format!("{}={}", m.name, m.peer_url()));
        members.collect::<Vec<_>>().join(",")
    }

    /// Nobody else may hold a port of ours. A node would say so too, but in its log.
    pub(crate) fn check_ports(&self) -> Result<(), CliError> {
        for member in &self.members {
            for (kind, port) in [("client", member.client_port), ("peer", member.peer_port)] {
                let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
                let trouble = match error.kind() {
                    ErrorKind::AddrInUse => "is in use".to_string(),
                    _ => format!("cannot be used ({error})"),
                };
                return Err(CliError::Up(format!(
                    "port {port}, the {kind} port of {}, {trouble}; stop what holds it (another `quorate up`, or an \
                     etcd?), or start a new cluster elsewhere with --base-port and another --dir",
                    member.name,
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_k_has_its_ports_ten_after_those_of_the_node_before() {
        let layout = Layout::new(5, 2379).unwrap();
        let ports: Vec<(u16, u16)> =
            layout.members.iter().map(|member| (member.client_port, member.peer_port)).collect();
        assert_eq!(ports, [(2379, 2380), (2389, 2390), (2399, 2400), (2409, 2410), (2419, 2420)]);
        assert_eq!(layout.endpoints().join(","), crate::endpoints::UP_ENDPOINTS);
        assert!(layout.initial_cluster().starts_with("n1=http://127.0.0.1:2380,n2="));
    }

    #[test]
    fn ports_beyond_the_last_one_are_refused_with_one_that_fits() {
        let said = Layout::new(5, 65_500).unwrap_err().to_string();
        assert!(
            said.contains("--base-port 65500") && said.contains("give 65494 or less"),
            "{said}"
        );
        Layout::new(5, 65_494).unwrap();
        assert!(Layout::new(5, 65_495).is_err());
    }

    #[test]
    fn a_directory_keeps_its_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let made = Layout::open(dir.path(), Some(3), Some(4000)).unwrap();
        assert_eq!(made.members.len(), 3);
        made.write(dir.path()).unwrap();
        assert_eq!(Layout::open(dir.path(), None, None).unwrap(), made);
        assert_eq!(Layout::open(dir.path(), Some(3), Some(4000)).unwrap(), made);
    }

    #[test]
    fn another_number_of_nodes_or_base_port_than_the_directory_has_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Layout::open(dir.path(), Some(3), None).unwrap().write(dir.path()).unwrap();
        for (nodes, base_port, words) in [
            (Some(5), None, ["--nodes 5", "made with 3"]),
            (None, Some(4000), ["--base-port 4000", "made with 2379"]),
        ] {
            let error = Layout::open(dir.path(), nodes, base_port).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let said = error.to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            assert!(said.contains("--dir"), "{said}");
        }
    }

    #[test]
    fn a_cluster_that_could_not_start_settles_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Layout::open(dir.path(), Some(3), None).unwrap();
        assert_eq!(Layout::open(dir.path(), Some(5), None).unwrap().members.len(), 5);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let said = Layout::open(dir.path(), None, None).unwrap_err().to_string();
        assert!(said.contains("cluster.json") && said.contains("--dir"), "{said}");
    }

    #[test]
    fn a_port_in_use_is_named_with_its_node_and_the_way_out() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let mut layout = Layout::new(1, 2379).unwrap();
        (layout.members[0].client_port, layout.members[0].peer_port) = (port, port);
        let said = layout.check_ports().unwrap_err().to_string();
        let words = [&format!("port {port}"), "client port of n1", "is in use", "--base-port"];
        assert!(words.iter().all(|word| said.contains(*word)), "{said}");
    }
}
