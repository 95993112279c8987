//! Failing media: the request fails with an ATA error at once, and the process and its
//! other exports go on.

use std::path::PathBuf;

use libc::{EIO, ENOSPC};
use xblade::wire::aoe::Address;

use crate::daemon::xblade_after;
use crate::fuse::{On, Verdict};
use crate::image::{Dir, patterns};
use crate::kinds::Kind;
use crate::load::Load;
use crate::media::{Loop, command, shut_down};
use crate::mounts::Mounts;
use crate::rig::{ABORTED, BAD_READ, GOOD, Rig, SECTORS, result, sick, well};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, apply, at, may_run, needs_root};

every_kind!(
    what_the_medium_refuses_is_an_ata_error,
    after_a_failed_sync_the_export_takes_no_writes_until_restart,
    a_short_transfer_is_never_half_acknowledged,
    a_device_that_lost_its_end_fails_reads,
    a_device_over_a_dead_file_system_fails_and_stays_failed,
    a_full_file_system_refuses_what_has_no_room,
    a_file_cut_under_load_stays_cut,
);

/// Runs it on a FUSE file that the kernel caches and, if possible, on one that it does not
/// cache.
fn over_fuse(test: &str, kind: &Kind, act: impl Fn(Rig)) {
    if !may_run(test) {
        return;
    }
    for direct in [false, true] {
        if !direct || !kind.mapped {
            act(Rig::fuse(kind, direct));
        }
    }
}

fn what_the_medium_refuses_is_an_ata_error(kind: &Kind) {
    over_fuse("what_the_medium_refuses_is_an_ata_error", kind, |mut rig| {
        for (round, errno) in [(1, EIO), (2, ENOSPC)] {
            // Where nothing has been read before.
            let lba = round * 1024;
            rig.fuse_file().set(On::Write, Verdict::Fail(errno));
            assert_eq!(rig.write(lba, &patterns(lba, 2, round)), ABORTED);
            rig.assert_others_well();
            rig.fuse_file().set(On::Read, Verdict::Fail(EIO));
            assert_eq!(rig.read(lba + 512, &patterns(lba + 512, 2, 0)), BAD_READ);
            rig.assert_others_well();
            rig.fuse_file().release();
            assert_eq!(rig.write(lba, &patterns(lba, 2, round)), GOOD);
            assert_eq!(rig.fuse_file().bytes()[lba as usize * 512..][..1024], patterns(lba, 2, round));
            assert_eq!(rig.read(lba, &patterns(lba, 2, round)), GOOD);
            assert_eq!(rig.read(lba + 512, &patterns(lba + 512, 2, 0)), GOOD);
            assert_eq!(rig.flush(), GOOD);
        }
        let report = rig.daemon().report();
        assert_eq!((report.sum("media_faults"), report.sum("no_space_faults")), (3, 1), "{report:?}");
        rig.end();
    });
}

fn after_a_failed_sync_the_export_takes_no_writes_until_restart(kind: &Kind) {
    over_fuse("after_a_failed_sync_the_export_takes_no_writes_until_restart", kind, |mut rig| {
        assert_eq!(rig.write(0, &patterns(0, 2, 1)), GOOD);
        rig.fuse_file().set(On::Sync, Verdict::Fail(EIO));
        assert_eq!(rig.write(8, &patterns(8, 2, 1)), ABORTED);
        rig.fuse_file().release();
        let calls = rig.fuse_file().calls(On::Write);
        assert_eq!(rig.write(16, &patterns(16, 2, 1)), ABORTED);
        assert_eq!(rig.fuse_file().calls(On::Write), calls, "nothing reached the medium");
        assert_eq!((rig.flush(), rig.flush()), (ABORTED, ABORTED));
        assert_eq!(rig.read(0, &patterns(0, 2, 1)), GOOD);
        assert_eq!(rig.read(2048, &patterns(2048, 2, 0)), GOOD);
        rig.assert_others_well();
        let line = rig.daemon().wait_for("no more writes are taken");
        assert!(line.contains("ERROR") && line.contains("0.1"), "{line}");
        let ended = rig.restart();
        assert_eq!(ended.text.matches("no more writes are taken").count(), 1, "said once: {}", ended.text);
        assert_eq!(rig.write(16, &patterns(16, 2, 2)), GOOD);
        assert_eq!(rig.flush(), GOOD);
        rig.end();
    });
}

