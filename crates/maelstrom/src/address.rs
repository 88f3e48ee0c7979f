//! Who can be spoken to: nodes (`n1`), clients (`c1`), and services by their names.

use std::fmt;

/// One node of the cluster; the first is 0 here and `n1` in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// All nodes of a cluster of that size.
    pub fn all(nodes: u16) -> impl DoubleEndedIterator<Item = NodeIndex> {
        (0..nodes).map(NodeIndex)
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0 + 1)
    }
}

/// One client. `c0` sets the nodes up; whoever has been left without an answer goes on under a new number, because
/// its old request may still be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientNumber(pub u64);

impl fmt::Display for ClientNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// What nodes may use besides each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// A linearizable key-value store.
    LinKv,
    /// A sequentially consistent key-value store: everyone sees one order, some later than others.
    SeqKv,
    /// A key-value store in which the last writer wins, and reads may come from any replica.
    LwwKv,
    /// Numbers that only rise.
    LinTso,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 4] = [Service::LinKv, Service::SeqKv, Service::LwwKv, Service::LinTso];

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Service::LinKv => "lin-kv",
            Service::SeqKv => "seq-kv",
            Service::LwwKv => "lww-kv",
            Service::LinTso => "lin-tso",
        }
    }
}

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A node.
    Node(NodeIndex),
    /// A client.
    Client(ClientNumber),
    /// A service.
    Service(Service),
}

impl Address {
    /// Whom a name in a message means, in a cluster of that many nodes. `None`: nobody that could be there.
    pub fn parse(name: &str, nodes: u16) -> Option<Self> {
        if let Some(service) = Service::ALL.into_iter().find(|service| service.name() == name) {
            return Some(Address::Service(service));
        }
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|n| n.to_string() == digits);
        if let Some(client) = name.strip_prefix('c').and_then(number) {
            return Some(Address::Client(ClientNumber(client)));
        }
        let node = name.strip_prefix('n').and_then(number)?;
        let index = u16::try_from(node.checked_sub(1)?).ok()?;
        (index < nodes).then_some(Address::Node(NodeIndex(index)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Node(node) => node.fmt(f),
            Address::Client(client) => client.fmt(f),
            Address::Service(service) => f.write_str(service.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written_and_nothing_else_is_one() {
        for name in ["n1", "n3", "c0", "c17", "lin-kv", "seq-kv", "lww-kv", "lin-tso"] {
            let address = Address::parse(name, 3).expect("it is one");
            assert_eq!(address.to_string(), name);
        }
        for name in ["n0", "n4", "n01", "n", "c", "c-1", "kv", "", "N1"] {
            assert_eq!(Address::parse(name, 3), None, "{name}");
        }
    }
}
