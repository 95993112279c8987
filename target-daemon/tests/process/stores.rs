//! The stores of exports, and changes below them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::daemon::{serving, xblade_after};
use crate::image::{Dir, pattern, patterns, sector};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, apply, at, needs_root};

#[apply(needs_root!)]
fn an_acknowledged_write_is_in_the_file() {
    for (option, model, said) in [
        ("", "xblade", "durable"),
        (",durability=durable", "xblade", "durable"),
        (",durability=volatile", "xblade volatile", "VOLATILE: a power cut may lose acknowledged writes"),
    ] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let image = dir.image("a", 64);
        let daemon = serving(&pair.ours, &format!("0.1={image}{option} -i {OURS}"));
        assert!(daemon.wait_for("64 sectors").ends_with(said));
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let identity = host.identify(at(0, 1));
        assert_eq!(identity.names.model.as_str(), model);
        assert_eq!(identity.sectors, 64);
        for lba in [0, 17, 63] {
            host.write(at(0, 1), lba, &pattern(lba, 1));
            assert_eq!(image.sectors(lba, 1), pattern(lba, 1), "{option}");
        }
        assert_eq!(image.sectors(62, 1), sector(62), "and nothing beside it");
        // A write across the end writes nothing, not even the part before the end.
        let tag = host.send_write(at(0, 1), 63, &patterns(63, 2, 2));
        assert_eq!(host.answer(tag).status & 1, 1);
        assert_eq!(image.sectors(63, 1), pattern(63, 1));
        assert_eq!(std::fs::metadata(image.path()).unwrap().len(), 64 * 512);
        daemon.stop().report().assert_sound();
    }
}

#[apply(needs_root!)]
fn the_serial_number_outlives_a_restart_and_tells_images_apart() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let (a, b) = (dir.image("a", 8), dir.image("b", 8));
    let mut serials = Vec::new();
    for exports in [format!("0.1={a} 0.2={b}"), format!("0.1={a} 0.2={b}"), format!("0.1={b} 0.2={a}")] {
        let daemon = serving(&pair.ours, &format!("{exports} -i {OURS}"));
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        serials.push([1, 2].map(|slot| host.identify(at(0, slot)).names.serial));
        daemon.stop();
    }
    assert_eq!(serials[0], serials[1]);
    assert_ne!(serials[0][0], serials[0][1]);
    assert_ne!(serials[0][0], serials[2][0]);
}

#[apply(needs_root!)]
fn a_file_that_grows_is_seen() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    assert_eq!(host.identify(at(0, 1)).sectors, 64);
    image.resize(4096);
    assert_eq!(host.identify(at(0, 1)).sectors, 4096);
    host.write(at(0, 1), 4095, &pattern(4095, 1));
    assert_eq!(image.sectors(4095, 1), pattern(4095, 1));
    assert_eq!(host.read(at(0, 1), 1, 1), sector(1));
    daemon.stop();
}

#[apply(needs_root!)]
fn a_file_that_is_cut_under_load_gives_errors_and_no_more() {
    for option in ["", ",durability=volatile"] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let (cut, whole) = (dir.image("a", 4096), dir.image("b", 4096));
        let daemon = serving(&pair.ours, &format!("0.1={cut}{option} 0.2={whole}{option} -i {OURS}"));
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let mut failed = 0;
        for round in 0..40 {
            if round == 20 {
                cut.resize(64);
            }
            let lba = 1000 + round * 8;
            let tags = [
                host.send_read(at(0, 1), lba, 2),
                host.send_write(at(0, 1), lba, &patterns(lba, 2, round)),
                host.send_read(at(0, 2), lba, 2),
                host.send_write(at(0, 2), lba, &patterns(lba, 2, round)),
            ];
            let [read, write, other_read, other_write] = tags.map(|tag| host.answer(tag));
            for answer in [&read, &write] {
                failed += u32::from(answer.status & 1);
                assert_eq!(answer.status & 1 == 1, round >= 20, "round {round}{option}: {answer:?}");
            }
            assert_eq!((other_read.status, other_write.status), (0x40, 0x40));
            assert_eq!(other_read.data, [sector(lba), sector(lba + 1)].concat());
            assert_eq!(whole.sectors(lba, 2), patterns(lba, 2, round));
        }
        assert_eq!(failed, 40);
        // The rest of it is still served.
        assert_eq!(host.read(at(0, 1), 63, 1), sector(63));
        assert_eq!(std::fs::metadata(cut.path()).unwrap().len(), 64 * 512, "a write must not undo the cut");
        let report = daemon.report();
        assert_eq!(report.sum("media_faults"), 40, "{report:?}");
        daemon.stop().report().assert_sound();
    }
}

#[apply(needs_root!)]
fn a_full_file_system_gives_errors_and_no_more() {
    for option in ["", ",durability=volatile"] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let other = dir.image("b", 64);
        let on = dir.path().join("m");
        let file = on.join("f").display().to_string();
        let setup = format!(
            "mkdir -p {0} && mount -t tmpfs -o size=1M xbp {0} && truncate -s 8M {file}",
            on.display()
        );
        let serve = format!("serve --no-probe 0.1={file}{option} 0.2={other} -i {OURS}");
        let mut daemon = Daemon::spawn(&pair.ours, xblade_after(&setup, &serve));
        daemon.wait_for("ready:");
        assert!(daemon.wait_for("bytes are allocated").contains("WARN"), "a sparse file is remarked on");
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let mut written = Vec::new();
        let mut refused = 0;
        for lba in (0..16_384).step_by(32) {
            let tag = host.send_write(at(0, 1), lba, &patterns(lba, 2, 1));
            let answer = host.answer_within(tag, Duration::from_secs(10)).expect("an answer, not silence");
            match answer.status {
                0x40 => written.push(lba),
                status => {
                    assert_eq!(status & 1, 1);
                    refused += 1;
                }
            }
            host.write(at(0, 2), lba % 64, &pattern(lba % 64, lba));
        }
        assert!(
            written.len() > 100 && refused > 100,
            "{option}: {} written, {refused} refused",
            written.len()
        );
        assert!(daemon.is_running());
        // In the file, as another process sees it: the mount is the daemon's.
        let seen = File::open(format!("/proc/{}/root{file}", daemon.pid())).unwrap();
        for lba in written {
            let mut bytes = [0; 1024];
            seen.read_exact_at(&mut bytes, lba * 512).unwrap();
            assert!(bytes[..] == patterns(lba, 2, 1), "{option}: {lba}");
            assert!(host.read(at(0, 1), lba, 2) == patterns(lba, 2, 1));
        }
        let report = daemon.report();
        assert_eq!(report.sum("no_space_faults") + report.sum("media_faults"), refused, "{report:?}");
        daemon.stop().report().assert_sound();
    }
}
