//! Execution (section 4.3.2): dependencies before dependents, and what depends on each other by sequence number.

use std::collections::BTreeSet;

use quorate_core::Out;

use super::{EPaxos, Instance};

impl EPaxos {
    /// Executes what can be: each set of instances that depend on each other, once all that it depends on is executed.
    pub(super) fn execute(&mut self, out: &mut Out<'_, Self>) {
        while let Some(component) = self.next_component() {
            self.done.extend(&component);
            // All replicas have the same attributes, so all order the component alike.
            let mut component: Vec<_> = component
                .into_iter()
                .filter_map(|instance| Some((self.decided(instance)?, instance)))
                .map(|(attributes, instance)| (attributes.seq, instance, attributes.command))
                .collect();
            component.sort_unstable_by_key(|(seq, instance, _)| (*seq, *instance));
            self.executed.extend(component.into_iter().filter_map(|(_, _, command)| command));
        }
        let executed = &self.executed;
        self.waiting.retain(|id, command| {
            let is_executed = executed.contains(command);
            if is_executed {
                out.reply(*id, *command);
            }
            !is_executed
        });
    }

    /// A strongly connected component of the graph of dependencies from which no other leads on.
    fn next_component(&self) -> Option<BTreeSet<Instance>> {
        let ready = self.committed().map(|(instance, _)| instance);
        ready.filter(|instance| !self.done.contains(instance)).find_map(|instance| {
            let below = self.below(instance)?;
            let is_a_component = below
                .iter()
                .all(|other| self.below(*other).is_some_and(|there| there.contains(&instance)));
            is_a_component.then_some(below)
        })
    }

    /// An instance with all that it depends on and that is not executed yet; none if some of it is not committed.
    fn below(&self, instance: Instance) -> Option<BTreeSet<Instance>> {
        let mut below = BTreeSet::from([instance]);
        let mut to_follow = vec![instance];
        while let Some(next) = to_follow.pop() {
            for dependency in self.decided(next)?.deps.difference(&self.done) {
                if below.insert(*dependency) {
                    to_follow.push(*dependency);
                }
            }
        }
        Some(below)
    }
}