fn a_short_transfer_is_never_half_acknowledged(kind: &Kind) {
    over_fuse("a_short_transfer_is_never_half_acknowledged", kind, |mut rig| {
        for (lba, most) in [(0, 512), (100, 100), (200, 0)] {
            rig.fuse_file().set(On::Write, Verdict::Short(most));
            let answer = rig.write(lba, &patterns(lba, 2, 1));
            rig.fuse_file().release();
            let held = &rig.fuse_file().bytes()[lba as usize * 512..][..1024];
            match answer {
                GOOD => assert!(held == patterns(lba, 2, 1), "acknowledged, and not there: {most} at a time"),
                answer => assert_eq!(answer, ABORTED, "{most} at a time"),
            }
            assert!(answer != GOOD || most > 0, "nothing was ever taken");
            rig.assert_others_well();
        }
        for (lba, most) in [(1000, 512), (2000, 100), (3000, 0)] {
            rig.fuse_file().set(On::Read, Verdict::Short(most));
            let answer = rig.read(lba, &patterns(lba, 2, 0));
            assert!([GOOD, BAD_READ].contains(&answer), "{answer:?}, {most} at a time");
            rig.fuse_file().release();
            rig.assert_others_well();
        }
        rig.end();
    });
}

fn a_device_that_lost_its_end_fails_reads(kind: &Kind) {
    if !may_run("a_device_that_lost_its_end_fails_reads") {
        return;
    }
    let dir = Dir::new();
    let image = dir.image("device", SECTORS);
    let device = Loop::new(image.path(), &[]);
    let mut rig = Rig::new(kind, device.path());
    // Before the first read, because the kernel reads ahead.
    image.resize(64);
    assert_eq!(rig.read(2048, &patterns(2048, 2, 0)), BAD_READ);
    assert_eq!(rig.read(3000, &patterns(3000, 2, 0)), BAD_READ);
    rig.assert_others_well();
    assert_eq!(rig.read(32, &patterns(32, 2, 0)), GOOD, "what is left of it is served");
    rig.end();
}

fn a_device_over_a_dead_file_system_fails_and_stays_failed(kind: &Kind) {
    if !may_run("a_device_over_a_dead_file_system_fails_and_stays_failed") {
        return;
    }
    let (dir, mounts) = (Dir::new(), Mounts::new());
    let file = ext4(&dir, &mounts, "32M", "dd if=/dev/zero of=f bs=1M count=2 conv=fsync");
    let device = Loop::new(&file, &[]);
    let mut rig = Rig::new(kind, device.path());
    assert_eq!(rig.write(8, &patterns(8, 2, 1)), GOOD);
    shut_down(&file);
    // To a page that the kernel has, if it has any: then the sync fails.
    assert_eq!(rig.write(10, &patterns(10, 2, 1)), ABORTED);
    rig.assert_others_well();
    assert_eq!(rig.flush(), ABORTED);
    let line = rig.daemon().wait_for("no more writes are taken");
    assert!(line.contains("0.1"), "{line}");
    assert_eq!(rig.write(24, &patterns(24, 2, 1)), ABORTED);
    assert_eq!(rig.flush(), ABORTED);
    assert_eq!(rig.read(3000, &[0; 1024]), BAD_READ, "never read before");
    rig.assert_others_well();
    rig.end();
}

fn a_full_file_system_refuses_what_has_no_room(kind: &Kind) {
    if !may_run("a_full_file_system_refuses_what_has_no_room") {
        return;
    }
    let (dir, mounts) = (Dir::new(), Mounts::new());
    let fill =
        "truncate -s 4M f; dd if=/dev/zero of=filler bs=4k || true; truncate -s -128K filler; sync -f f";
    let file = ext4(&dir, &mounts, "16M", fill);
    let mut rig = Rig::new(kind, &file);
    let (mut written, mut refused) = (Vec::new(), 0);
    for lba in (0..SECTORS).step_by(64) {
        match rig.write(lba, &patterns(lba, 2, 1)) {
            GOOD => written.push(lba),
            answer => {
                assert_eq!(answer, ABORTED);
                refused += 1;
            }
        }
    }
    rig.assert_others_well();
    assert!(written.len() > 5 && refused > 5, "{} written, {refused} refused", written.len());
    for lba in &written {
        assert_eq!(rig.read(*lba, &patterns(*lba, 2, 1)), GOOD);
    }
    assert_eq!(rig.daemon().report().sum("no_space_faults"), refused);
    // There is room again, and everything continues.
    std::fs::remove_file(file.with_file_name("filler")).unwrap();
    assert_eq!(rig.write(SECTORS - 64, &patterns(SECTORS - 64, 2, 2)), GOOD);
    rig.end();
}

