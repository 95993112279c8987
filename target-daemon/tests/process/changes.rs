//! Configuration changes while exports are in use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::daemon::{serving_file, xblade};
use crate::image::{Dir, pattern, sector};
use crate::load::Load;
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, apply, at, join, needs_root};

/// Reloads under load. The full number is run with `XBLADE_CHANGES=1000`.
const RELOADS: usize = 50;

/// A daemon with a configuration file that tests change.
struct Rig {
    pair: Pair,
    dir: Dir,
    daemon: Daemon,
    file: PathBuf,
}

impl Rig {
    /// `text` follows the interfaces in the file. `%` is the directory, which holds the
    /// images a, b, c and d.
    fn new(text: &str) -> Self {
        let (pair, dir) = (Pair::new(), Dir::new());
        for name in ["a", "b", "c", "d"] {
            dir.image(name, 512);
        }
        let file = dir.path().join("xblade.toml");
        write(&file, &dir, text);
        let daemon = serving_file(&pair.ours, &file.display().to_string());
        Self { pair, dir, daemon, file }
    }

    fn host(&self) -> Initiator {
        let mut host = Initiator::new(&self.pair.peer, PEER, self.pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        host
    }

    /// Reloads the file. Returns the log line with the result.
    fn reload(&self, text: &str) -> String {
        write(&self.file, &self.dir, text);
        let mark = self.daemon.mark();
        self.daemon.signal(libc::SIGHUP);
        self.daemon.wait_for_after(mark, "reload")
    }
}

fn write(file: &std::path::Path, dir: &Dir, text: &str) {
    let head = format!(
        "interfaces = [\"{OURS}\"]\nprobe = false\nmeasure-every = 0\n[service]\ncontrol = 'none'\nstate = 'none'\n\
         folders = ['%']\n"
    );
    // Atomically, so that the daemon never reads half of it.
    let next = file.with_extension("next");
    fs::write(&next, (head + text).replace('%', &dir.path().display().to_string())).unwrap();
    fs::rename(&next, file).unwrap();
}

fn export(slot: usize, name: &str, more: &str) -> String {
    format!("[[export]]\naddress = '0.{slot}'\npath = '%/{name}'\n{more}\n")
}

#[apply(needs_root!)]
fn a_reload_changes_what_differs() {
    let (a, b) = (export(1, "a", ""), export(2, "b", ""));
    let rig = Rig::new(&a);
    let mut host = rig.host();
    assert!(rig.reload(&a).contains("nothing has changed"));

    assert!(rig.reload(&(a.clone() + &b)).contains("1 change"));
    // The announcement of the start may still be on its way.
    let announced =
        |host: &mut Initiator| host.announcement(Duration::from_secs(5)).expect("of the new export");
    while announced(&mut host).address != at(0, 2) {}
    assert_eq!(host.read(at(0, 2), 5, 1), sector(5));
    host.write(at(0, 2), 5, &pattern(5, 1));

    rig.reload(&(a.clone() + &export(2, "b", "read-only = true")));
    let tag = host.send_write(at(0, 2), 5, &pattern(5, 2));
    assert_eq!(host.answer(tag).status, 0x41, "it is read-only now");
    assert_eq!(host.read(at(0, 2), 5, 1), pattern(5, 1));
    rig.reload(&(a.clone() + &b));
    host.write(at(0, 2), 5, &pattern(5, 3));

    rig.reload(&(a.clone() + &export(2, "b", "allow = ['02:00:00:00:00:09']")));
    host.assert_silence(at(0, 2));
    assert_eq!(host.read(at(0, 1), 5, 1), sector(5), "only the other one has a list");
    rig.reload(&(a.clone() + &b));
    assert_eq!(host.read(at(0, 2), 5, 1), pattern(5, 3));

    rig.reload(&a);
    host.assert_silence(at(0, 2));
    // Its file is free, and may be served at another address.
    rig.reload(&(a + &export(3, "b", "")));
    assert_eq!(host.read(at(0, 3), 5, 1), pattern(5, 3));
    rig.daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn two_ways_into_one_file_are_not_put_in_force() {
    let parts = |one: &str, other: &str| {
        export(1, "a", &format!("length = 16\nstore = '{one}'"))
            + &export(2, "a", &format!("offset = 16\nlength = 8\nstore = '{other}'"))
    };
    let rig = Rig::new(&parts("direct", "direct"));
    let mut host = rig.host();
    let said = rig.reload(&parts("direct", "file"));
    assert!(said.contains("nothing was changed"), "{said}");
    for part in
        ["0.2 (", "/a): is reached by store=file, and 0.1 (", "/a) by store=direct: both are of one file"]
    {
        assert!(said.contains(part), "{said}");
    }
    // `check` reports the same before a reload.
    let file = rig.file.display();
    let looked = xblade(&format!("check --config {file}"));
    let looked = rig.pair.ours.run(move || { looked }.output().unwrap());
    let err = String::from_utf8(looked.stderr).unwrap();
    assert!(!looked.status.success() && err.contains("is reached by store=file, and 0.1 ("), "{err}");
    assert!(err.contains("first here") && err.to_lowercase().contains("give both the same path"), "{err}");
    // Both are still served as before.
    for lba in [8, 0] {
        host.write(at(0, 1), lba, &pattern(lba, 1));
        host.write(at(0, 2), lba.min(7), &pattern(lba, 2));
    }
    // Changing both at once is allowed.
    assert!(rig.reload(&parts("file", "file")).contains("2 change(s)"));
    assert_eq!(host.read(at(0, 2), 7, 1), pattern(8, 2));
    rig.daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn what_cannot_be_put_in_force_changes_nothing() {
    let base = export(1, "a", "") + &export(2, "b", "");
    let rig = Rig::new(&base);
    let mut host = rig.host();
    host.write(at(0, 2), 7, &pattern(7, 1));
    let third = export(3, "c", "");
    for (text, part) in [
        // An error in the file.
        (base.clone() + "[[export]]\naddress = '0.3'\n", "has no path"),
        // A missing file, next to one that could be served.
        (base.clone() + &third + &export(4, "none", ""), "/none"),
        // A size beyond the file, for an open export.
        (export(1, "a", "") + &export(2, "b", "offset = 0\nlength = '1GiB'") + &third, "nothing was changed"),
        // A change that needs a restart.
        (base.clone() + &third + "[limits]\nbuffer-count = 32\n", "limits.buffer-count"),
        (base.clone() + &third + "[workers]\ncores = [0]\n", "workers.cores"),
        // Other data, where hosts have written.
        (export(1, "a", "") + &export(2, "d", "") + &third, "hosts use 0.2"),
        (export(1, "a", "") + &export(2, "b", "offset = 8") + &third, "hosts use 0.2"),
    ] {
        let said = rig.reload(&text);
        assert!(said.contains("nothing was changed"), "{text}\n{said}");
        rig.daemon.wait_for(part);
        assert_eq!(host.read(at(0, 2), 7, 1), pattern(7, 1), "{text}");
        host.write(at(0, 1), 7, &pattern(7, 2));
        host.assert_silence(at(0, 3));
    }
    // Removed, and the address given to other data while hosts may still write.
    rig.reload(&export(1, "a", ""));
    let said = rig.reload(&(export(1, "a", "") + &export(2, "d", "")));
    assert!(said.contains("0.2 had other data"), "{said}");
    // The same data may come back at once.
    rig.reload(&base);
    assert_eq!(host.read(at(0, 2), 7, 1), pattern(7, 1));
    rig.daemon.stop().report().assert_sound();
}

/// Its store would have to be closed first, and then there would be none.
#[apply(needs_root!)]
fn an_export_that_cannot_be_reopened_goes_on_as_it_is() {
    let rig = Rig::new(&(export(1, "a", "") + &export(2, "b", "")));
    let mut host = rig.host();
    let (path, moved) = (rig.dir.path().join("b"), rig.dir.path().join("moved"));
    fs::rename(&path, &moved).unwrap();
    let said = rig.reload(&(export(1, "a", "") + &export(2, "b", "read-only = true")));
    assert!(said.contains("nothing was changed") && said.contains("/b: no such file"), "{said}");
    host.write(at(0, 2), 7, &pattern(7, 1));
    assert_eq!(host.read(at(0, 2), 7, 1), pattern(7, 1));
    fs::rename(&moved, &path).unwrap();
    // The user of the daemon may not open it any more, but it is open.
    for (mode, more) in
        [(0, "store = 'mmap'"), (0o444, "read-only = true"), (0, ""), (0o444, "store = 'file'")]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = rig.reload(&(export(1, "a", "") + &export(2, "b", more)));
        assert!(said.contains("reloaded: 1 change"), "{more}: {said}");
        let tag = host.send_write(at(0, 2), 7, &pattern(7, 2));
        assert_eq!(host.answer(tag).status & 1, u8::from(more.contains("read-only")), "{more}");
        assert_eq!(host.read(at(0, 2), 7, 1), pattern(7, 2), "{more}");
    }
    // Nor a new one.
    fs::set_permissions(rig.dir.path().join("c"), fs::Permissions::from_mode(0o444)).unwrap();
    let said = rig.reload(&(export(1, "a", "") + &export(2, "b", "") + &export(3, "c", "")));
    for part in [
        "nothing was changed",
        "/c: may not be written by the user of this process, uid ",
        "owner 0, group 0, mode 0444",
        "or export it with `ro`",
        "or add it by `xblade export add` as one who may open it; or run xblade, which is the user ",
        "with --user root",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(host.read(at(0, 2), 7, 1), pattern(7, 2));
    rig.daemon.stop().report().assert_sound();
}

/// Its file was moved, and its replacement cannot be opened, when its store is closed already.
#[apply(needs_root!)]
fn an_export_that_a_refused_change_has_closed_is_opened_again() {
    let base = export(1, "a", "") + &export(2, "b", "");
    let rig = Rig::new(&base);
    let mut host = rig.host();
    let (path, moved) = (rig.dir.path().join("b"), rig.dir.path().join("moved"));
    fs::rename(&path, &moved).unwrap();
    // Another process has it, which is detected only by opening it.
    join((&rig.pair.ours, "xbp2"), (&rig.pair.peer, "xbp3"), "");
    let c = rig.dir.path().join("c");
    let other = format!("serve --no-probe --control none --state none 5.5={} -i xbp2", c.display());
    let other = Daemon::spawn(&rig.pair.ours, xblade(&other));
    other.wait_for("ready: ");
    let said = rig.reload(&(export(1, "a", "") + &export(2, "c", "")));
    assert!(said.contains("nothing was changed") && said.contains("/c: is locked by "), "{said}");
    host.write(at(0, 2), 3, &pattern(3, 1));
    assert_eq!(host.read(at(0, 1), 3, 1), sector(3));
    other.stop();
    // Its lock is back as well.
    let twice = format!("serve --no-probe --control none --state none 5.5={} -i xbp2", moved.display());
    let twice = Daemon::spawn(&rig.pair.ours, xblade(&twice)).ended();
    assert!(twice.text.contains("moved: is locked by process "), "{}", twice.text);
    fs::rename(&moved, &path).unwrap();
    assert!(rig.reload(&base).contains("nothing has changed"));
    assert_eq!(host.read(at(0, 2), 3, 1), pattern(3, 1));
    rig.daemon.stop().report().assert_sound();
}

/// A host that never resends, so that a lost request is noticed.
fn load(rig: &Rig, slot: u8, end: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let mut host = Initiator::new(&rig.pair.peer, PEER, rig.pair.ours.mac(OURS));
    host.until_served(at(0, slot));
    let end = Arc::clone(end);
    thread::spawn(move || {
        let mut load = Load::new(host, at(0, slot), 8);
        let mut answers = 0.0;
        while !end.load(Ordering::Relaxed) {
            let time = Duration::from_millis(100);
            answers += load.run(time).rate * time.as_secs_f64();
        }
        load.finish();
        answers as u64
    })
}

#[apply(needs_root!)]
fn reloads_lose_no_request_of_other_exports() {
    let reloads = std::env::var("XBLADE_CHANGES").map_or(RELOADS, |n| n.parse().expect("a number"));
    let base = export(1, "a", "") + &export(2, "b", "durability = 'volatile'");
    let rig = Rig::new(&base);
    let end = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = [1, 2].map(|slot| load(&rig, slot, &end)).into();
    let mut host = rig.host();
    for n in 0..reloads {
        // Every fifth reload adds an export, the next one uses it, and one more removes it;
        // the others change nothing, or only the hosts that may use it.
        let text = match n % 5 {
            1 | 2 => base.clone() + &export(3, "c", ""),
            3 => base.clone() + &export(3, "c", "allow = ['02:00:00:00:00:09']"),
            _ => base.clone(),
        };
        let said = rig.reload(&text);
        assert!(said.contains("reloaded"), "{said}");
        if n % 5 == 2 {
            host.write(at(0, 3), 9, &pattern(9, n as u64));
            assert_eq!(host.read(at(0, 3), 9, 1), pattern(9, n as u64));
        }
    }
    end.store(true, Ordering::Relaxed);
    for load in loads {
        let answers = load.join().expect("no request was lost, and none failed");
        assert!(answers > 20, "{answers} answers: there was no load");
    }
    let ended = rig.daemon.stop();
    println!("{reloads} reloads, {} of them with another export", reloads.div_ceil(5));
    ended.report().assert_sound();
}

#[apply(needs_root!)]
fn a_ram_disk_outlives_a_reload_but_not_a_restart() {
    let ram = |slot: u8, length: &str| {
        format!("[[export]]\naddress = '0.{slot}'\nstore = 'ram'\nlength = '{length}'\n")
    };
    let rig = Rig::new(&(ram(1, "64") + &export(3, "a", "")));
    rig.daemon.wait_for("WARN ] 0.1: store=ram forgets everything when it is closed");
    let mut host = rig.host();
    assert_eq!(host.read(at(0, 1), 9, 1), [0; 512]);
    host.write(at(0, 1), 9, &pattern(9, 1));
    assert_eq!(host.read(at(0, 1), 9, 1), pattern(9, 1));
    // In the sandbox, others come and go.
    rig.reload(&(ram(1, "64") + &ram(2, "1MiB")));
    rig.daemon.wait_for("0.2 added: ram (ram, VOLATILE)");
    host.write(at(0, 2), 2047, &pattern(1, 2));
    assert_eq!(host.read(at(0, 2), 2047, 1), pattern(1, 2));
    rig.reload(&ram(1, "64"));
    rig.daemon.wait_for("0.2 removed");
    assert_eq!(host.read(at(0, 1), 9, 1), pattern(9, 1));
    // It cannot be opened again and be the same.
    let refused = rig.reload(&ram(1, "65"));
    assert!(
        refused.contains("hosts use 0.1, and would write to other data: 0.1 had other data, ram"),
        "{refused}"
    );
    let refused = rig.reload(&(ram(1, "64") + &ram(4, "90000TiB")));
    assert!(refused.contains("cannot have the memory for length=90000TiB, and "), "{refused}");
    rig.reload(&ram(1, "64"));
    assert_eq!(host.read(at(0, 1), 9, 1), pattern(9, 1));
    let Rig { pair, dir, daemon, file } = rig;
    daemon.stop().report().assert_sound();
    let again = serving_file(&pair.ours, &file.display().to_string());
    host.until_served(at(0, 1));
    assert_eq!(host.read(at(0, 1), 9, 1), [0; 512]);
    drop((again, dir));
}
