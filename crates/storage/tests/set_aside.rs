//! A log that cannot be trusted is set aside, and the node remembers that it remembers nothing.

use std::path::{Path, PathBuf};

use quorate_storage::{
    DataDir, DataDirError, DiskVfs, Identity, Log, LogError, LogId, LogOptions, MemoryVfs, Mutant,
    Origin, Sequence, Vfs,
};

const PATH: &str = "node";
const IDENTITY: Identity = Identity { cluster_id: 0xab, node_id: 3, origin: Origin::Founded };
const OLD: LogId = LogId(1);
const NEW: LogId = LogId(2);
const NEWER: LogId = LogId(3);

fn options(log_id: LogId) -> LogOptions {
    let mut options = LogOptions::new(log_id);
    options.segment_bytes = 1024;
    options
}

fn open<V: Vfs>(vfs: &V, path: &Path) -> Result<DataDir<V>, DataDirError> {
    DataDir::open(vfs, path, &IDENTITY, OLD)
}

fn open_log<V: Vfs>(vfs: &V, data_dir: &DataDir<V>) -> Result<(Log<V>, Vec<Vec<u8>>), LogError> {
    let mut found = Vec::new();
    let options = options(data_dir.log_id());
    let (log, _) = Log::open(vfs.clone(), data_dir.log_dir(), options, |_, bytes| {
        found.push(bytes.to_vec());
    })?;
    Ok((log, found))
}

/// A node whose log has rotted.
fn rotten() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let data_dir = open(&vfs, Path::new(PATH)).expect("the place is free");
    let (mut log, _) = open_log(&vfs, &data_dir).expect("the place is free");
    for _ in 0..3 {
        log.append(b"promised").expect("it fits");
        log.sync().expect("the disk is healthy");
    }
    log.close().expect("the disk is healthy");
    vfs.corrupt(&data_dir.log_dir().join("00000000000000000001.segment"), 512 + 32, 1);
    drop(data_dir);
    vfs.crash(&mut |_| 0);
    vfs
}

/// Boots the node as one does that may forget: sets a damaged log aside, and begins anew.
fn boot(vfs: &MemoryVfs, mutant: Option<Mutant>) -> Result<(bool, Vec<Vec<u8>>), String> {
    let data_dir = open(vfs, Path::new(PATH)).map_err(|error| error.to_string())?;
    let mut data_dir = data_dir.with_mutant(mutant);
    let opened = open_log(vfs, &data_dir);
    let (_, found) = match opened {
        Err(error) if error.is_damage() => {
            let aside = data_dir.set_aside(vfs, NEW, &error.to_string());
            aside.map_err(|error| error.to_string())?;
            open_log(vfs, &data_dir)
        }
        opened => opened,
    }
    .map_err(|error| error.to_string())?;
    Ok((data_dir.memory_lost().is_some(), found))
}

#[test]
fn a_damaged_log_is_kept_aside_and_a_new_one_begins_under_a_mark() {
    let vfs = rotten();
    let mut data_dir = open(&vfs, Path::new(PATH)).expect("it is ours");
    assert_eq!(data_dir.memory_lost(), None);
    let error = open_log(&vfs, &data_dir).expect_err("the log has rotted");
    let why = format!("{error}\nand more");
    let aside = data_dir.set_aside(&vfs, NEW, &why).expect("the disk is healthy");
    assert_eq!(aside, Some(PathBuf::from("node/corrupt-1")));
    assert!(vfs.list(Path::new("node/corrupt-1")).expect("it is there").len() >= 2);
    let (mut log, found) = open_log(&vfs, &data_dir).expect("the place is free");
    assert_eq!((found.len(), data_dir.log_id()), (0, NEW));
    assert_eq!(log.append(b"after").expect("it fits"), Sequence(1));
    log.close().expect("the disk is healthy");
    drop(data_dir);
    vfs.crash(&mut |_| 0);

    let mut data_dir = open(&vfs, Path::new(PATH)).expect("it is ours");
    let lost = data_dir.memory_lost().expect("the mark is durable");
    assert!(lost.why.contains("corrupt") && lost.why.ends_with(" and more"), "{}", lost.why);
    assert_eq!(open_log(&vfs, &data_dir).expect("it is whole").1, [b"after".to_vec()]);
    // And a second time.
    let aside = data_dir.set_aside(&vfs, NEWER, "again").expect("the disk is healthy");
    assert_eq!(aside, Some(PathBuf::from("node/corrupt-2")));
    data_dir.regain_memory(&vfs).expect("the disk is healthy");
    assert_eq!(data_dir.memory_lost(), None);
    drop(data_dir);
    vfs.crash(&mut |_| 0);
    let data_dir = open(&vfs, Path::new(PATH)).expect("it is ours");
    assert_eq!((data_dir.memory_lost(), data_dir.log_id()), (None, NEWER));
    assert!(vfs.list(Path::new("node/corrupt-1")).is_ok(), "nothing is ever deleted");
}

