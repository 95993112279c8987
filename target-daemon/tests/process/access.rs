//! `--allow`.

use xblade::wire::ether::Mac;

use crate::daemon::serving;
use crate::image::{Dir, sector};
use xblade_kit::{Initiator, OURS, PATIENCE, PEER, Pair, apply, at, needs_root, until};

#[apply(needs_root!)]
fn only_those_on_the_list_are_served_and_told() {
    for mode in ["native", "generic"] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let image = dir.image("a", 8);
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let listed = [host.mac, Mac([2, 0, 0, 0, 0, 0x77])];
        let allow = format!("--allow {},{}", listed[0], listed[1]);
        let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS} --xdp-mode {mode} {allow}"));
        // Each is notified individually. The socket receives both announcements: it sees
        // every frame on this link.
        let told = host.announcement(PATIENCE).unwrap();
        assert_eq!((told.to, told.address), (listed[0], at(0, 1)), "{mode}");
        assert_eq!(host.read(at(0, 1), 1, 1), sector(1));
        let before = daemon.report();
        assert_eq!(before.sum("acl"), 0);
        host.mac = Mac([2, 0, 0, 0, 0, 0x78]);
        for lba in 0..5 {
            host.send_read(at(0, 1), lba, 1);
        }
        host.target = Mac::BROADCAST;
        host.assert_silence(at(0, 1));
        let mut after = daemon.report();
        until("the kernel has counted", || {
            after = daemon.report();
            after.sum("acl") == 6
        });
        assert_eq!(after.each("XDP program", "acl"), [6], "dropped in the kernel");
        assert_eq!(after.sum("received"), before.sum("received"), "and not even delivered");
        host.mac = listed[0];
        assert_eq!(host.read(at(0, 1), 2, 1), sector(2));
        daemon.stop().report().assert_sound();
    }
}
