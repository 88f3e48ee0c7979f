//! How a run begins: the nodes are introduced to each other.

use serde_json::{Value, json};

use super::{Run, SET_UP};
use crate::address::NodeIndex;
use crate::fault::{Complaint, NodeFault};
use crate::message::{Body, Message, body, type_of};
use crate::nodes::Nodes;
use crate::workload::Script;

impl<N: Nodes, S: Script> Run<'_, N, S> {
    /// Introduces the nodes to each other.
    pub(super) fn set_up(&mut self) -> Result<(), NodeFault> {
        let count = self.options.nodes;
        let ids: Vec<String> = NodeIndex::all(count).map(|node| node.to_string()).collect();
        self.ask_all("init", |node| json!({ "node_id": node.to_string(), "node_ids": ids }))?;
        if S::HAS_TOPOLOGY {
            let neighbours: Body = NodeIndex::all(count)
                .map(|node| (node.to_string(), json!(neighbours(node, count))))
                .collect();
            self.ask_all("topology", |_| json!({ "topology": neighbours }))?;
        }
        Ok(())
    }

    fn ask_all(
        &mut self,
        request: &'static str,
        fields: impl Fn(NodeIndex) -> Value,
    ) -> Result<(), NodeFault> {
        self.set_up_request = request;
        self.setting_up = NodeIndex::all(self.options.nodes).collect();
        let deadline = self.nodes.now() + self.options.start_within;
        for node in NodeIndex::all(self.options.nodes) {
            let mut body = body(request, fields(node));
            body.insert("msg_id".into(), self.set_up_msg_id().into());
            let message = Message { src: SET_UP.to_string(), dest: node.to_string(), body };
            self.nodes.deliver(node, &message);
        }
        while let Some(&silent) = self.setting_up.first() {
            if self.nodes.now() >= deadline {
                let within = self.options.start_within;
                return Err(self.fault(silent, Complaint::Silent { request, within }, None));
            }
            self.turn(deadline)?;
        }
        Ok(())
    }

    fn set_up_msg_id(&self) -> u64 {
        if self.set_up_request == "init" { 1 } else { 2 }
    }

    pub(super) fn hear_set_up(
        &mut self,
        node: NodeIndex,
        body: &Body,
        line: &str,
    ) -> Result<(), NodeFault> {
        if body.get("in_reply_to").and_then(Value::as_u64) != Some(self.set_up_msg_id())
            || !self.setting_up.contains(&node)
        {
            // It answers twice, or says something that nobody asked for.
            return Ok(());
        }
        let request = self.set_up_request;
        if type_of(body) != format!("{request}_ok") {
            let answer = Value::Object(body.clone()).to_string();
            return Err(self.fault(node, Complaint::Refused { request, answer }, Some(line)));
        }
        self.setting_up.remove(&node);
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
