//! An address keeps its data, even if paths lead elsewhere or exports are removed, renamed
//! or restarted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libc::EIO;
use twox_hash::XxHash3_128;

use crate::daemon::{answered, asked, serving, serving_file, xblade};
use crate::fuse::{FuseFile, On, Verdict};
use crate::image::{Dir, pattern, patterns, sector};
use crate::media::Loop;
use crate::rig::{ABORTED, GOOD, result};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, apply, at, needs_root, until};

const SOON: Duration = Duration::from_millis(700);

/// A daemon with a control socket and a state directory, and a host.
struct Rig {
    host: Initiator,
    daemon: Option<Daemon>,
    dir: Dir,
    pair: Pair,
}

impl Rig {
    /// The directory, `%`, holds the images a, b and c, and `link`, which points to a.
    fn new(exports: &str) -> Self {
        let (pair, dir) = (Pair::new(), Dir::new());
        let _ = ["a", "b", "c"].map(|name| dir.image(name, 64));
        symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        let daemon = Some(serving(&pair.ours, &arguments(&dir, exports)));
        let host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let mut rig = Self { host, daemon, dir, pair };
        rig.host.until_served(at(0, 1));
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    /// Stops it; it must exit with 0.
    fn stop(&mut self) {
        let ended = self.daemon.take().expect("it runs").stop();
        ended.report().assert_sound();
    }

    fn start(&mut self, exports: &str) {
        self.daemon = Some(serving(&self.pair.ours, &arguments(&self.dir, exports)));
    }

    /// The words of a command, with the folder for each `%`.
    fn words(&self, words: &str) -> String {
        words.replace('%', &self.dir.path().display().to_string())
    }

    /// The exit code and output of a command.
    fn run(&self, words: &str) -> (i32, String) {
        asked(&self.path("ctl"), &self.words(words))
    }

    #[track_caller]
    fn good(&self, words: &str) -> String {
        answered(&self.path("ctl"), &self.words(words))
    }

    #[track_caller]
    fn refused(&self, words: &str, expected: i32, part: &str) {
        let (code, text) = self.run(words);
        assert!(code == expected && text.contains(part), "{words}: {code}: {text}");
    }

    /// Makes the link point elsewhere.
    fn relink(&self, to: &str) {
        fs::remove_file(self.path("link")).unwrap();
        symlink(self.path(to), self.path("link")).unwrap();
    }

    /// Waits until the record of the data used at 0.1 contains this path.
    fn until_used(&self, name: &str) {
        let (file, path) =
            (self.path(&format!("state/0.1-{OURS}.used")), self.path(name).display().to_string());
        until("kept which data is used", || fs::read_to_string(&file).is_ok_and(|text| text.contains(&path)));
    }
}

fn arguments(dir: &Dir, exports: &str) -> String {
    let dir = dir.path().display().to_string();
    format!("{exports} -i {OURS} --control %/ctl --state %/state --folder % --measure-every 0 --host-settings allow")
        .replace('%', &dir)
}

#[apply(needs_root!)]
fn a_path_that_leads_elsewhere_does_not_get_the_address() {
    let mut rig = Rig::new("0.1=%/link 0.2=%/c");
    rig.host.write(at(0, 1), 5, &pattern(5, 1));
    rig.good("export remove 0.1");
    rig.relink("b");
    rig.refused("export add 0.1=%/link", 2, "0.1 had other data");
    // Another file at its old path.
    rig.relink("a");
    fs::rename(rig.path("a"), rig.path("kept")).unwrap();
    fs::rename(rig.path("b"), rig.path("a")).unwrap();
    rig.refused("export add 0.1=%/link", 2, "0.1 had other data");
    rig.refused("export add 0.1=%/kept,offset=8", 2, "0.1 had other data");
    rig.host.assert_silence(at(0, 1));
    // The same data, by another name.
    rig.good("export add 0.1=%/kept");
    rig.host.until_served(at(0, 1));
    assert_eq!(rig.host.read(at(0, 1), 5, 1), pattern(5, 1));
    rig.good("export remove 0.1");
    rig.good("export add 0.1=%/a --force");
    rig.host.until_served(at(0, 1));
    assert_eq!(rig.host.read(at(0, 1), 5, 1), sector(5));
    rig.daemon().wait_for("0.1 is forced: ");
    rig.stop();
}

#[apply(needs_root!)]
fn a_start_with_other_data_leaves_that_export_out() {
    let exports = "0.1=%/link 0.2=%/c";
    let mut rig = Rig::new(exports);
    rig.host.write(at(0, 1), 5, &pattern(5, 1));
    rig.host.write(at(0, 2), 5, &pattern(5, 2));
    rig.until_used("link");
    rig.stop();
    // With another path, and after a sudden exit, it is the same.
    rig.start("0.1=%/./a 0.2=%/c");
    rig.host.until_served(at(0, 1));
    assert_eq!(rig.host.read(at(0, 1), 5, 1), pattern(5, 1));
    rig.until_used("a");
    rig.daemon.take().unwrap().end_by(libc::SIGKILL);
    rig.pair.ours.until_detached(OURS);

    rig.relink("b");
    rig.start(exports);
    let line = rig.daemon().wait_for("0.1 is NOT SERVED");
    assert!(line.contains("ERROR") && line.contains("/state/0.1-*.used") && line.contains("force"), "{line}");
    rig.host.assert_silence(at(0, 1));
    assert_eq!(rig.host.read(at(0, 2), 5, 1), pattern(5, 2));
    let status = rig.good("status");
    assert!(
        status.contains("0.1     not served") && status.contains("not served: 0.1 had other"),
        "{status}"
    );
    rig.refused("export add 0.1=%/link", 2, "0.1 had other data");
    rig.good("export add 0.1=%/link --force");
    assert!(!rig.good("status").contains("not served"));
    rig.stop();
    // No host has used it.
    rig.start(exports);
    rig.daemon().wait_for("0.1 is NOT SERVED");
    rig.stop();
    rig.start("0.1=%/link,force 0.2=%/c");
    rig.host.until_served(at(0, 1));
    assert_eq!(rig.host.read(at(0, 1), 5, 1), sector(5));
    rig.until_used("link");
    rig.stop();
    rig.start(exports);
    rig.host.until_served(at(0, 1));
    rig.stop();

    // Nothing is left to serve.
    let alone = arguments(&rig.dir, "0.1=%/a");
    let ended = Daemon::spawn(&rig.pair.ours, xblade(&format!("serve --no-probe {alone}"))).ended();
    assert!(ended.status.code() == Some(3) && ended.text.contains("0.1 had other data"), "{}", ended.text);
}

#[apply(needs_root!)]
fn what_hosts_set_is_found_by_any_name_of_the_data() {
    let mut rig = Rig::new("0.1=%/a");
    assert!(rig.host.set_config(at(0, 1), b"of a", SOON));
    rig.stop();
    rig.start("0.1=%/link");
    assert_eq!(rig.host.config(at(0, 1)), b"of a");
    assert!(rig.host.force_config(at(0, 1), b"of link", SOON));
    rig.stop();
    let states = |rig: &Rig| {
        let names = fs::read_dir(rig.path("state")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|e| e == "state")).collect::<Vec<_>>()
    };
    let [state] = &states(&rig)[..] else { panic!("{:?}", states(&rig)) };
    // In the format of a release that had no identities.
    let text = fs::read_to_string(state).unwrap();
    let mut body: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    body.as_object_mut().unwrap().remove("identity").expect("it has one");
    let body = format!("{body}\n");
    fs::write(state, format!("xblade-state 1 {:032x}\n{body}", XxHash3_128::oneshot(body.as_bytes())))
        .unwrap();
    for path in ["link", "a", "./a"] {
        rig.start(&format!("0.1=%/{path}"));
        assert_eq!(rig.host.config(at(0, 1)), b"of link", "{path}");
        rig.stop();
    }
    // Moved: only the identity is the same.
    fs::rename(rig.path("a"), rig.path("moved")).unwrap();
    rig.start("0.1=%/moved");
    assert_eq!(rig.host.config(at(0, 1)), b"of link");
    rig.stop();
    assert_eq!(states(&rig).len(), 1);
    rig.start("0.1=%/b");
    assert_eq!(rig.host.config(at(0, 1)), b"");
    rig.stop();
}

