//! The scenarios: each is a golden file of its name.

use std::path::PathBuf;

use quorate_core::Mutants;

use crate::script;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/raft/golden").join(format!("{name}.txt"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(golden(name))
        .unwrap_or_else(|error| panic!("the golden file {name}.txt can't be read: {error}"))
}

fn is_recording() -> bool {
    std::env::var_os("QUORATE_RECORD").is_some()
}

fn check(name: &str) {
    let expected = read(name);
    let told = script::run(&expected, Mutants::NONE).unwrap_or_else(|broken| panic!("{broken}"));
    if is_recording() {
        #[expect(clippy::disallowed_methods, reason = "this is a test's record, not a protocol's")]
        std::fs::write(golden(name), told).expect("the golden file can be written");
        return;
    }
    if told != expected {
        panic!(
            "{name} goes otherwise than recorded (QUORATE_RECORD=1 records it anew):\n{}",
            diff(&expected, &told)
        );
    }
}

/// The lines that differ, from the first to the last of them, with one line around.
fn diff(expected: &str, told: &str) -> String {
    let expected: Vec<&str> = expected.lines().collect();
    let told: Vec<&str> = told.lines().collect();
    let same = expected.iter().zip(&told).take_while(|(a, b)| a == b).count();
    let shorter = expected.len().min(told.len()) - same;
    let same_at_end = expected
        .iter()
        .rev()
        .zip(told.iter().rev())
        .take(shorter)
        .take_while(|(a, b)| a == b)
        .count();
    let mut lines: Vec<String> = Vec::new();
    lines.extend(same.checked_sub(1).map(|at| format!("  {}", expected[at])));
    lines.extend(expected[same..expected.len() - same_at_end].iter().map(|l| format!("- {l}")));
    lines.extend(told[same..told.len() - same_at_end].iter().map(|l| format!("+ {l}")));
    lines.extend(told.get(told.len() - same_at_end).map(|line| format!("  {line}")));
    lines.join("\n")
}