#[test]
fn it_works_on_a_real_disk() {
    let root = tempfile::tempdir().expect("there is a place for temporary files");
    let path = root.path().join("node");
    let mut data_dir = open(&DiskVfs, &path).expect("the place is free");
    let (mut log, _) = open_log(&DiskVfs, &data_dir).expect("the place is free");
    log.append(b"promised").expect("it fits");
    log.close().expect("the disk is healthy");
    let aside = data_dir.set_aside(&DiskVfs, NEW, "a test").expect("the disk is healthy");
    assert_eq!(aside, Some(path.join("corrupt-1")));
    drop(data_dir);
    let data_dir = open(&DiskVfs, &path).expect("it is ours");
    assert_eq!(data_dir.memory_lost().map(|lost| lost.why.as_str()), Some("a test"));
    assert_eq!(open_log(&DiskVfs, &data_dir).expect("it is new").1.len(), 0);
}

#[test]
fn a_mark_that_has_rotted_is_a_mark() {
    let vfs = rotten();
    boot(&vfs, None).expect("the node begins anew");
    vfs.corrupt(Path::new("node/MEMORY_LOST"), 30, 1);
    assert_eq!(boot(&vfs, None), Ok((true, Vec::new())));
}

/// Cuts the power after any number of changes, with any of a few kinds of luck, boots until it
/// works, and gives what breaks a rule: a node that has no memory must know so.
fn cut_anywhere(mutant: Option<Mutant>) -> Result<(), String> {
    let rotten = rotten();
    let mut was_begun = false;
    for changes in 0..60 {
        for luck in 0..4 {
            let vfs = rotten.duplicate();
            vfs.stop_after(changes);
            let booted = boot(&vfs, mutant).is_ok();
            let mut asked = 0;
            vfs.crash(&mut |bound| {
                asked += 1;
                // None, all, every other one, and the others.
                [0, 1, asked % 2, (asked + 1) % 2][luck] % bound
            });
            let place = format!("cut after {changes} changes, luck {luck}");
            let (is_lost, found) =
                boot(&vfs, mutant).map_err(|error| format!("{place}: {error}"))?;
            if !is_lost || !found.is_empty() {
                return Err(format!("{place}: the loss is forgotten, {} records", found.len()));
            }
            was_begun |= booted;
            let asides = vfs.list(Path::new(PATH)).expect("it is there");
            let asides = asides.iter().filter(|name| name.starts_with("corrupt-")).count();
            assert_eq!(asides, 1, "{place}: the old log is kept, and only that");
        }
    }
    assert!(was_begun, "the power was always cut too early");
    Ok(())
}

#[test]
fn a_log_whose_setting_aside_was_cut_short_anywhere_is_set_aside_and_the_loss_known() {
    cut_anywhere(None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_node_that_forgets_its_loss_is_caught() {
    for mutant in [Mutant::MovesBeforeMark, Mutant::ClearsMarkEarly] {
        let error = cut_anywhere(Some(mutant)).expect_err("the mutant was not caught");
        assert!(error.contains("the loss is forgotten"), "{mutant:?}: {error}");
    }
}
