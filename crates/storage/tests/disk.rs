//! The real disk, and the data directory on both kinds of disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use quorate_storage::{
    DataDir, DataDirError, DiskVfs, Identity, Log, LogId, LogOptions, MemoryVfs, Origin, Sequence,
    Vfs, VfsFile,
};

const IDENTITY: Identity = Identity { cluster_id: 0xab, node_id: 3, origin: Origin::Founded };
const LOG_ID: LogId = LogId(77);
/// Tells the child process of a test which directory to try.
const CHILD_VARIABLE: &str = "QUORATE_STORAGE_TEST_LOCKED_DIR";

fn open<V: Vfs>(vfs: &V, path: &Path) -> Result<DataDir<V>, DataDirError> {
    DataDir::open(vfs, path, &IDENTITY, LOG_ID)
}

fn temporary() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("there is a place for temporary files");
    let path = root.path().join("deep/down/node");
    (root, path)
}

#[test]
fn a_log_on_the_disk_is_read_back_through_rotation_release_and_reopening() {
    let (_root, path) = temporary();
    let data_dir = open(&DiskVfs, &path).expect("the place is free");
    let mut options = LogOptions::new(data_dir.log_id());
    options.segment_bytes = 16 << 10;
    let dir = data_dir.path().join("log");
    let payload = |sequence: u64| vec![sequence as u8; (sequence * 37 % 3000) as usize];

    let mut next = 1;
    for round in 0..4 {
        let mut found = Vec::new();
        let (mut log, recovered) = Log::open(DiskVfs, &dir, options.clone(), |sequence, bytes| {
            assert_eq!(bytes, payload(sequence.0));
            found.push(sequence.0);
        })
        .expect("the log opens");
        assert_eq!(recovered.is_new, round == 0);
        assert_eq!(found, (recovered.first.0..next).collect::<Vec<_>>());
        for _ in 0..50 {
            let sequence = log.append(&payload(next)).expect("the record fits");
            assert_eq!(sequence, Sequence(next));
            next += 1;
            if next % 3 == 0 {
                log.sync().expect("the disk is healthy");
            }
        }
        log.sync().expect("the disk is healthy");
        log.release_before(Sequence(next - 20)).expect("the disk is healthy");
        assert!(round == 0 || log.first() > recovered.first, "nothing was released");
        // Every other round ends as a killed process does.
        if round % 2 == 0 {
            log.close().expect("the disk is healthy");
        }
    }
}

#[test]
fn garbage_behind_the_last_record_on_the_disk_is_zeroed() {
    let (_root, path) = temporary();
    let mut options = LogOptions::new(LOG_ID);
    options.segment_bytes = 16 << 10;
    let (mut log, _) =
        Log::open(DiskVfs, &path, options.clone(), |_, _| {}).expect("the log opens");
    log.append(b"kept").expect("the record fits");
    log.close().expect("the disk is healthy");
    let segment = path.join("00000000000000000001.segment");
    let file = DiskVfs.open(&segment).expect("the segment is there");
    file.write_at(&[0xee; 100], 1000).expect("the disk is healthy");

    let mut count = 0;
    let (_, recovered) =
        Log::open(DiskVfs, &path, options, |_, _| count += 1).expect("the log opens");
    assert_eq!((count, recovered.last), (1, Sequence(1)));
    assert!(recovered.zeroed_bytes >= 100);
    assert!(!fs::read(&segment).expect("it can be read").contains(&0xee));
}

#[test]
fn a_data_directory_keeps_its_identity_and_log_id() {
    let (_root, path) = temporary();
    let data_dir = open(&DiskVfs, &path).expect("the place is free");
    assert!(data_dir.is_new());
    drop(data_dir);
    let again = DataDir::open(&DiskVfs, &path, &IDENTITY, LogId(1)).expect("it is ours");
    assert!(!again.is_new());
    assert_eq!(again.log_id(), LOG_ID);
}