/// An ext4 file system of this size, in which `script` creates the file `f`.
fn ext4(dir: &Dir, mounts: &Mounts, size: &str, script: &str) -> PathBuf {
    let (image, on) = (dir.path().join("ext4"), dir.path().join("mnt"));
    let script = format!(
        "mkdir {on}; truncate -s {size} {image}; mkfs.ext4 -q -m0 -b 4096 {image}; mount -o loop {image} {on}; cd {on}; {script}",
        on = on.display(),
        image = image.display(),
    );
    mounts.run(move || command("sh", &["-ec", &script]).unwrap());
    mounts.view(&on.join("f"))
}

fn a_file_cut_under_load_stays_cut(kind: &Kind) {
    if !may_run("a_file_cut_under_load_stays_cut") {
        return;
    }
    let dir = Dir::new();
    let image = dir.image("cut", SECTORS);
    let mut rig = Rig::new(kind, image.path());
    let mut others = Load::new(rig.host(), well(), 8);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also if this thread panics: the scope waits for the load.
        let ends = Ends(&done);
        let load = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                others.run(std::time::Duration::from_millis(20));
            }
            others.finish();
        });
        for round in 0..20 {
            if round == 10 {
                image.resize(64);
            }
            // Across the end, after it, and where a page contains both.
            for lba in [63, 64, 1000 + round * 8] {
                let pair = [patterns(lba, 2, 0), patterns(lba, 2, round)];
                let tags =
                    [rig.host.send_read(sick(), lba, 2), rig.host.send_write(sick(), lba + 2000, &pair[1])];
                let [read, write] = tags.map(|tag| rig.host.answer(tag));
                if round < 10 {
                    assert_eq!((result(&read), result(&write)), (GOOD, GOOD));
                } else {
                    let beyond = [BAD_READ, (0x41, 0x10)];
                    assert!(beyond.contains(&result(&read)), "{lba}: {read:?}");
                    assert!([ABORTED, beyond[1]].contains(&result(&write)), "{lba}: {write:?}");
                    assert_eq!(size(&image), 64 * 512, "a write must not undo the cut");
                }
            }
            assert_eq!(rig.write(round, &patterns(round, 2, round)), GOOD, "what is left is served");
            assert_eq!(rig.read(round, &patterns(round, 2, round)), GOOD);
        }
        // Right after the end, where the last page still exists.
        assert_ne!(rig.write(64, &patterns(64, 1, 1)), GOOD);
        assert_ne!(rig.write(63, &patterns(63, 2, 1)), GOOD);
        assert_eq!(size(&image), 64 * 512);
        drop(ends);
        load.join().unwrap();
    });
    let at: Address = sick();
    assert_eq!(rig.host.identify(at).sectors, 64);
    assert_eq!(rig.read(64, &patterns(64, 1, 0)), (0x41, 0x10), "noticed");
    rig.end();
}

/// Sets it when dropped.
struct Ends<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

fn size(image: &crate::image::Image) -> u64 {
    std::fs::metadata(image.path()).unwrap().len()
}

/// By default the kernel would kill the process with SIGXFSZ.
#[apply(needs_root!)]
fn a_limit_of_the_size_of_files_fails_a_write_and_ends_nothing() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let [direct, file, mmap, small] =
        [("direct", SECTORS), ("file", SECTORS), ("mmap", SECTORS), ("small", 64)]
            .map(|(name, n)| dir.image(name, n));
    // In units of 512 bytes: the second half of the files is out of reach.
    let setup = format!("ulimit -f {}", SECTORS / 2);
    let arguments = format!(
        "serve --no-probe 0.1={direct},store=direct 0.2={file},store=file 0.3={mmap},store=mmap 0.4={small} -i {OURS}"
    );
    let daemon = Daemon::spawn(&pair.ours, xblade_after(&setup, &arguments));
    let line = daemon.wait_for("RLIMIT_FSIZE");
    assert!(
        line.contains(&format!("is {} bytes", SECTORS * 256)) && line.contains("ulimit -f unlimited"),
        "{line}"
    );
    daemon.wait_for("ready:");
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    for slot in 1..=3 {
        let lba = SECTORS - 8;
        let tag = host.send_write(at(0, slot), lba, &patterns(lba, 2, 1));
        assert_eq!(result(&host.answer(tag)), ABORTED, "0.{slot}");
        host.write(at(0, slot), 8, &patterns(8, 2, 1));
        assert_eq!(host.read(at(0, slot), lba, 2), patterns(lba, 2, 0));
        host.write(at(0, 4), 8, &patterns(8, 2, slot.into()));
    }
    let report = daemon.report();
    assert_eq!(report.sum("no_space_faults"), 3, "{report:?}");
    daemon.stop().report().assert_sound();
}
