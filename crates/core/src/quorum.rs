//! Majorities.

/// The smallest number of `members` such that any two sets of that size have a member in common.
///
/// `members` must not be zero: a quorum of nobody would agree to everything.
pub fn majority(members: usize) -> usize {
    assert!(members > 0, "a quorum of nobody");
    members / 2 + 1
}

/// The largest value that a majority has reached, given how far each member has come.
///
/// Sorts `reached` in place. `reached` must not be empty.
pub fn reached_by_majority<T: Ord + Copy>(reached: &mut [T]) -> T {
    reached.sort_unstable();
    reached[reached.len() - majority(reached.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_majorities_always_meet() {
        for members in 1..100 {
            assert!(2 * majority(members) > members);
            assert!(2 * (majority(members) - 1) <= members, "no smaller quorum would do");
        }
    }

    #[test]
    fn what_a_majority_reached_is_what_counting_says() {
        for members in 1..=7usize {
            for code in 0..4u32.pow(members as u32) {
                let values: Vec<u32> =
                    (0..members).map(|m| code / 4u32.pow(m as u32) % 4).collect();
                let counted = (0..4)
                    .rev()
                    .find(|v| values.iter().filter(|x| *x >= v).count() >= majority(members));
                assert_eq!(Some(reached_by_majority(&mut values.clone())), counted);
            }
        }
    }
}