#[apply(needs_root!)]
fn a_replaced_image_is_reported_and_not_closed_unasked() {
    let mut rig = Rig::new("0.1=%/a 0.2=%/c");
    let state = |rig: &Rig, slot: u8| {
        let status = rig.good("status");
        let row = status.lines().find(|line| line.starts_with(&format!("0.{slot} "))).unwrap();
        row.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(state(&rig, 1), "good");
    fs::rename(rig.path("b"), rig.path("a")).unwrap();
    let line = rig.daemon().wait_for("WARN ] 0.1: something else is at ");
    assert!(line.contains("/fd/") && line.contains("export read-only 0.1"), "{line}");
    assert_eq!((state(&rig, 1), state(&rig, 2)), ("replaced".to_owned(), "good".to_owned()));
    // Hosts are not affected, and the remedy names the file that they write to.
    rig.host.write(at(0, 1), 5, &pattern(5, 1));
    let copied = line.split("`cp ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(fs::read(copied).unwrap()[5 * 512..6 * 512], pattern(5, 1));
    rig.refused("export remove 0.1", 3, "the file of 0.1 has no name any more");
    assert_eq!(rig.host.read(at(0, 1), 5, 1), pattern(5, 1), "it is served on");
    // Accepting writes again would reopen the file.
    rig.good("export read-only 0.1");
    rig.refused("export remove 0.1", 3, "the file of 0.1 has no name any more");
    rig.refused("export read-only 0.1 --off", 2, "hosts use 0.1, and would write to other data");

    let (moved, back) = (rig.path("moved"), rig.path("c"));
    fs::rename(&back, &moved).unwrap();
    rig.daemon().wait_for("WARN ] 0.2: nothing is at ");
    assert_eq!(state(&rig, 2), "replaced");
    fs::rename(&moved, &back).unwrap();
    rig.daemon().wait_for("0.2: its path leads to its file again");
    assert_eq!(state(&rig, 2), "good");
    fs::remove_file(&back).unwrap();
    let mark = rig.daemon().mark();
    until("it is seen", || state(&rig, 2) == "replaced");
    rig.refused("export remove 0.2", 3, "the file of 0.2 has no name any more");
    rig.good("export remove 0.2 --force");
    rig.daemon().wait_for_after(mark, "0.2 is closed by force");
    let ended = rig.daemon.take().unwrap().stop();
    assert_eq!(ended.text.matches("0.1: something else is at").count(), 1, "said once: {}", ended.text);
}

#[apply(needs_root!)]
fn a_reload_reports_replaced_images_and_does_not_reopen_them() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let _ = ["a", "b"].map(|name| dir.image(name, 64));
    let file = dir.path().join("xblade.toml");
    let write = |more: &str| {
        let text = "interfaces = ['&']\nprobe = false\nmeasure-every = 0\n[service]\ncontrol = '%/ctl'\nstate = 'none'\nfolders = ['%']\n\
                    [[export]]\naddress = '0.1'\npath = '%/a'\n";
        let text = text.replace('&', OURS).replace('%', &dir.path().display().to_string());
        fs::write(&file, text + more).unwrap();
    };
    write("");
    let daemon = serving_file(&pair.ours, &file.display().to_string());
    let run = |words: &str| {
        let output = xblade(words).arg("--control").arg(dir.path().join("ctl")).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    fs::rename(dir.path().join("b"), dir.path().join("a")).unwrap();
    daemon.wait_for("0.1: something else is at");
    let (code, said) = run("reload");
    assert!(code == 0 && said.contains("0.1: something else is at"), "{code}: {said}");
    let checked = pair.ours.run({
        let mut check = xblade(&format!("check --config {}", file.display()));
        move || check.output().unwrap()
    });
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains("WARN  0.1: the xblade that runs serves another file"), "{checked}");
    write("store = 'file'\n");
    let (code, said) = run("reload");
    assert!(
        code == 3 && said.contains("nothing was changed: the file of 0.1 has no name any more"),
        "{said}"
    );
    assert_eq!(run("reload --force").0, 0);
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    assert_eq!(host.read(at(0, 1), 5, 1), sector(5));
    daemon.stop();
}

/// A daemon over a FUSE file at 0.1.
fn over_fuse(options: &str) -> (FuseFile, Rig) {
    let (pair, dir) = (Pair::new(), Dir::new());
    let fuse = FuseFile::new(dir.path(), patterns(0, 4096, 0), false);
    // It is in another mount namespace, which only root with all rights can enter.
    let exports = format!("0.1={},{options} --sandbox off", fuse.path().display());
    let daemon = Some(serving(&pair.ours, &arguments(&dir, &exports)));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    (fuse, Rig { host, daemon, dir, pair })
}

/// It would be open, but no call on it would work.
#[apply(needs_root!)]
fn a_file_system_that_is_for_its_user_alone_is_refused_at_the_start() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let fuse = FuseFile::of_root_alone(dir.path(), patterns(0, 4096, 0));
    let serve = format!("serve --no-probe 0.1={} -i {OURS}", fuse.path().display());
    let ended = Daemon::spawn(&pair.ours, xblade(&serve)).ended();
    let said = "cannot use it: Permission denied (os error 13): mount its file system with -o allow_other, or give --user";
    assert!(ended.status.code() == Some(3) && ended.text.contains(said), "{}", ended.text);
    Daemon::ready(&pair.ours, xblade(&format!("{serve} --user root"))).stop();
}

