//! What a stranger on the segment can do to an export with a frame of 60 bytes, and what
//! the operator sees of it and does about it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use xblade::wire::aoe::{Command, Header, Role};
use xblade::wire::ether::{Ether, Mac, Tags};
use xblade::wire::{Body, Request, mask, query, reserve};

use crate::daemon::{answered, serving_file, xblade};
use crate::image::{Dir, sector};
use xblade_kit::{
    Daemon, Initiator, OURS, PATIENCE, PEER, PacketSocket, Pair, Space, after, apply, at, needs_root, until,
};

const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// Metrics, in the namespace of the daemon.
const METRICS: &str = "127.0.0.1:9464";

/// Two exports with a control socket and a state folder, a host and a stranger.
struct Rig {
    host: Initiator,
    stranger: Initiator,
    daemon: Option<Daemon>,
    dir: Dir,
    pair: Pair,
}

impl Rig {
    /// `rules` are lines of the file: at its top, and of 0.1.
    fn new(rules: [&str; 2]) -> Self {
        let (pair, dir) = (Pair::new(), Dir::new());
        let _ = ["a", "b"].map(|name| dir.image(name, 64));
        let host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let mut stranger = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        stranger.mac = STRANGER;
        stranger.set_next_tag(1 << 20);
        let mut rig = Self { host, stranger, daemon: None, dir, pair };
        rig.configure(rules);
        rig.start();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, [top, of_first]: [&str; 2]) {
        let service = format!("control = '%/ctl'\nstate = '%/state'\nfolders = ['%']\nmetrics = '{METRICS}'");
        let exports = "[[export]]\naddress = '0.2'\npath = '%/b'\n[[export]]\naddress = '0.1'\npath = '%/a'";
        let text = format!("interfaces = ['{OURS}']\n{top}\n[service]\n{service}\n{exports}\n{of_first}\n");
        fs::write(self.path("file"), text.replace('%', &self.dir.path().display().to_string())).unwrap();
    }

