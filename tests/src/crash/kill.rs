//! SIGKILL under load, over and over on the same file.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use super::random::Random;
use super::stage::Stage;
use super::write_history::{Checked, WriteHistory};
use super::{Options, Report, load_time};

/// Of the file: so many that a cycle does not overwrite all of it, so few that
/// all of it can be checked each time.
const SECTORS: u64 = 64 << 10;

/// Every so many cycles the sectors are read through the daemon that is
/// started next, else from the file.
const THROUGH_DAEMON: u64 = 10;

/// Longest time until a dead process has let go of the file.
const RELEASE_MAX: Duration = Duration::from_secs(10);

/// Kills until it has done so often enough, or something is lost.
pub fn run(options: &Options) -> Report {
    let mut random = Random::new(options.seed);
    let mut report = Report::new("kill".into());
    // Not in memory: such a file has a store of its own by default.
    let mut stage = Stage::new(options, &report.title, &std::env::temp_dir(), &mut random);
    let path = stage.folder().join("store");
    let file = File::create_new(&path).and_then(|file| file.set_len(SECTORS * 512).map(|()| file));
    let file = file.and(File::open(&path)).expect("a file");
    let mut history = WriteHistory::new(random.draw(), SECTORS);
    while report.cycles < options.cycles && !options.must_end(&report) {
        stage.begin(&mut report);
        let mut daemon = stage.start(&path);
        stage.initiator.load(&mut history, load_time(&mut random));
        daemon.kill(|| stage.initiator.turn(&mut history));
        stage.initiator.abandon(&mut history);
        let mut checked = Checked::default();
        if report.cycles.is_multiple_of(THROUGH_DAEMON) {
            // At once: it has to get along with what the dead one leaves.
            let mut daemon = stage.start(&path);
            stage.initiator.read_back(&mut history, &mut checked);
            daemon.kill(|| ());
        } else {
            until_released(&file);
            read_file(&file, &mut history, &mut checked);
        }
        report.add(options, &checked);
        stage.end(&mut report);
    }
    assert_eq!(report.errors, 0, "a healthy store must not fail: {report}");
    report
}

/// Waits until the file is no longer locked: the kernel takes the io_uring of a
/// dead process down a moment after its end, and what that had under way may
/// still be written until then.
fn until_released(file: &File) {
    let end = Instant::now() + RELEASE_MAX;
    loop {
        // SAFETY: all-zero is a valid `flock`: from the start to the end.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_RDLCK as libc::c_short;
        // SAFETY: a valid descriptor and a valid `flock`, which the call fills.
        let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        assert_eq!(asked, 0, "{}", std::io::Error::last_os_error());
        if i32::from(lock.l_type) == libc::F_UNLCK {
            return;
        }
        assert!(Instant::now() < end, "the file stays locked after the death of its daemon");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Checks all sectors of a file.
pub fn read_file(file: &File, history: &mut WriteHistory, checked: &mut Checked) {
    const CHUNK: u64 = 2048;
    let mut bytes = vec![0; CHUNK as usize * 512];
    for lba in (0..history.len()).step_by(CHUNK as usize) {
        let bytes = &mut bytes[..(history.len() - lba).min(CHUNK) as usize * 512];
        file.read_exact_at(bytes, lba * 512).expect("a file that can be read");
        history.check(lba, bytes, checked);
    }
}
