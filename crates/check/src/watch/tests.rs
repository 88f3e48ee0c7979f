//! One story, and one lie about it a property.

use super::*;

fn change(revision: u64, key: &str, value: Option<&str>, created: u64) -> Change {
    let value = value.map(|value| value.as_bytes().to_vec());
    Change { revision: Revision(revision), key: key.into(), value, created: Revision(created) }
}

/// 2: a is created; 3: a is written and b created; 4: a is deleted; 5: a is created; 6: c is created.
fn past() -> Past {
    let mut past = Past::default();
    for change in [
        change(2, "a", Some("1"), 2),
        change(3, "a", Some("2"), 2),
        change(3, "b", Some("1"), 3),
        change(4, "a", None, 0),
        change(5, "a", Some("3"), 5),
        change(6, "c", Some("1"), 6),
    ] {
        past.add(change);
    }
    past
}

fn asked() -> Asked {
    Asked {
        from: b"a".to_vec(),
        to: Some(b"c".to_vec()),
        start: Revision(2),
        puts: true,
        deletions: true,
        previous: true,
    }
}

fn told(change: Change, previous: Option<&str>) -> Told {
    Told { change, previous: previous.map(|value| value.as_bytes().to_vec()) }
}

/// The truth, a response a revision.
fn truth() -> Vec<Vec<Told>> {
    vec![
        vec![told(change(2, "a", Some("1"), 2), None)],
        vec![
            told(change(3, "a", Some("2"), 2), Some("1")),
            told(change(3, "b", Some("1"), 3), None),
        ],
        vec![told(change(4, "a", None, 0), Some("2"))],
        vec![told(change(5, "a", Some("3"), 5), None)],
    ]
}

fn verdict(responses: Vec<Response>) -> Result<(), Property> {
    check(&past(), &asked(), &responses, Some(Revision(6))).map_err(|broken| broken.property)
}

fn changes(told: Vec<Vec<Told>>) -> Vec<Response> {
    told.into_iter().map(Response::Changes).collect()
}

#[test]
fn the_truth_breaks_nothing() {
    assert_eq!(verdict(changes(truth())), Ok(()));
    let whole = truth().into_iter().flatten().collect();
    assert_eq!(verdict(vec![Response::Changes(whole), Response::Progress(Revision(6))]), Ok(()));
}

#[test]
fn revisions_that_change_places_are_not_ordered() {
    let mut lie = truth();
    lie[1].swap(0, 1);
    assert_eq!(verdict(changes(lie)), Err(Property::Ordered));
}

#[test]
fn a_change_that_comes_again_is_not_unique() {
    let mut lie = truth();
    let again = lie[0][0].clone();
    lie[1].push(again);
    assert_eq!(verdict(changes(lie)), Err(Property::Unique));
}

#[test]
fn a_revision_in_two_responses_is_not_atomic() {
    let mut lie = truth();
    let second = lie[1].pop().expect("there are two changes at 3");
    lie.insert(2, vec![second]);
    assert_eq!(verdict(changes(lie)), Err(Property::Atomic));
}

#[test]
fn a_change_left_out_between_two_is_not_reliable() {
    let mut lie = truth();
    lie.remove(2);
    assert_eq!(verdict(changes(lie)), Err(Property::Reliable));
}

#[test]
fn a_watch_that_misses_its_first_or_its_last_change_is_not_resumable() {
    let mut lie = truth();
    lie.remove(0);
    assert_eq!(verdict(changes(lie)), Err(Property::Resumable));
    let mut lie = truth();
    lie.pop();
    assert_eq!(verdict(changes(lie)), Err(Property::Resumable));
}

#[test]
fn progress_beyond_what_was_told_is_not_bookmarkable() {
    let mut lie = changes(truth());
    lie.insert(1, Response::Progress(Revision(3)));
    assert_eq!(verdict(lie), Err(Property::Bookmarkable));
}

#[test]
fn another_value_before_is_noticed() {
    let mut lie = truth();
    lie[2][0].previous = Some(b"1".to_vec());
    assert_eq!(verdict(changes(lie)), Err(Property::PreviousValue));
}

#[test]
fn a_write_that_looks_like_a_creation_is_noticed() {
    let mut lie = truth();
    lie[1][0].change.created = Revision(3);
    assert_eq!(verdict(changes(lie)), Err(Property::CreationFlag));
}

#[test]
fn what_was_not_asked_for_is_noticed() {
    let mut lie = truth();
    lie.push(vec![told(change(6, "c", Some("1"), 6), None)]);
    assert_eq!(verdict(changes(lie)), Err(Property::Filtered));
}