macro_rules! scenarios {
    ($($name:ident,)*) => {
        const SCENARIOS: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

scenarios! {
    the_first_election,
    a_disruptive_rejoin_is_refused_by_the_pre_vote,
    figure_8_an_entry_of_an_older_term_is_not_committed_by_counting,
    figure_8_an_entry_of_the_leaders_own_term_takes_the_older_ones_along,
    conflicts_are_resolved_a_term_at_a_time,
    a_vote_leaves_only_after_it_is_durable,
    a_vote_is_remembered_over_a_crash,
    a_leader_counts_itself_only_once_its_copy_is_durable,
    an_acknowledgement_leaves_only_after_it_is_durable,
    a_lost_append_in_the_middle_is_sent_again,
    leadership_is_handed_over,
    a_transfer_to_a_dead_member_is_given_up,
    a_leader_that_no_majority_answers_steps_down,
    a_read_at_the_leader_takes_one_round,
    a_read_at_a_follower_asks_the_leader,
    a_deposed_leader_answers_no_read,
    a_read_before_the_first_commit_of_a_term_waits,
    a_proposal_that_outlived_its_leader_is_not_submitted_again_before_it_is_settled,
    a_proposal_lost_with_its_leader_is_submitted_to_the_next,
    a_repeated_submission_is_taken_once,
    a_submission_that_comes_after_its_proposal_is_settled_is_refused,
    a_submission_is_sent_again_once_it_has_had_time,
    a_late_submission_of_an_earlier_term_is_refused,
    a_restarted_member_speaks_under_a_new_boot_number,
    one_member_is_a_cluster,
    two_candidates_split_the_vote,
    a_lost_connection_speeds_the_election,
    a_follower_cut_off_during_the_vote_adopts_the_new_leader,
    a_straggler_of_a_higher_term_is_heard_once,
    a_member_is_added_as_learner_and_promoted,
    a_learner_does_not_vote,
    a_leader_removes_itself,
    two_changes_in_flight_are_refused,
    a_joint_change_replaces_two_members,
    a_joint_vote_needs_both_majorities,
    a_change_that_is_truncated_rolls_back,
    a_change_before_the_first_commit_is_refused,
    a_removed_member_does_not_disrupt,
    a_joint_change_is_not_committed_by_the_new_majority_alone,
    learners_make_no_majority,
    a_follower_behind_the_base_gets_a_snapshot,
    a_lost_chunk_is_sent_again,
    a_transfer_goes_on_after_a_lost_connection,
    a_follower_that_restarts_mid_transfer_begins_anew,
    a_snapshot_keeps_the_tail_it_agrees_with,
    a_snapshot_replaces_a_tail_that_differs,
    an_old_snapshot_is_ignored,
    a_leader_compacts_and_restarts_from_its_base,
    a_vote_is_remembered_over_a_compaction,
    proposals_inside_a_snapshot_end_unknown,
    a_lease_read_takes_no_round,
    a_lease_ends_before_a_vote_can_be_won,
    a_paused_leader_answers_no_lease_read,
    a_leader_that_hands_over_forgoes_its_lease,
    a_follower_keeps_its_promise_over_a_crash,
    a_member_that_lost_its_disk_is_readmitted,
    an_older_copy_of_a_disk_is_found_out,
    an_older_copy_whose_runs_were_cut_short_is_found_out,
    a_wiped_member_whose_runs_were_cut_short_is_found_out,
    a_run_is_told_only_once_it_is_durable_to_whom,
    a_wiped_member_does_not_vote,
    a_member_that_was_wiped_unknowingly_learns_it_from_who_asks_for_its_vote,
    a_new_life_is_remembered_over_a_compaction,
    what_was_heard_of_others_is_remembered_over_a_compaction,
    a_member_that_lost_its_disk_gets_a_snapshot,
    a_term_that_waits_for_a_snapshot_is_opened_by_it,
    a_learner_that_never_answered_is_not_promoted,
    a_member_on_its_way_out_is_elected_if_nobody_else_can_be,
}

/// Bugs that storms seldom meet, each with the scenario that was made for it.
pub(crate) const MUTANTS_TOLD: &[(&str, &str)] = &[
    ("votes_before_durable", "a_vote_leaves_only_after_it_is_durable"),
    ("forgets_its_vote", "a_vote_is_remembered_over_a_crash"),
    ("forgets_vote_when_compacting", "a_vote_is_remembered_over_a_compaction"),
    ("installs_without_resetting_log", "a_snapshot_replaces_a_tail_that_differs"),
    ("keeps_lease_through_transfer", "a_leader_that_hands_over_forgoes_its_lease"),
    ("lease_survives_pause", "a_paused_leader_answers_no_lease_read"),
    ("votes_within_lease_after_restart", "a_follower_keeps_its_promise_over_a_crash"),
    ("counts_older_term", "figure_8_an_entry_of_an_older_term_is_not_committed_by_counting"),
    ("counts_itself_before_durable", "a_leader_counts_itself_only_once_its_copy_is_durable"),
    ("accepts_repeated_proposals", "a_repeated_submission_is_taken_once"),
    (
        "accepts_settled_proposals",
        "a_submission_that_comes_after_its_proposal_is_settled_is_refused",
    ),
    ("changes_before_first_commit", "a_change_before_the_first_commit_is_refused"),
    ("counts_learners", "learners_make_no_majority"),
    (
        "commits_joint_by_new_majority_only",
        "a_joint_change_is_not_committed_by_the_new_majority_alone",
    ),
    ("votes_by_old_majority_only", "a_joint_vote_needs_both_majorities"),
    ("learner_campaigns", "a_learner_does_not_vote"),
    ("votes_after_memory_loss", "a_wiped_member_does_not_vote"),
    ("counts_other_lives", "a_wiped_member_does_not_vote"),
    (
        "forgets_whom_it_met",
        "a_member_that_was_wiped_unknowingly_learns_it_from_who_asks_for_its_vote",
    ),
    ("counts_past_forgotten_runs", "a_wiped_member_whose_runs_were_cut_short_is_found_out"),
    ("tells_its_run_early", "a_run_is_told_only_once_it_is_durable_to_whom"),
    ("forgets_life_when_compacting", "a_new_life_is_remembered_over_a_compaction"),
    (
        "forgets_whom_it_met_when_compacting",
        "what_was_heard_of_others_is_remembered_over_a_compaction",
    ),
];

#[test]
fn mutants_break_a_promise_in_the_scenarios_made_for_them() {
    if is_recording() {
        // The golden files are being written.
        return;
    }
    for (mutant, name) in MUTANTS_TOLD {
        let broken = script::run(&read(name), Mutants::only(mutant));
        assert!(
            broken.is_err(),
            "{mutant} goes unnoticed in {name}:\n{}",
            broken.unwrap_or_default()
        );
        println!("{mutant}: {}", broken.unwrap_err());
    }
}

#[test]
fn every_golden_file_is_a_scenario() {
    let folder = golden("any").parent().expect("a folder").to_path_buf();
    for file in std::fs::read_dir(folder).expect("the folder of golden files") {
        let path = file.expect("a golden file").path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        assert!(SCENARIOS.contains(&name.as_str()), "no test runs the golden file {name}");
    }
}