    fn start(&mut self) {
        self.daemon = Some(serving_file(&self.pair.ours, &self.path("file").display().to_string()));
        self.host.until_served(at(0, 2));
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    fn stop(&mut self) -> String {
        let ended = self.daemon.take().expect("it runs").stop();
        ended.report().assert_sound();
        ended.text
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }

    #[track_caller]
    fn good(&self, words: &str) -> String {
        answered(&self.path("ctl"), words)
    }

    /// What `status` has of a setting of 0.1.
    #[track_caller]
    fn changes(&self, setting: &str) -> Value {
        let status: Value = serde_json::from_str(&self.good("status --json")).unwrap();
        status["exports"][0]["changes"][setting].clone()
    }

    /// The value of a metric of 0.1.
    fn metric(&self, setting: &str, outcome: &str) -> u64 {
        let metrics = self.pair.ours.run(|| {
            let mut stream = TcpStream::connect(METRICS).unwrap();
            write!(stream, "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let name = format!(
            "xblade_export_host_changes_total{{export=\"0.1\",setting=\"{setting}\",outcome=\"{outcome}\"}} "
        );
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{metrics}"));
        line.parse::<f64>().unwrap() as u64
    }

    /// A stranger sets everything by force. The errors.
    fn seize(&mut self) -> [Option<u8>; 3] {
        let stranger = STRANGER.0;
        let [a, b, c, d, e, f] = stranger;
        let edits = [[0, 1, a, b, c, d, e, f]];
        [
            Body::Query(query::Request::ForceSet(b"seized\n\x1b[2J")),
            Body::Reserve(reserve::Request::ForceSet(reserve::Macs::new(&stranger))),
            Body::Mask(mask::Request::Edit(&edits)),
        ]
        .map(|body| self.stranger.error_of(at(0, 1), body, PATIENCE))
    }

    /// The host is served, and nobody has set anything.
    #[track_caller]
    fn assert_untouched(&mut self) {
        assert_eq!(self.host.read(at(0, 1), 3, 1), sector(3));
        assert_eq!((self.host.config(at(0, 1)), self.host.reservation(at(0, 1))), (vec![], vec![]));
    }

    /// A host reads while others flood the segment, and resends until it has an answer. It
    /// keeps nothing of what it hears of theirs.
    #[track_caller]
    fn until_read(&self, slot: u8, lba: u64) {
        let mut tag = 1 << 28;
        until("a host is served", || {
            let mut host = Initiator::new(&self.pair.peer, PEER, self.pair.ours.mac(OURS));
            tag += 1;
            host.set_next_tag(tag);
            let tag = host.send_read(at(0, slot), lba, 1);
            let answer = host.answer_within(tag, Duration::from_millis(200));
            answer.is_some_and(|answer| answer.data == sector(lba))
        });
    }

    fn state_files(&self) -> usize {
        let entries = fs::read_dir(self.path("state")).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "state"))
            .count()
    }
}

/// Without a rule, no host sets anything, and each attempt is logged with the name of its
/// host, counted and shown.
#[apply(needs_root!)]
fn by_default_a_stranger_takes_nothing_away() {
    let mut rig = Rig::new(["", ""]);
    rig.stop();
    fs::write(rig.path("ethers"), format!("{STRANGER} backup\n")).unwrap();
    let etc = rig.path("etc").display().to_string();
    let setup = format!(
        "cp -a /etc {etc} && cp {} {etc}/ethers && mount --bind {etc} /etc",
        rig.path("ethers").display()
    );
    let command = xblade(&format!("serve --config {}", rig.path("file").display()));
    rig.daemon = Some(Daemon::ready(&rig.pair.ours, after(&setup, &command)));
    rig.host.until_served(at(0, 1));
    assert_eq!(rig.seize(), [Some(2), Some(2), Some(1)]);
    rig.assert_untouched();
    let who = format!("WARN ] 0.1: {STRANGER} (backup) was refused a change of the");
    rig.daemon().wait_for(&format!("{who} config string: \"seized\\n\\x1b[2J\"; in force: \"\""));
    rig.daemon().wait_for(&format!("{who} reservation: {STRANGER}; in force: none"));
    rig.daemon().wait_for(&format!("{who} mask list: +{STRANGER}; in force: none"));
    for setting in ["config", "mask", "reservation"] {
        let changes = rig.changes(setting);
        assert_eq!((&changes["refused"], &changes["changed"]), (&1.into(), &0.into()), "{changes}");
        assert_eq!(changes["refused-by"], STRANGER.to_string());
        assert!(changes["refused-at"].as_str().unwrap().ends_with('Z') && changes["changed-by"].is_null());
        assert_eq!((rig.metric(setting, "refused"), rig.metric(setting, "changed")), (1, 0));
    }
    assert!(rig.good("status").contains("mask list"), "{}", rig.good("status"));
    // A repetition of what is in force is no change, and no conflict is hidden.
    let release = Body::Reserve(reserve::Request::Set(reserve::Macs::new(&[])));
    assert_eq!(rig.stranger.error_of(at(0, 1), release, PATIENCE), Some(0));
    rig.restart();
    rig.assert_untouched();
    assert_eq!(rig.state_files(), 0);
    rig.stop();
}

/// Where hosts may, the operator sees who it was, takes it back, and ends it.
#[apply(needs_root!)]
fn what_hosts_may_set_is_logged_and_taken_back() {
    let mut rig = Rig::new(["", "host-settings = 'allow'"]);
    assert_eq!(rig.seize(), [Some(0), Some(0), Some(0)]);
    rig.host.assert_silence(at(0, 1));
    let who = format!("INFO ] 0.1: {STRANGER} changed the");
    rig.daemon().wait_for(&format!("{who} mask list: none -> {STRANGER}"));
    rig.daemon().wait_for(&format!("{who} reservation: none -> {STRANGER}"));
    rig.daemon().wait_for(&format!("{who} config string: \"\" -> \"seized\\n\\x1b[2J\""));
    let changes = rig.changes("mask");
    assert_eq!((&changes["changed"], &changes["changed-by"]), (&1.into(), &STRANGER.to_string().into()));
    assert_eq!(rig.metric("mask", "changed"), 1);
    // The other export has the default.
    let body = Body::Query(query::Request::Set(b"x"));
    assert_eq!(rig.stranger.error_of(at(0, 2), body, PATIENCE), Some(2));
    // It survives, as hosts of a cluster expect.
    rig.restart();
    rig.host.assert_silence(at(0, 1));

    assert!(rig.good("config-strings").contains("seized\\n\\u{1b}[2J"), "{}", rig.good("config-strings"));
    for command in ["masks", "reservations", "config-strings"] {
        let line = rig.good(&format!("{command} --clear 0.1"));
        assert!(line.starts_with("0.1 has no ") && line.ends_with(" any more\n"), "{line}");
    }
    rig.assert_untouched();
    assert_eq!(rig.changes("mask")["changed-by"], "operator");
    assert_eq!(rig.seize(), [Some(0), Some(0), Some(0)]);
    let lines = rig.good("masks --clear 0.1 --refuse");
    assert!(
        lines.contains("0.1 has host-settings = \"refuse\" until the configuration is read again"),
        "{lines}"
    );
    assert_eq!(rig.host.config(at(0, 1)), b"seized\n\x1b[2J");
    for command in ["reservations", "config-strings"] {
        rig.good(&format!("{command} --clear 0.1"));
    }
    assert_eq!(rig.seize(), [Some(2), Some(2), Some(1)]);
    rig.assert_untouched();
    assert!(rig.good("show").contains("host-settings = \"refuse\""));
    // A reload takes the file's word again, and a restart has nothing of what was cleared.
    assert!(rig.good("reload").contains("0.1 changed"));
    rig.restart();
    rig.assert_untouched();
    assert_eq!(rig.seize(), [Some(0), Some(0), Some(0)]);
    rig.stop();
}

#[apply(needs_root!)]
fn what_is_volatile_ends_with_the_process() {
    let mut rig = Rig::new(["host-settings = 'volatile'", ""]);
    assert_eq!(rig.seize(), [Some(0), Some(0), Some(0)]);
    rig.host.assert_silence(at(0, 1));
    assert_eq!(rig.state_files(), 0);
    rig.good("reservations --clear 0.1");
    rig.restart();
    rig.assert_untouched();
    rig.stop();
}

/// A mask that a stranger set last month stays in force, because it may be a fence; but not
/// silently.
#[apply(needs_root!)]
fn what_was_set_before_stays_and_is_told() {
    let mut rig = Rig::new(["host-settings = 'allow'", ""]);
    assert_eq!(rig.seize(), [Some(0), Some(0), Some(0)]);
    let told = |rig: &Rig, mark: usize, word: &str| {
        let stays = |noun: &str, who: &str, command: &str| {
            let line = format!(
                "WARN ] 0.1: the {noun} that hosts have set stays in force{who}, with host-settings = \"{word}\": \
                 `xblade {command} --clear 0.1` removes it"
            );
            rig.daemon().wait_for_after(mark, &line);
        };
        stays("mask list", ", for 1 host(s) only", "masks");
        stays("reservation", ", for 1 host(s) only", "reservations");
        stays("config string", "", "config-strings");
    };
    // By a reload, and by a start.
    let mark = rig.daemon().mark();
    rig.configure(["host-settings = 'refuse'", ""]);
    assert!(rig.good("reload").contains("0.1 changed"));
    told(&rig, mark, "refuse");
    rig.host.assert_silence(at(0, 1));
    rig.configure(["host-settings = 'volatile'", ""]);
    rig.restart();
    told(&rig, 0, "volatile");
    rig.host.assert_silence(at(0, 1));
    // The stranger, as the only holder, may give it back, for good.
    let release = Body::Reserve(reserve::Request::Set(reserve::Macs::new(&[])));
    rig.configure(["", ""]);
    rig.restart();
    told(&rig, 0, "refuse");
    assert_eq!(rig.stranger.error_of(at(0, 1), release, PATIENCE), Some(0));
    assert!(rig.good("masks --clear 0.1").contains("no mask list"));
    assert!(rig.good("config-strings --clear 0.1").contains("no config string"));
    rig.restart();
    rig.assert_untouched();
    rig.stop();
}

/// Sends requests to change the mask list of 0.1 until it is dropped, as fast as it can.
struct Flood {
    sent: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    fn new(space: &Space, target: Mac) -> Self {
        let socket = PacketSocket::within(space, PEER).unwrap();
        let (sent, ends) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let (counter, is_over) = (sent.clone(), ends.clone());
        let body = move || {
            let [a, b, c, d, e, f] = STRANGER.0;
            let ether = Ether { dst: target, src: STRANGER, tags: Tags::NONE };
            let (shelf, slot, command, role) = (0, 1, Command::Mask, Role::Request);
            for tag in 1 << 24.. {
                // Every one changes the list: it is there, and another comes and goes.
                let other = [0, 1 + (tag % 2) as u8, 2, 0, 0, 0, 0, 8];
                let edits = [[0, 1, a, b, c, d, e, f], other];
                let header = Header { ether, role, shelf, slot, command, tag };
                let mut frame = [0; 100];
                let request = Request { header, body: Body::Mask(mask::Request::Edit(&edits)) };
                let len = request.emit(&mut frame).unwrap();
                if socket.send(&frame[..len]).is_ok() {
                    counter.fetch_add(1, SeqCst);
                }
                if is_over.load(SeqCst) {
                    break;
                }
            }
        };
        Self { sent, ends, thread: Some(thread::spawn(body)) }
    }

