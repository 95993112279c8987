//! A real service with one of each kind of store: its log, its answers, its metrics, what
//! it keeps. Numbers, which depend on the machine and the moment, are left out.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use twox_hash::{XxHash3_64, XxHash3_128};
use xblade::wire::ether::Mac;

use crate::daemon::serving_file;
use crate::golden::{Transcript, check};
use crate::http;
use crate::image::{Dir, pattern};
use xblade_kit::{Initiator, OURS, PEER, Pair, apply, at, needs_root};

const METRICS: &str = "127.0.0.1:9464";

/// The exports, one of each kind; `%` is the folder.
const EXPORTS: &str = "
[[export]]
address = '0.1'
path = '%/direct'
store = 'direct'
[[export]]
address = '0.2'
path = '%/file'
store = 'file'
[[export]]
address = '0.3'
path = '%/mmap'
store = 'mmap'
durability = 'volatile'
[[export]]
address = '0.4'
store = 'null'
length = '1MiB'
";

/// `N` for each number that is the whole value of a line, `T` for each time.
fn without_values(text: &str, before: &str) -> String {
    let line = |line: &str| match line.rsplit_once(before) {
        Some((key, value))
            if !line.starts_with('#') && value.trim_end_matches(',').parse::<f64>().is_ok() =>
        {
            format!("{key}{before}N{}\n", if value.ends_with(',') { "," } else { "" })
        }
        Some((key, value)) if key.ends_with("-at\"") && value.ends_with("Z\",") => {
            format!("{key}{before}T,\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Without times, process numbers and counters.
fn without_moments(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbers = words.iter().filter(|word| word.parse::<f64>().is_ok()).count();
        match words.as_slice() {
            // Where temporary files lie in memory.
            _ if line.contains(": lies in memory: ") => continue,
            // Of a report: which counters are not zero depends on the moment.
            [_, _] if line.starts_with("  ") && (numbers == 1 || line == "  nothing yet") => continue,
            [] | ["counted", ..] => continue,
            [address, ..] if address.starts_with("0.") && numbers > 3 => continue,
            ["EXPORT", ..] => text += &words.join(" "),
            [time, ..] if time.ends_with('Z') && line.starts_with('[') => {
                let line = line.replacen(time, "[<time>", 1);
                let process = words.iter().position(|word| *word == "process").map(|at| words[at + 1]);
                match line.contains(" sandbox: ") {
                    // The rest is what this kernel has.
                    true => text += line.split(',').next().unwrap(),
                    false => text += &line.replace(process.unwrap_or("\0"), "<pid>:"),
                }
            }
            _ => text += line,
        }
        text += "\n";
    }
    text
}

#[apply(needs_root!)]
fn golden_running_service() {
    let (pair, dir, mut transcript) = (Pair::new(), Dir::new(), crate::transcript());
    let place = dir.path().display().to_string();
    for name in ["direct", "file", "mmap", "more"] {
        dir.image(name, 128);
    }
    let socket = dir.path().join("socket");
    let file = dir.path().join("xblade.toml");
    let configured = |exports: &str| {
        let service =
            format!("control = '%/socket'\nstate = '%/state'\nfolders = ['%']\nmetrics = '{METRICS}'\n");
        let text = format!(
            "interfaces = ['{OURS}']\nhost-settings = 'allow'\n[workers]\ncores = [0]\n[service]\n{service}{exports}"
        );
        fs::write(&file, text.replace('%', &place)).unwrap();
    };
    configured(EXPORTS);
    let daemon = serving_file(&pair.ours, &file.display().to_string());
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    transcript.replace(&place, "<dir>");
    transcript.replace(pair.ours.mac(OURS), "<mac>");
    transcript.replace(host.mac, "<host>");

    let soon = Duration::from_millis(700);
    for slot in 1..=4 {
        host.until_served(at(0, slot));
        host.write(at(0, slot), 3, &pattern(3, 1));
        host.read(at(0, slot), 3, 1);
        let tag = host.send_flush(at(0, slot));
        host.answer(tag);
    }
    assert!(host.set_config(at(0, 1), b"mail", soon));
    let own = host.mac;
    assert!(host.reserve(at(0, 1), &[Mac([2, 0, 0, 0, 0, 9]), own], soon));
    assert!(host.add_to_mask(at(0, 2), own, soon));

    let mut run = |words: &str| {
        let mut command = crate::xblade(&words.replace('%', &place));
        let output = command.arg("--control").arg(&socket).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let said = format!("exit code {}\n{said}", output.status.code().unwrap());
        transcript.add(&format!("xblade {words}"), &without_values(&said, ": "));
    };
    for words in [
        "status --json",
        "stats --json",
        "show",
        "show --json",
        "reservations --json",
        "masks --json",
        "export add 0.5=%/more,ro,store=direct",
        "export remove 0.5",
        "export add 0.5=%/more,store=direct --json",
        "export read-only 0.5",
        "export read-only 0.5 --off",
        "export resize 0.5",
        "export recover 0.5 --reason none",
        "export add 0.5=%/more,store=direct",
        "export add 0.6=%/none",
        "export add 0.6=%/more,store=direct",
        "export remove 0.6",
        "reload",
    ] {
        run(words);
    }
    configured(&EXPORTS.replace("1MiB", "2MiB"));
    run("reload");
    configured(&EXPORTS.replace("1MiB", "2x"));
    run("reload");
    let exports = http::get(&socket, "/v1/exports").body;
    transcript.add("GET /v1/exports", &without_values(&exports, ": "));

    let metrics = pair.ours.run(|| {
        let mut stream = TcpStream::connect(METRICS).unwrap();
        let accept = "Accept: application/openmetrics-text;version=1.0.0";
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    });
    // Of buckets and exports some stand for all.
    let is_more = |line: &&str| {
        (line.contains("le=") && !line.contains("+Inf"))
            || ["\"0.2\"", "\"0.3\""].iter().any(|e| line.contains(e))
    };
    let some: Vec<&str> = metrics.lines().filter(|line| !is_more(line)).collect();
    transcript.add("GET /metrics", &without_values(&some.join("\n"), " "));
    daemon.report();
    let ended = daemon.stop();
    transcript.add("log", &without_moments(&ended.text));
    keep(&mut transcript, &dir);
    check("running.txt", &transcript.text);
}

/// The files of the state. Hashes are replaced if they are of what they were of; of what
/// identifies data only two facts are there on any machine.
fn keep(transcript: &mut Transcript, dir: &Dir) {
    for name in ["direct", "file", "mmap"] {
        let path = dir.path().join(name);
        let hash = XxHash3_64::oneshot(format!("0 {}", path.display()).as_bytes());
        transcript.replace(format!("{hash:016x}"), "<hash of offset and path>");
    }
    let mut files: Vec<_> =
        fs::read_dir(dir.path().join("state")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        let head =
            head.replace(&format!("{:032x}", XxHash3_128::oneshot(body.as_bytes())), "<hash of the rest>");
        let (before, rest) = body.split_once("\"identity\":{").unwrap();
        let (facts, after) = rest.split_once('}').unwrap();
        assert!(facts.contains("\"inode\":\"") && facts.contains("\"kind\":\"file\""), "{facts}");
        let name = file.file_name().unwrap().display();
        transcript.add(&format!("state/{name}"), &format!("{head}\n{before}\"identity\":{{…}}{after}"));
    }
}
