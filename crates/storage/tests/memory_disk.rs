//! The simulated disk is itself a judge of the log, so it has to be shown to judge.

use std::collections::BTreeSet;
use std::path::Path;

use quorate_storage::{MemoryVfs, Vfs, VfsFile};

fn path() -> &'static Path {
    Path::new("f")
}

fn content(vfs: &MemoryVfs) -> Vec<u8> {
    let file = vfs.open(path()).expect("the file is there");
    let mut bytes = vec![0; file.len().expect("it has a length") as usize];
    file.read_at(&mut bytes, 0).expect("it can be read");
    bytes
}

/// A disk with one durable file of 2048 bytes of 1.
fn disk() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let file = vfs.create_new(path()).expect("the name is free");
    file.write_at(&[1; 2048], 0).expect("the disk is healthy");
    file.sync_data().expect("the disk is healthy");
    vfs.sync_dir(Path::new("")).expect("the disk is healthy");
    vfs
}

/// Every outcome of a crash after `prepare`, found by giving every sequence of answers.
fn outcomes<T: Ord>(
    prepare: impl Fn(&MemoryVfs),
    observe: impl Fn(&MemoryVfs) -> T,
) -> BTreeSet<T> {
    let mut outcomes = BTreeSet::new();
    let mut pending = vec![Vec::new()];
    while let Some(answers) = pending.pop() {
        let vfs = disk();
        prepare(&vfs);
        let mut asked = Vec::new();
        vfs.crash(&mut |bound| {
            let answer = answers.get(asked.len()).copied().unwrap_or(0);
            asked.push((bound, answer));
            answer
        });
        for at in answers.len()..asked.len() {
            for answer in 1..asked[at].0 {
                let mut other: Vec<u64> = asked[..at].iter().map(|(_, answer)| *answer).collect();
                other.push(answer);
                pending.push(other);
            }
        }
        outcomes.insert(observe(&vfs));
    }
    outcomes
}

#[test]
fn an_unsynced_write_is_kept_lost_or_torn_between_sectors() {
    let write = |vfs: &MemoryVfs| {
        let file = vfs.open(path()).expect("the file is there");
        file.write_at(&[2; 1024], 256).expect("the disk is healthy");
    };
    let extents = outcomes(write, |vfs| {
        let bytes = content(vfs);
        let new = |byte: &u8| *byte == 2;
        (bytes.iter().position(new), bytes.iter().filter(|byte| new(byte)).count())
    });
    let expected = [
        (None, 0),
        (Some(256), 256),
        (Some(256), 768),
        (Some(256), 1024),
        (Some(512), 768),
        (Some(1024), 256),
    ];
    assert_eq!(extents, BTreeSet::from(expected));
}

#[test]
fn two_unsynced_writes_survive_independently_and_what_was_synced_stays() {
    let write = |vfs: &MemoryVfs| {
        let file = vfs.open(path()).expect("the file is there");
        file.write_at(&[2; 4], 0).expect("the disk is healthy");
        file.sync_data().expect("the disk is healthy");
        file.write_at(&[3; 4], 2).expect("the disk is healthy");
        file.write_at(&[4; 4], 4).expect("the disk is healthy");
    };
    let found = outcomes(write, |vfs| content(vfs)[..8].to_vec());
    let expected = [
        vec![2, 2, 2, 2, 1, 1, 1, 1],
        vec![2, 2, 3, 3, 3, 3, 1, 1],
        vec![2, 2, 2, 2, 4, 4, 4, 4],
        vec![2, 2, 3, 3, 4, 4, 4, 4],
    ];
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_change_of_length_is_kept_or_lost_with_what_it_cut_off() {
    let cut = |vfs: &MemoryVfs| {
        let file = vfs.open(path()).expect("the file is there");
        file.set_len(3).expect("the disk is healthy");
        file.set_len(5).expect("the disk is healthy");
    };
    let found = outcomes(cut, |vfs| content(vfs).into_iter().take(6).collect::<Vec<_>>());
    let expected = [vec![1; 6], vec![1; 3], vec![1; 5], vec![1, 1, 1, 0, 0]];
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_name_is_durable_only_once_its_directory_was_synced() {
    let rename = |vfs: &MemoryVfs| {
        vfs.rename(path(), Path::new("g")).expect("the file is there");
        vfs.create_new(Path::new("h")).expect("the name is free");
    };
    let list = |vfs: &MemoryVfs| vfs.list(Path::new("")).expect("the root is there").concat();
    let found = outcomes(rename, list);
    assert_eq!(found, ["f", "fh", "g", "gh"].map(str::to_owned).into());
    let synced = |vfs: &MemoryVfs| {
        rename(vfs);
        vfs.sync_dir(Path::new("")).expect("the disk is healthy");
    };
    assert_eq!(outcomes(synced, list), ["gh".to_owned()].into());
}

#[test]
fn what_a_failed_sync_should_have_written_is_read_and_never_durable() {
    let fail = |vfs: &MemoryVfs| {
        let file = vfs.open(path()).expect("the file is there");
        file.write_at(&[2; 4], 0).expect("the disk is healthy");
        vfs.fail_next_sync();
        file.sync_data().expect_err("it was made to fail");
        file.sync_data().expect("the next one succeeds");
        assert_eq!(content(vfs)[..4], [2; 4]);
    };
    assert_eq!(outcomes(fail, |vfs| content(vfs)[..4].to_vec()), [vec![1; 4]].into());
    let rewrite = |vfs: &MemoryVfs| {
        fail(vfs);
        let file = vfs.open(path()).expect("the file is there");
        file.write_at(&[2; 3], 1).expect("the disk is healthy");
        file.sync_data().expect("the disk is healthy");
    };
    assert_eq!(outcomes(rewrite, |vfs| content(vfs)[..4].to_vec()), [vec![1, 2, 2, 2]].into());
}

#[test]
fn a_full_disk_refuses_growth_and_takes_overwrites() {
    let vfs = disk();
    vfs.set_capacity(Some(2050));
    let file = vfs.open(path()).expect("the file is there");
    file.write_at(&[2; 2], 2048).expect("there is room for two more");
    let error = file.write_at(&[2], 2050).expect_err("the disk is full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(file.allocate(3000).is_err());
    file.write_at(&[3; 2050], 0).expect("overwriting takes no room");
}