fn write(rig: &mut Rig, lba: u64, version: u64) -> (u8, u8) {
    let tag = rig.host.send_write(at(0, 1), lba, &pattern(lba, version));
    result(&rig.host.answer(tag))
}

#[apply(needs_root!)]
fn what_a_failed_sync_has_ended_outlives_reopening_but_not_an_order() {
    for store in ["file", "mmap"] {
        let (fuse, mut rig) = over_fuse(&format!("store={store}"));
        let path = fuse.path().display().to_string();
        assert_eq!(write(&mut rig, 1, 1), GOOD);
        rig.refused("export recover 0.1 --reason none", 2, "0.1 has had no fault");
        fuse.set(On::Sync, Verdict::Fail(EIO));
        assert_eq!(write(&mut rig, 2, 1), ABORTED);
        fuse.release();
        rig.daemon().wait_for("no more writes are taken");
        let (code, text) = rig.run("export remove 0.1");
        assert!(code == 3 && text.contains("a sync of it has failed before"), "{code}: {text}");
        for more in ["", ",worker=0"] {
            rig.good(&format!("export add 0.1={path},store={store}{more}"));
            rig.host.until_served(at(0, 1));
            assert_eq!(write(&mut rig, 3, 1), ABORTED, "{store}{more}: reopened");
            assert!(rig.good("status").contains("degraded"));
            assert_eq!(rig.run("export remove 0.1").0, 3);
        }
        // At another address it is the same file.
        rig.good(&format!("export add 0.2={path},store={store}"));
        rig.host.until_served(at(0, 2));
        let tag = rig.host.send_write(at(0, 2), 3, &pattern(3, 1));
        assert_eq!(result(&rig.host.answer(tag)), ABORTED);
        rig.run("export remove 0.2");
        rig.good(&format!("export add 0.1={path},store={store}"));
        rig.host.until_served(at(0, 1));
        assert_eq!(rig.run("export recover 0.1").0, 2, "without a reason");
        assert_eq!(write(&mut rig, 3, 1), ABORTED);
        rig.good("export recover 0.1 --reason fsck-is-clean");
        rig.daemon().wait_for("0.1 accepts writes again; reason given by the operator: fsck-is-clean");
        assert_eq!(write(&mut rig, 3, 2), GOOD, "{store}");
        assert!(rig.good("status").contains("good"));
        rig.good("export remove 0.1");
        rig.stop();
    }
}

