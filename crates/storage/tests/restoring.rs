//! A directory that is being filled with a backup is refused until all of it is there.

use std::path::Path;

use quorate_storage::{
    DataDir, DataDirError, Identity, LogId, MemoryVfs, Mutant, Origin, Restoring, Vfs, VfsFile,
};

const PATH: &str = "node";
const IDENTITY: Identity = Identity { cluster_id: 0xab, node_id: 3, origin: Origin::Restored };
const LOG: LogId = LogId(7);
const CONTENT: &[u8] = b"all of it";

/// Restores as one does: what an earlier attempt has left goes, and what is restored is durable before the end.
fn restore(vfs: &MemoryVfs, mutant: Option<Mutant>) -> Result<(), DataDirError> {
    let io = |source| DataDirError::Io { path: PATH.into(), op: "fill", source };
    let restoring = Restoring::begin_mutated(vfs, Path::new(PATH), IDENTITY, LOG, mutant)?;
    let data = restoring.path().join("data");
    if vfs.list(restoring.path()).map_err(io)?.iter().any(|name| name == "data") {
        vfs.remove(&data).map_err(io)?;
    }
    let file = vfs.create_new(&data).map_err(io)?;
    file.write_at(CONTENT, 0).map_err(io)?;
    file.sync_data().map_err(io)?;
    vfs.sync_dir(restoring.path()).map_err(io)?;
    restoring.finish(vfs)
}

fn open(vfs: &MemoryVfs) -> Result<DataDir<MemoryVfs>, DataDirError> {
    DataDir::open(vfs, Path::new(PATH), &IDENTITY, LogId(8))
}

fn has_content(vfs: &MemoryVfs) -> bool {
    let mut found = vec![0; CONTENT.len()];
    let file = vfs.open(&Path::new(PATH).join("data"));
    file.is_ok_and(|file| file.read_at(&mut found, 0).is_ok() && found == CONTENT)
}

#[test]
fn what_was_restored_is_a_data_directory_with_the_given_identity() {
    let vfs = MemoryVfs::new();
    restore(&vfs, None).expect("the place is free");
    vfs.crash(&mut |_| 0);
    let data_dir = open(&vfs).expect("it is ours");
    assert_eq!((data_dir.is_new(), data_dir.log_id()), (false, LOG));
    assert!(has_content(&vfs));
    drop(data_dir);
    let error = restore(&vfs, None).expect_err("there is data");
    assert!(matches!(error, DataDirError::Taken { cluster_id: 0xab, node_id: 3, .. }), "{error}");
    assert!(has_content(&vfs), "and it stays");
}

#[test]
fn somebody_elses_directory_is_left_as_it_is() {
    let vfs = MemoryVfs::new();
    vfs.create_dir_all(Path::new(PATH)).expect("it is free");
    vfs.create_new(&Path::new(PATH).join("letters")).expect("it is free");
    let error = restore(&vfs, None).expect_err("it is not empty");
    assert!(matches!(error, DataDirError::NotADataDir { .. }), "{error}");
    assert_eq!(vfs.list(Path::new(PATH)).expect("it is there"), ["letters"]);
}

#[test]
fn a_directory_that_is_being_filled_is_in_use() {
    let vfs = MemoryVfs::new();
    let filling = Restoring::begin(&vfs, Path::new(PATH), IDENTITY, LOG).expect("it is free");
    let error = restore(&vfs, None).expect_err("another does it");
    assert!(matches!(error, DataDirError::Locked { .. }), "{error}");
    drop(filling);
    let error = open(&vfs).expect_err("it is not finished");
    assert!(error.to_string().contains("did not come to its end"), "{error}");
    restore(&vfs, None).expect("an attempt that was given up can be made again");
}

/// Cuts the power after any number of changes, and gives what breaks the rule: what passes for a data directory holds
/// all of the backup, and everything else can be restored again.
fn cut_anywhere(mutant: Option<Mutant>) -> Result<(), String> {
    let (mut refused, mut whole) = (0, 0);
    for changes in 0..40 {
        for luck in 0..4 {
            let vfs = MemoryVfs::new();
            vfs.stop_after(changes);
            // It fails wherever the power is cut.
            let _ = restore(&vfs, mutant);
            let mut asked = 0;
            vfs.crash(&mut |bound| {
                asked += 1;
                // None, all, every other one, and the others.
                [0, 1, asked % 2, (asked + 1) % 2][luck] % bound
            });
            let place = format!("cut after {changes} changes, luck {luck}");
            let has_identity =
                vfs.list(Path::new(PATH)).is_ok_and(|names| names.iter().any(|n| n == "IDENTITY"));
            if has_identity {
                drop(open(&vfs).map_err(|error| format!("{place}: {error}"))?);
                if !has_content(&vfs) {
                    return Err(format!("{place}: half of it passes for all of it"));
                }
                whole += 1;
                continue;
            }
            refused += 1;
            restore(&vfs, mutant).map_err(|error| format!("{place}: not again: {error}"))?;
            drop(open(&vfs).map_err(|error| format!("{place}: {error}"))?);
            assert!(has_content(&vfs), "{place}");
        }
    }
    assert!(refused > 0 && whole > 0, "the power was always cut at the same place");
    Ok(())
}

#[test]
fn a_restore_that_was_cut_short_anywhere_is_whole_or_can_be_made_again() {
    cut_anywhere(None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_directory_that_passes_for_restored_too_early_is_caught() {
    let error = cut_anywhere(Some(Mutant::IdentityBeforeRestored)).expect_err("it was not caught");
    assert!(error.contains("half of it"), "{error}");
}