#[test]
fn a_second_handle_is_told_who_has_the_directory() {
    let (_root, path) = temporary();
    let held = open(&DiskVfs, &path).expect("the place is free");
    let error = open(&DiskVfs, &path).expect_err("it is held");
    assert!(matches!(error, DataDirError::Locked { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    assert!(message.contains(&format!("in use by another process (pid {})", process::id())));
    drop(held);
    open(&DiskVfs, &path).expect("it was given up");
}

#[test]
fn another_process_is_told_who_has_the_directory() {
    let (_root, path) = temporary();
    let _held = open(&DiskVfs, &path).expect("the place is free");
    let child = Command::new(env::current_exe().expect("a test knows its program"))
        .args(["--exact", "the_child_process_that_finds_the_directory_locked", "--ignored"])
        .env(CHILD_VARIABLE, &path)
        .output()
        .expect("the test program starts");
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "the other half of another_process_is_told_who_has_the_directory, which starts it"]
fn the_child_process_that_finds_the_directory_locked() {
    let path = env::var_os(CHILD_VARIABLE).expect("the parent says where");
    let error = open(&DiskVfs, Path::new(&path)).expect_err("the parent holds it");
    let DataDirError::Locked { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(*holder, format!("pid {}", std::os::unix::process::parent_id()));
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused() {
    let vfs = MemoryVfs::new();
    let path = Path::new("/var/node");
    drop(open(&vfs, path).expect("the place is free"));
    let other = |cluster_id, node_id| {
        DataDir::open(
            &vfs,
            path,
            &Identity { cluster_id, node_id, origin: Origin::Founded },
            LOG_ID,
        )
        .expect_err("it belongs to another")
    };
    let error = other(0xcd, 3);
    assert!(matches!(error, DataDirError::OtherCluster { found: 0xab, expected: 0xcd, .. }));
    assert!(error.to_string().contains("/var/node"), "{error}");
    let error = other(0xab, 4);
    assert!(matches!(error, DataDirError::OtherNode { found: 3, expected: 4, .. }));
    assert!(error.to_string().contains("/var/node"), "{error}");
}

#[test]
fn a_directory_with_somebodys_files_is_refused_and_left_alone() {
    let (_root, path) = temporary();
    fs::create_dir_all(&path).expect("the place is free");
    fs::write(path.join("thesis.txt"), "chapter 1").expect("the place is free");
    let error = open(&DiskVfs, &path).expect_err("it is somebody's");
    assert!(matches!(&error, DataDirError::NotADataDir { found, .. } if found == "thesis.txt"));
    assert_eq!(DiskVfs.list(&path).expect("it is there"), ["thesis.txt"]);
}

#[test]
fn a_fresh_file_system_counts_as_empty() {
    let (_root, path) = temporary();
    fs::create_dir_all(path.join("lost+found")).expect("the place is free");
    assert!(open(&DiskVfs, &path).expect("it is as good as empty").is_new());
}

#[test]
fn a_spoilt_identity_is_refused() {
    let vfs = MemoryVfs::new();
    let path = Path::new("node");
    drop(open(&vfs, path).expect("the place is free"));
    vfs.corrupt(&path.join("IDENTITY"), 40, 1);
    let error = open(&vfs, path).expect_err("its identity is spoilt");
    assert!(matches!(error, DataDirError::Corrupt { .. }), "{error}");
}

#[test]
fn a_directory_whose_creation_was_cut_short_anywhere_can_be_created_again() {
    for changes in 0..20 {
        for answer in 0..2 {
            let vfs = MemoryVfs::new();
            let path = Path::new("node");
            vfs.stop_after(changes);
            let created = open(&vfs, path).is_ok();
            vfs.crash(&mut |bound| answer.min(bound - 1));
            let data_dir = DataDir::open(&vfs, path, &IDENTITY, LogId(1))
                .unwrap_or_else(|error| panic!("cut after {changes} changes: {error}"));
            assert!(!created || data_dir.log_id() == LOG_ID, "an identity was lost");
        }
    }
}

#[test]
fn a_crash_gives_up_the_lock_and_ends_the_handles() {
    let vfs = MemoryVfs::new();
    let held = open(&vfs, Path::new("node")).expect("the place is free");
    vfs.crash(&mut |_| 0);
    let again = open(&vfs, Path::new("node")).expect("the holder is gone");
    drop(held);
    let error = open(&vfs, Path::new("node")).expect_err("a dead handle gives up nothing");
    assert!(matches!(error, DataDirError::Locked { .. }), "{error}");
    drop(again);
}