#[apply(needs_root!)]
fn an_export_is_made_stable_before_its_removal_is_told() {
    for store in ["file", "mmap"] {
        let (fuse, mut rig) = over_fuse(&format!("store={store},durability=volatile"));
        let add = format!("export add 0.1={},store={store},durability=volatile", fuse.path().display());
        assert_eq!(write(&mut rig, 1, 1), GOOD);
        let syncs = fuse.calls(On::Sync);
        rig.good("export remove 0.1");
        assert!(fuse.calls(On::Sync) > syncs, "{store}: it was not made stable");
        assert_eq!(fuse.bytes()[512..1024], pattern(1, 1), "{store}");

        rig.good(&add);
        rig.host.until_served(at(0, 1));
        assert_eq!(write(&mut rig, 2, 1), GOOD);
        // A slow disk: the caller waits for it.
        fuse.set(On::Sync, Verdict::Hold);
        std::thread::scope(|scope| {
            let removal = scope.spawn(|| rig.run("export remove 0.1"));
            fuse.until_held(1);
            std::thread::sleep(Duration::from_secs(4));
            assert!(!removal.is_finished(), "{store}: told before it was stable");
            fuse.release();
            let (code, text) = removal.join().unwrap();
            assert!(code == 0 && text.contains("0.1 removed"), "{code}: {text}");
        });

        rig.good(&add);
        rig.host.until_served(at(0, 1));
        assert_eq!(write(&mut rig, 3, 1), GOOD);
        fuse.set(On::Sync, Verdict::Fail(EIO));
        let (code, text) = rig.run("export remove 0.1");
        assert!(code == 3 && text.contains("0.1 removed, but its last sync failed"), "{code}: {text}");
        rig.daemon().wait_for("ERROR] 0.1 removed, but its last sync failed");
        fuse.release();
        // The failure is remembered from then on.
        rig.good(&add);
        rig.host.until_served(at(0, 1));
        assert_eq!(write(&mut rig, 4, 1), ABORTED);
        rig.daemon.take().unwrap().stop();
    }
}

