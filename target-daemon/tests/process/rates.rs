//! Rate limits as the operator sees and changes them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{answered, asked, serving_file, xblade};
use crate::image::{Dir, sector};
use crate::load::Load;
use xblade_kit::{Daemon, Initiator, OURS, PATIENCE, PEER, Pair, apply, at, needs_root, until};

/// Metrics, in the namespace of the daemon.
const METRICS: &str = "127.0.0.1:9464";

/// What must not come is waited for this long: less than the longest wait for a limit.
const MOMENT: Duration = Duration::from_millis(500);

/// Two exports with a control socket, and a third file.
struct Rig {
    daemon: Daemon,
    dir: Dir,
    pair: Pair,
}

impl Rig {
    /// `first` are lines of 0.1, `rest` what follows the exports. `%` is the host.
    fn new(first: &str, rest: &str) -> Self {
        let (pair, dir) = (Pair::new(), Dir::new());
        pair.mtu(9000);
        for name in ["a", "b", "c"] {
            dir.image(name, 512);
        }
        let file = dir.path().join("file");
        configure(&pair, &dir, first, rest);
        let daemon = serving_file(&pair.ours, &file.display().to_string());
        Self { daemon, dir, pair }
    }

    fn host(&self) -> Initiator {
        let mut host = Initiator::new(&self.pair.peer, PEER, self.pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The words of a command, with the folder for each `%`.
    fn words(&self, words: &str) -> String {
        words.replace('%', &self.dir.path().display().to_string())
    }

    fn run(&self, words: &str) -> (i32, String) {
        asked(&self.path("ctl"), &self.words(words))
    }

    #[track_caller]
    fn good(&self, words: &str) -> String {
        answered(&self.path("ctl"), &self.words(words))
    }

    /// Applies a file with these lines. The answer.
    #[track_caller]
    fn reload(&self, first: &str, rest: &str) -> String {
        configure(&self.pair, &self.dir, first, rest);
        self.good("reload")
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.good("status --json")).unwrap()
    }

    /// The limits of an export that its worker has.
    #[track_caller]
    fn limits(&self, slot: usize) -> Value {
        self.status()["exports"][slot - 1]["limits"].clone()
    }

    /// The lines of the metrics that contain this.
    fn metrics(&self, part: &str) -> Vec<String> {
        let answer = self.pair.ours.run(|| {
            let mut stream = TcpStream::connect(METRICS).unwrap();
            write!(stream, "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let lines = answer.lines().filter(|line| !line.starts_with('#') && line.contains(part));
        lines.map(str::to_owned).collect()
    }
}

fn configure(pair: &Pair, dir: &Dir, first: &str, rest: &str) {
    let service = format!("control = '%/ctl'\nstate = 'none'\nfolders = ['%']\nmetrics = '{METRICS}'");
    let exports = "[[export]]\naddress = '0.2'\npath = '%/b'\n[[export]]\naddress = '0.1'\npath = '%/a'";
    let text =
        format!("interfaces = ['{OURS}']\nprobe = false\n[service]\n{service}\n{exports}\n{first}\n{rest}\n")
            .replace('%', &dir.path().display().to_string())
            .replace("HOST", &pair.peer.mac(PEER).to_string());
    fs::write(dir.path().join("file"), text).unwrap();
}

const NONE: &str = r#"{
    "iops": null, "bytes-per-second": null, "host-iops": null, "host-bytes-per-second": null, "burst-ms": null,
    "host-limits": 0
}"#;

fn none() -> Value {
    serde_json::from_str(NONE).unwrap()
}

/// Limits come, change and go while hosts use the export: its store stays open, no request is
/// lost, hosts hear of the new buffer count, and status, metrics and `show` have what is in
/// force.
#[apply(needs_root!)]
fn limits_change_by_reload_and_the_store_stays() {
    let rig = Rig::new("", "");
    let mut host = rig.host();
    assert_eq!((rig.limits(1), rig.metrics("_limit_iops")), (none(), vec![]));
    assert_eq!(host.query(at(0, 1), PATIENCE).unwrap().1.buffer_count, 64);
    let mut load = Load::new(rig.host(), at(0, 1), 4);
    load.run(Duration::from_millis(100));
    host.clear();

    let mark = rig.daemon.mark();
    let rates = "iops = 400\nbytes-per-second = '200MiB'\nhost-iops = 1000\nhost-bytes-per-second = '50MB'\nburst = 50";
    assert_eq!(rig.reload(rates, ""), "0.1 changed\n");
    let announced = host.announcement(PATIENCE).expect("0.1 is announced again");
    assert_eq!((announced.address, announced.advert.buffer_count), (at(0, 1), 4));
    let limits = json!({
        "iops": 400, "bytes-per-second": 200 << 20, "host-iops": 1000, "host-bytes-per-second": 50_000_000,
        "burst-ms": 50, "host-limits": 0
    });
    assert_eq!((rig.limits(1), rig.limits(2)), (limits.clone(), none()));
    for line in rates.replace('\'', "\"").lines() {
        assert!(rig.good("show").contains(line), "{}", rig.good("show"));
    }
    assert_eq!(
        rig.metrics("xblade_export_limit_"),
        [
            "xblade_export_limit_waiting_requests{export=\"0.1\"} 0",
            "xblade_export_limit_waiting_requests{export=\"0.2\"} 0",
            "xblade_export_limit_iops{export=\"0.1\",hosts=\"all\"} 400",
            "xblade_export_limit_iops{export=\"0.1\",hosts=\"each\"} 1000",
            "xblade_export_limit_bytes_per_second{export=\"0.1\",hosts=\"all\"} 209715200",
            "xblade_export_limit_bytes_per_second{export=\"0.1\",hosts=\"each\"} 50000000",
        ]
    );
    let table = rig.good("status");
    assert!(table.contains("0.1     400 IOPS, 200MiB/s  1000 IOPS, 50MB/s"), "{table}");
    load.run(Duration::from_millis(500));
    let limited = "xblade_export_limited_requests_total{export=\"0.1\"} ";
    let count = |line: &str| line.strip_prefix(limited).unwrap().parse::<f64>().unwrap();
    assert!(count(&rig.metrics(limited)[0]) > 10.0, "{:?}", rig.metrics("_limited_"));

    // What cannot be applied leaves the limits as they are.
    for (first, rest, why) in [
        ("iops = 0", "", "iops = 0 is not possible"),
        ("iops = 7", "[[host-limit]]\nhosts = ['HOST']", "this host-limit limits nothing"),
        ("iops = 7", "[[export]]\naddress = '0.3'\npath = '%/none'", "none: "),
    ] {
        configure(&rig.pair, &rig.dir, first, rest);
        let (code, told) = rig.run("reload");
        assert!(code != 0 && told.contains(why) && told.contains("nothing was changed"), "{code}: {told}");
        assert_eq!(rig.limits(1), limits, "{why}");
    }
    assert_eq!(rig.reload(rates, ""), "nothing had to change\n");
    assert_eq!(rig.reload("", ""), "0.1 changed\n");
    assert_eq!((rig.limits(1), rig.metrics("_limit_iops")), (none(), vec![]));
    load.run(Duration::from_millis(100));
    load.finish();
    assert!(!rig.daemon.log()[mark..].contains("reopened"), "{}", rig.daemon.log());
    let ended = rig.daemon.stop();
    ended.report().assert_sound();
    assert_eq!(ended.report().sum("limited_too_long"), 0, "{}", ended.text);
}

/// A limit of a host counts in all its exports, also in one that is added later, and a reload
/// that leaves it as it is forgets nothing of what the host has used.
#[apply(needs_root!)]
fn a_limit_of_hosts_counts_on_when_others_change() {
    let limit = "[[host-limit]]\nhosts = ['HOST']\nbytes-per-second = '512B'\nburst = 1";
    let rig = Rig::new("", limit);
    let mut host = rig.host();
    let hosts = rig.status()["host-limits"].clone();
    let mac = rig.pair.peer.mac(PEER).to_string();
    let expected =
        json!([{"hosts": [mac], "exports": [], "iops": null, "bytes-per-second": 512, "burst-ms": 1}]);
    assert_eq!(hosts, expected);
    assert_eq!((&rig.limits(1)["host-limits"], &rig.limits(2)["host-limits"]), (&json!(1), &json!(1)));
    assert!(rig.good("status").contains(&format!("{mac}  all      512B/s")), "{}", rig.good("status"));
    let shown = rig.good("show");
    assert!(shown.contains(&format!("[[host-limit]]\nhosts = [\"{mac}\"]\niops = \"none\"")), "{shown}");
    // 16 seconds' worth: the next request waits, at every export.
    assert_eq!(host.read(at(0, 1), 8, 16).len(), 16 * 512);
    let mut must_wait = |slot: u8, why: &str| {
        let tag = host.send_read(at(0, slot), 1, 1);
        assert!(host.answer_within(tag, MOMENT).is_none(), "0.{slot}: {why}");
    };
    assert_eq!(rig.reload("", limit), "nothing had to change\n");
    must_wait(1, "a reload of the same file");
    assert!(rig.reload("host-iops = 9000", limit).starts_with("0.1 changed"));
    must_wait(1, "another limit has changed");
    assert!(rig.good("export add 0.3=%/c").starts_with("0.3 added"));
    assert_eq!(rig.limits(3)["host-limits"], 1);
    must_wait(3, "an export was added");
    assert!(rig.good("export read-only 0.2").contains("0.2"));
    must_wait(2, "another export is read-only");
    let third = "[[export]]\naddress = '0.3'\npath = '%/c'\n";
    let others =
        format!("{third}[[host-limit]]\nhosts = ['02:00:00:00:00:77']\nexports = ['0.2', '0.9']\niops = 5\n");
    rig.reload("", &format!("{others}{limit}"));
    assert_eq!((&rig.limits(1)["host-limits"], &rig.limits(2)["host-limits"]), (&json!(1), &json!(2)));
    must_wait(3, "there is another limit of a host");
    let unserved = "the host-limit of 02:00:00:00:00:77 counts requests to 0.9, which is not exported";
    rig.daemon.wait_for(&format!("WARN ] {unserved}"));
    let checked = xblade(&format!("check --config {}", rig.path("file").display()));
    let checked = rig.pair.ours.run(move || {
        let mut checked = checked;
        checked.output().unwrap()
    });
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(told.contains(&format!("WARN  {unserved}")), "{told}");
    // A limit that is changed starts again; without one, all that waits goes on.
    let answer = rig.reload("", &format!("{third}{}", limit.replace("512B", "1GiB")));
    assert!(
        ["0.1", "0.2", "0.3"].iter().all(|export| answer.contains(&format!("{export} changed"))),
        "{answer}"
    );
    assert_eq!(host.read(at(0, 1), 3, 1), sector(3));
    rig.reload("", third);
    assert_eq!((rig.status()["host-limits"].clone(), rig.limits(3)), (json!([]), none()));
    rig.daemon.stop().report().assert_sound();
}

/// The same options on the command line.
#[apply(needs_root!)]
fn an_export_is_added_with_its_limits() {
    let rig = Rig::new("", "");
    let (code, told) = rig.run("export add 0.3=%/c,burst=5");
    assert!(
        code == 2 && told.contains("burst has no meaning without a limit: leave it out"),
        "{code}: {told}"
    );
    let (code, told) = rig.run("export add 0.3=%/c,bytes-per-second=1000");
    assert!(code == 2 && told.contains("'1000' has no unit"), "{code}: {told}");
    rig.good("export add 0.3=%/c,iops=2,host-bytes-per-second=1MiB,burst=7");
    let limits = json!({
        "iops": 2, "bytes-per-second": null, "host-iops": null, "host-bytes-per-second": 1 << 20, "burst-ms": 7,
        "host-limits": 0
    });
    assert_eq!(rig.limits(3), limits);
    let mut host = rig.host();
    assert_eq!(host.query(at(0, 3), PATIENCE).unwrap().1.buffer_count, 2, "the least that Linux needs");
    let tags = [0, 1].map(|lba| host.send_read(at(0, 3), lba, 1));
    assert!(host.answer(tags[0]).is_success());
    // It waits for half a second; what is shown is a moment of that.
    until("a request waits for the limit, or has", || {
        let waiting = rig.status()["exports"][2]["waiting"].as_u64() == Some(1);
        waiting || rig.metrics("xblade_export_limited_requests_total{export=\"0.3\"} 1").len() == 1
    });
    assert!(host.answer(tags[1]).is_success());
    let seconds = rig.metrics("xblade_export_limited_seconds_total{export=\"0.3\"} ");
    let seconds: f64 = seconds[0].rsplit(' ').next().unwrap().parse().unwrap();
    assert!((0.3..2.0).contains(&seconds), "half a second of waiting, not {seconds} s");
    rig.daemon.stop().report().assert_sound();
}