    fn sent(&self) -> u64 {
        self.sent.load(SeqCst)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// The operator's commands work while a stranger changes the list at full rate: nothing is
/// taken for a fault of the disk, other hosts go on, and the log has a line for the flood.
#[apply(needs_root!)]
fn the_operator_clears_during_a_flood() {
    let mut rig = Rig::new(["host-settings = 'allow'", ""]);
    let began = Instant::now();
    let flood = Flood::new(&rig.pair.peer, rig.pair.ours.mac(OURS));
    let mut count = 0;
    for round in 0..10 {
        until("the flood goes on", || rig.changes("mask")["changed"].as_u64() > Some(count));
        count = rig.changes("mask")["changed"].as_u64().unwrap();
        // Reads of another host, which may have to resend.
        rig.until_read(2, round);
        let line = rig.good("masks --clear 0.1");
        assert!(
            line.contains("a host has set it again: `xblade masks --clear 0.1 --refuse`")
                || line.contains("any more")
        );
    }
    let sent = flood.sent();
    assert!(rig.good("masks --clear 0.1 --refuse").contains("0.1 has no mask list any more"));
    until("the flood goes on", || flood.sent() > sent + 1000);
    until("it is refused", || rig.changes("mask")["refused"].as_u64() > Some(100));
    assert_eq!(rig.good("masks"), "no export is masked\n");
    rig.until_read(1, 3);
    drop(flood);
    let log = rig.stop();
    let lines = log.lines().filter(|line| line.contains(&format!("0.1: {STRANGER}"))).count();
    let most = 5 * (began.elapsed().as_secs() / 60 + 1) as usize;
    assert!((1..=most).contains(&lines), "5 in a minute, not {lines}:\n{log}");
    let (_, more) = log.split_once("mask list or reservation: ").expect("a line for the rest");
    let (count, _) = more.split_once(" to 0.1: `xblade status` shows the last of each").unwrap();
    assert!(count.parse::<u64>().unwrap() > 100, "{log}");
    assert!(!log.contains("look at the disk"), "{log}");
    // The clear is what is saved.
    rig.configure(["", ""]);
    rig.start();
    assert_eq!(rig.good("masks"), "no export is masked\n");
    rig.stop();
}