#[apply(needs_root!)]
fn a_record_that_cannot_be_read_is_not_guessed_at() {
    let exports = "0.1=%/a 0.2=%/c";
    let mut rig = Rig::new(exports);
    rig.host.write(at(0, 1), 5, &pattern(5, 1));
    rig.until_used("a");
    rig.stop();
    let file = rig.path(&format!("state/0.1-{OURS}.used"));
    damage(&file);
    rig.start(exports);
    let line = rig.daemon().wait_for("0.1 is NOT SERVED");
    assert!(line.contains(".used") && line.contains("remove the file"), "{line}");
    rig.stop();
    fs::remove_file(&file).unwrap();
    rig.start(exports);
    rig.host.until_served(at(0, 1));
    rig.stop();
}

fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The number of a device may differ after a restart, and may then belong to another disk.
#[apply(needs_root!)]
fn a_device_is_known_by_what_it_is_and_not_by_its_number() {
    let exports = "0.1=%/device 0.2=%/c";
    let (pair, dir) = (Pair::new(), Dir::new());
    let images = ["a", "b", "c"].map(|name| dir.image(name, 64));
    let lead_to = |device: &Loop| {
        let _ = fs::remove_file(dir.path().join("device"));
        symlink(device.path(), dir.path().join("device")).unwrap();
    };
    let serve = || serving(&pair.ours, &arguments(&dir, exports));
    let host = || {
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 2));
        host
    };
    let device = Loop::new(images[0].path(), &[]);
    lead_to(&device);
    let daemon = serve();
    host().write(at(0, 1), 5, &pattern(5, 1));
    let record = dir.path().join(format!("state/0.1-{OURS}.used"));
    until("kept which data is used", || record.exists());
    daemon.stop();
    drop(device);

    // Most likely with the same number.
    let other = Loop::new(images[1].path(), &[]);
    lead_to(&other);
    let daemon = serve();
    daemon.wait_for("0.1 is NOT SERVED");
    host().assert_silence(at(0, 1));
    daemon.stop();

    let again = Loop::new(images[0].path(), &[]);
    assert_ne!(again.path(), other.path());
    lead_to(&again);
    let daemon = serve();
    assert_eq!(host().read(at(0, 1), 5, 1), pattern(5, 1));
    daemon.stop().report().assert_sound();
}

/// Workers look for what hosts use ten times a second; a stop does not wait for that.
#[apply(needs_root!)]
fn what_was_used_in_the_last_moment_belongs_to_its_data() {
    let mut rig = Rig::new("0.1=%/a");
    rig.stop();
    let record = rig.path(&format!("state/0.1-{OURS}.used"));
    for round in 0..5 {
        let _ = fs::remove_file(&record);
        rig.start("0.1=%/a");
        rig.host.write(at(0, 1), round, &pattern(round, 1));
        rig.stop();
        assert!(record.exists(), "round {round}");
    }
}
