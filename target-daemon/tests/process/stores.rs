//! The stores of exports, and changes below them.

use crate::daemon::serving;
use crate::image::{Dir, pattern, patterns, sector};
use xblade_kit::{Initiator, OURS, PEER, Pair, apply, at, needs_root};

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
