//! Settings made by hosts survive a sudden exit.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use xblade::wire::ether::Mac;

use crate::command_line::assert_refused;
use crate::daemon::{serving, xblade};
use crate::image::{Dir, sector};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, apply, at, needs_root};

const SOON: Duration = Duration::from_millis(700);

struct Rig {
    pair: Pair,
    dir: Dir,
    images: [String; 2],
}

impl Rig {
    fn new() -> Self {
        let dir = Dir::new();
        let images = ["a", "b"].map(|name| dir.image(name, 64).to_string());
        Self { pair: Pair::new(), dir, images }
    }

    fn arguments(&self) -> String {
        let [a, b] = &self.images;
        let state = self.folder().display().to_string();
        format!("0.1={a} 0.2={b} -i {OURS} --state {state} --host-settings allow")
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The state files, by name.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "state")).collect();
        files.sort();
        files
    }

    fn serve(&self) -> (Daemon, Initiator) {
        let daemon = serving(&self.pair.ours, &self.arguments());
        let host = Initiator::new(&self.pair.peer, PEER, self.pair.ours.mac(OURS));
        (daemon, host)
    }
}

#[apply(needs_root!)]
fn what_was_acknowledged_is_there_after_a_sudden_end() {
    let rig = Rig::new();
    let (daemon, mut host) = rig.serve();
    let own = host.mac;
    let stranger = Mac([2, 0, 0, 0, 0, 9]);
    assert!(host.set_config(at(0, 1), b"/dev/etherd/mail", SOON));
    assert!(host.reserve(at(0, 1), &[stranger, own], SOON));
    assert!(host.add_to_mask(at(0, 2), stranger, SOON), "the answer still comes");
    host.assert_silence(at(0, 2));
    daemon.end_by(libc::SIGKILL);
    rig.pair.ours.until_detached(OURS);

    let (daemon, mut host) = rig.serve();
    daemon.wait_for("0.1: has a reservation of 2 host(s), from before");
    assert_eq!(host.config(at(0, 1)), b"/dev/etherd/mail");
    assert_eq!(host.reservation(at(0, 1)), [stranger, own]);
    assert_eq!(host.read(at(0, 1), 3, 1), sector(3), "it is among those that have reserved it");
    host.assert_silence(at(0, 2));
    daemon.stop().report().assert_sound();
    assert_eq!(rig.files().len(), 2, "{:?}", rig.files());
}

#[apply(needs_root!)]
fn a_file_in_the_place_of_the_folder_is_named() {
    let rig = Rig::new();
    let image = &rig.images[0];
    for below in ["", "/below", "/far/below"] {
        let state = format!("{image}{below}");
        let serve = format!("serve --no-probe 0.1={image} -i {OURS} --state {state}");
        let ended = Daemon::spawn(&rig.pair.ours, xblade(&serve)).ended();
        let parts =
            [&format!("{image}: is a file, and state is kept in a folder"), "--state FOLDER", "[service]"];
        assert_refused(&state, &ended, 2, &parts);
        assert!(!ended.text.contains("remove the file"), "that would be the image: {}", ended.text);
    }
}

#[apply(needs_root!)]
fn nothing_is_acknowledged_that_is_not_kept() {
    let rig = Rig::new();
    let (daemon, mut host) = rig.serve();
    assert!(host.set_config(at(0, 1), b"first", SOON));
    let [file] = &rig.files()[..] else { panic!("{:?}", rig.files()) };
    let blocked = PathBuf::from(format!("{}.new", file.display()));
    fs::create_dir(&blocked).unwrap();
    assert!(!host.force_config(at(0, 1), b"second", SOON), "acknowledged, and not kept");
    daemon.wait_for("cannot keep the state");
    assert_eq!(host.read(at(0, 1), 3, 1), sector(3), "all else goes on");
    assert!(host.set_config(at(0, 2), b"other", SOON), "other exports, too");
    fs::remove_dir(&blocked).unwrap();
    daemon.wait_for("states can be kept again");
    assert!(host.force_config(at(0, 1), b"second", SOON));
    daemon.end_by(libc::SIGKILL);
    rig.pair.ours.until_detached(OURS);
    let (daemon, mut host) = rig.serve();
    assert_eq!(host.config(at(0, 1)), b"second");
    daemon.stop();
}

#[apply(needs_root!)]
fn a_state_that_is_broken_is_not_guessed_at() {
    let rig = Rig::new();
    let (daemon, mut host) = rig.serve();
    assert!(host.set_config(at(0, 1), b"first", SOON));
    daemon.stop();
    let [file] = &rig.files()[..] else { panic!("{:?}", rig.files()) };
    let good = fs::read_to_string(file).unwrap();
    for (text, part) in [
        ("", "it does not begin with 'xblade-state'"),
        (&good[..good.len() - 9], "its checksum is wrong"),
        (&good.replacen(" 1 ", " 7 ", 1), "version 7"),
    ] {
        fs::write(file, text).unwrap();
        let ended =
            Daemon::spawn(&rig.pair.ours, xblade(&format!("serve --no-probe {}", rig.arguments()))).ended();
        assert_eq!(ended.status.code(), Some(3), "{}", ended.text);
        assert!(ended.text.contains(part) && ended.text.contains("remove the file"), "{}", ended.text);
    }
    // A state belongs to its data: other data at the address starts without any.
    fs::write(file, good).unwrap();
    let other = Rig { images: [rig.images[1].clone(), rig.images[0].clone()], ..rig };
    let (daemon, mut host) = other.serve();
    assert_eq!(host.config(at(0, 1)), b"");
    daemon.stop();
}
