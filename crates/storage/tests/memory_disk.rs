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
fn any_sectors_of_an_unsynced_write_survive_and_no_part_of_one() {
    let write = |vfs: &MemoryVfs| {
        let file = vfs.open(path()).expect("the file is there");
        file.write_at(&[2; 1024], 256).expect("the disk is healthy");
    };
    let survivors = outcomes(write, |vfs| {
        let bytes = content(vfs);
        let pieces = [256..512, 512..1024, 1024..1280];
        assert!(bytes[..256].iter().chain(&bytes[1280..]).all(|byte| *byte == 1));
        pieces.map(|piece| {
            let is_new = bytes[piece.start] == 2;
            assert!(bytes[piece].iter().all(|byte| (*byte == 2) == is_new), "a sector was torn");
            is_new
        })
    });
    assert_eq!(survivors.len(), 8, "{survivors:?}");
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
    let error = vfs.create_new(Path::new("g")).expect_err("the disk is full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    file.write_at(&[3; 2050], 0).expect("overwriting takes no room");
    assert_eq!((vfs.errors(), vfs.used_bytes()), (3, 2050));
    vfs.set_capacity(None);
    file.write_at(&[2], 2050).expect("there is room again");
}

fn overwrite(vfs: &MemoryVfs, byte: u8) -> std::io::Result<()> {
    let file = vfs.open(path()).expect("the file is there");
    file.write_at(&[byte; 4], 0)?;
    file.sync_data()
}

#[test]
fn a_feigned_sync_is_answered_read_and_gone_after_a_crash() {
    let vfs = disk();
    vfs.feign_next_sync();
    let file = vfs.open(path()).expect("the file is there");
    file.sync_data().expect("a sync of nothing is none to feign");
    assert!(vfs.harm().is_none());
    overwrite(&vfs, 2).expect("the disk says so");
    overwrite(&vfs, 3).expect("the disk is honest again");
    assert_eq!((content(&vfs)[..4].to_vec(), vfs.harm().phantoms), (vec![3; 4], 1));
    vfs.feign_next_sync();
    overwrite(&vfs, 4).expect("the disk says so");
    vfs.crash(&mut |_| 1);
    assert_eq!(content(&vfs)[..4], [3; 4]);
}

#[test]
fn a_misdirected_write_is_missing_in_its_place_and_found_in_another() {
    let vfs = disk();
    let other = vfs.create_new(Path::new("g")).expect("the name is free");
    other.write_at(&[7; 6], 0).expect("the disk is healthy");
    other.sync_data().expect("the disk is healthy");
    vfs.sync_dir(Path::new("")).expect("the disk is healthy");
    vfs.misdirect_next_sync(Path::new("g"), 4);
    overwrite(&vfs, 2).expect("the disk says so");
    assert_eq!(content(&vfs)[..4], [2; 4], "the page cache still has it");
    vfs.crash(&mut |_| 0);
    assert_eq!(content(&vfs)[..4], [1; 4]);
    let mut bytes = [0; 6];
    let other = vfs.open(Path::new("g")).expect("the file is there");
    other.read_at(&mut bytes, 0).expect("it can be read");
    assert_eq!((bytes, other.len().expect("it has a length")), ([7, 7, 7, 7, 2, 2], 6));
}

#[test]
fn what_a_failed_sync_left_in_memory_can_be_dropped_while_the_rest_stays() {
    let vfs = disk();
    vfs.fail_next_sync();
    overwrite(&vfs, 2).expect_err("it was made to fail");
    let file = vfs.open(path()).expect("the file is there");
    file.write_at(&[3; 2], 8).expect("the disk is healthy");
    vfs.drop_caches();
    assert_eq!(content(&vfs)[..10], [1, 1, 1, 1, 1, 1, 1, 1, 3, 3]);
    vfs.crash(&mut |_| 0);
    assert_eq!(content(&vfs)[..10], [1; 10]);
}

#[test]
fn reads_of_a_bad_range_fail_as_often_as_was_said_and_no_others() {
    let vfs = disk();
    let file = vfs.open(path()).expect("the file is there");
    vfs.fail_reads(path(), 512..1024, Some(2));
    vfs.fail_reads(path(), 2000..2001, None);
    let read = |offset| file.read_at(&mut [0; 100], offset).is_ok();
    assert!(read(412) && read(1024));
    assert_eq!([read(413), read(1023), read(600)], [false, false, true]);
    assert_eq!([read(1948), read(1948), read(1948)], [false; 3]);
    vfs.relent();
    assert!(read(1948));
    assert_eq!(vfs.errors(), 5);
}

#[test]
fn rot_changes_one_sector_alone_and_survives_a_crash() {
    let vfs = disk();
    vfs.rot(path(), 1, &mut |bound| bound - 1);
    let bytes = content(&vfs);
    let changed: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 1).collect();
    assert!(changed.iter().all(|at| (512..1024).contains(at)) && !changed.is_empty());
    vfs.crash(&mut |_| 0);
    assert_eq!(content(&vfs), bytes);
}

#[test]
fn an_older_copy_in_a_disks_place_has_what_it_had_and_ends_all_handles() {
    let vfs = disk();
    let copy = vfs.duplicate();
    overwrite(&vfs, 2).expect("the disk is healthy");
    let file = vfs.open(path()).expect("the file is there");
    vfs.restore(&copy);
    assert!(file.len().is_err(), "the handle was of the other disk");
    assert_eq!(content(&vfs), [1; 2048]);
    vfs.wipe();
    assert_eq!(vfs.files(), []);
    assert_eq!(vfs.harm().replaced, 2);
    assert_eq!(copy.files(), [(path().to_owned(), 2048)], "the copy is a disk of its own");
}

#[test]
fn a_directory_is_renamed_wholly_or_not_at_all() {
    let rename = |vfs: &MemoryVfs| {
        vfs.create_dir_all(Path::new("d")).expect("the disk is healthy");
        for name in ["d/a", "d/b"] {
            vfs.create_new(Path::new(name)).expect("the name is free");
            if name == "d/a" {
                vfs.sync_dir(Path::new("d")).expect("the disk is healthy");
            }
        }
        vfs.rename(Path::new("d"), Path::new("e")).expect("the name is free");
    };
    let list = |vfs: &MemoryVfs| {
        let below = |dir| vfs.list(Path::new(dir)).map(|names| format!("{dir}:{}", names.concat()));
        [below("d"), below("e")].into_iter().flatten().collect::<String>()
    };
    let all = ["d:a", "d:ab", "e:a", "e:ab"].map(str::to_owned);
    assert_eq!(outcomes(rename, list), all.into());
    let synced = |vfs: &MemoryVfs| {
        rename(vfs);
        vfs.sync_dir(Path::new("")).expect("the disk is healthy");
    };
    assert_eq!(outcomes(synced, list), ["e:a", "e:ab"].map(str::to_owned).into());
    let vfs = disk();
    rename(&vfs);
    vfs.create_dir_all(Path::new("d")).expect("the disk is healthy");
    let taken = vfs.rename(Path::new("e"), Path::new("d")).expect_err("the name is taken");
    assert_eq!(taken.kind(), std::io::ErrorKind::AlreadyExists);
}
