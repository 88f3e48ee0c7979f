//! How a run begins: the nodes are introduced to each other.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Due, Run, SET_UP};
use crate::address::NodeIndex;
use crate::fault::{Complaint, NodeFault};
use crate::message::{Body, Message, body, type_of};
use crate::nodes::Nodes;
use crate::workload::Script;

/// Something that begins a node's run, and that it has not answered yet.
pub(super) struct Introduction {
    request: &'static str,
    msg_id: u64,
}

impl<N: Nodes, S: Script> Run<'_, N, S> {
    /// Introduces the nodes to each other.
    pub(super) fn set_up(&mut self) -> Result<(), NodeFault> {
        for node in NodeIndex::all(self.options.nodes) {
            self.introduce(node, "init");
        }
        self.await_introductions()?;
        if S::HAS_TOPOLOGY {
            for node in NodeIndex::all(self.options.nodes) {
                self.introduce(node, "topology");
            }
        }
        self.await_introductions()
    }

    /// Tells a node who it is, or who its neighbours are.
    pub(super) fn introduce(&mut self, node: NodeIndex, request: &'static str) {
        let count = self.options.nodes;
        let fields = if request == "init" {
            let ids: Vec<String> = NodeIndex::all(count).map(|node| node.to_string()).collect();
            json!({ "node_id": node.to_string(), "node_ids": ids })
        } else {
            let neighbours: Body = NodeIndex::all(count)
                .map(|node| (node.to_string(), json!(neighbours(node, count))))
                .collect();
            json!({ "topology": neighbours })
        };
        let msg_id = self.next_introduction;
        self.next_introduction += 1;
        self.introductions.insert(node, Introduction { request, msg_id });
        let deadline = self.nodes.now() + self.options.start_within;
        self.later(deadline, Due::Overdue(node, msg_id));
        let mut body = body(request, fields);
        body.insert("msg_id".into(), msg_id.into());
        let message = Message { src: SET_UP.to_string(), dest: node.to_string(), body };
        self.nodes.deliver(node, &message);
    }

    fn await_introductions(&mut self) -> Result<(), NodeFault> {
        // Each is answered or found overdue in time, so this ends.
        while !self.introductions.is_empty() {
            self.turn(Duration::MAX)?;
        }
        Ok(())
    }

    /// A node has had all the time that it has to answer that message.
    pub(super) fn find_silent(&mut self, node: NodeIndex, msg_id: u64) -> Result<(), NodeFault> {
        match self.introductions.get(&node) {
            Some(open) if open.msg_id == msg_id => {
                let (request, within) = (open.request, self.options.start_within);
                Err(self.fault(node, Complaint::Silent { request, within }, None))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn hear_set_up(
        &mut self,
        node: NodeIndex,
        body: &Body,
        line: &str,
    ) -> Result<(), NodeFault> {
        let answered = body.get("in_reply_to").and_then(Value::as_u64);
        let open = self.introductions.get(&node);
        let Some(request) =
            open.filter(|open| Some(open.msg_id) == answered).map(|open| open.request)
        else {
            // It answers twice, or says something that nobody asked for.
            return Ok(());
        };
        if type_of(body) != format!("{request}_ok") {
            let answer = Value::Object(body.clone()).to_string();
            return Err(self.fault(node, Complaint::Refused { request, answer }, Some(line)));
        }
        self.introductions.remove(&node);
        if self.down.contains(&node) {
            if S::HAS_TOPOLOGY && request == "init" {
                self.introduce(node, "topology");
            } else {
                self.down.remove(&node);
            }
        }
        Ok(())
    }
}

/// A grid: each node has those to its left and right, above and below. Few links, and more than one way.
fn neighbours(node: NodeIndex, nodes: u16) -> Vec<String> {
    let width = (1..).find(|width| width * width >= nodes).expect("some square is as large");
    let (row, column) = (node.0 / width, node.0 % width);
    NodeIndex::all(nodes)
        .filter(|other| {
            let (other_row, other_column) = (other.0 / width, other.0 % width);
            row.abs_diff(other_row) + column.abs_diff(other_column) == 1
        })
        .map(|other| other.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::address::Address;

    #[test]
    fn the_topology_is_a_grid_that_holds_together() {
        assert_eq!(neighbours(NodeIndex(4), 9), ["n2", "n4", "n6", "n8"]);
        assert_eq!(neighbours(NodeIndex(0), 1), [""; 0]);
        for nodes in 2..30 {
            let mut reached = BTreeSet::from(["n1".to_string()]);
            let mut open = vec![NodeIndex(0)];
            while let Some(here) = open.pop() {
                for name in neighbours(here, nodes) {
                    let Some(Address::Node(next)) = Address::parse(&name, nodes) else { panic!() };
                    if reached.insert(name) {
                        open.push(next);
                    }
                }
            }
            assert_eq!(reached.len(), usize::from(nodes));
        }
    }
}
