//! Impossible command lines: each is refused with its exit code, in one line that names the
//! problem and the remedy, before anything is attached.

use crate::daemon::{serving, xblade};
use crate::golden::{self, Transcript};
use crate::image::Dir;
use xblade_kit::{Daemon, Ended, OURS, Pair, apply, needs_root};

const PLAIN: &str = "0.1=%/a -i xbp0";

/// Arguments after `serve` that only the machine refuses; `%` is a directory with the
/// images `a` and `b`, 64 sectors each. What clap refuses is in `tests/golden.rs`.
const REFUSED: &[&str] = &[
    // Interfaces.
    "0.1=%/a -i storage*",
    "0.1=%/a -i xbpnone",
    "0.1=%/a -i lo",
    "0.1=%/a -i xbp0 -i xbp0",
    // Sizes and cores.
    "0.1=%/a -i xbp0 --rx-ring 100",
    "0.1=%/a -i xbp0 --rx-ring 131072",
    "0.1=%/a -i xbp0 --cores 0,4711",
    "0.1=%/a -i xbp0 --cores 0,0",
    // Exports.
    "0.1=%/a 0.1=%/b -i xbp0",
    "0.1=%/a 0.2=%/a -i xbp0",
    "0.1=%/a 0.2=%/b 0.3=%/link -i xbp0",
    "0.1=%/a,length=20 0.2=%/a,offset=19,length=20 -i xbp0",
    "0.1=%/a,length=16,store=direct 0.2=%/link,offset=16,length=8,store=file -i xbp0",
    "0.1=%/a,length=9,store=mmap 0.2=%/a,offset=9,length=8,store=direct -i xbp0",
    "0.1=%/none -i xbp0",
    "0.1=/dev/none/data -i xbp0",
    "0.1=% -i xbp0",
    "0.1=/dev/null -i xbp0",
    "0.1=%/empty -i xbp0",
    "0.1=%/a,offset=64 -i xbp0",
    "0.1=%/a,offset=60,length=5 -i xbp0",
    "0.1=%/a,offset=281474976710656 -i xbp0",
];

#[apply(needs_root!)]
fn golden_refusals_in_one_line() {
    let (pair, dir) = (Pair::new(), Dir::new());
    for name in ["a", "b"] {
        dir.image(name, 64);
    }
    dir.image("empty", 0);
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    let mut transcript = Transcript::default();
    for arguments in REFUSED {
        let place = dir.path().display().to_string();
        let ended =
            Daemon::spawn(&pair.ours, xblade(&format!("serve {}", arguments.replace('%', &place)))).ended();
        let code = ended.status.code().unwrap();
        assert_refused(arguments, &ended, code, &[]);
        // What was found before may depend on the machine; so do its interfaces and cores.
        let error = &ended.text[ended.text.find("error: ").unwrap()..].replace(&place, "%");
        let error = match error.split_once("there are ") {
            Some((before, there)) => {
                format!("{before}there are …{}", &there[there.find([')', '\n']).unwrap_or(there.len())..])
            }
            None => error.clone(),
        };
        transcript.add(&format!("xblade serve {arguments}"), &format!("exit code {code}\n{error}"));
    }
    golden::check("refused.txt", &transcript.text);
    pair.ours.until_detached(OURS);
    // The error is in each row, not in the setup.
    let arguments = PLAIN.replace('%', &dir.path().display().to_string());
    serving(&pair.ours, &arguments).stop();
}

#[apply(needs_root!)]
fn an_interface_that_carries_no_sector_is_refused() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    pair.mtu(533);
    let refused = Daemon::spawn(&pair.ours, xblade(&format!("serve 0.1={image} -i {OURS}"))).ended();
    assert_refused("MTU 533", &refused, 3, &["xbp0: an MTU of 533 has no room", "at least 534"]);
    pair.mtu(534);
    serving(&pair.ours, &format!("0.1={image} -i {OURS}")).stop();
}

/// One line, `error: ` and the problem, at the end; the lines before it report what was
/// found. Clap appends a pointer to the help.
pub fn assert_refused(what: &str, ended: &Ended, code: i32, parts: &[&str]) {
    let Ended { status, text } = ended;
    assert_eq!(status.code(), Some(code), "{what}: {text}");
    assert!(!text.contains("panicked"), "{what}: {text}");
    assert!(!text.contains("ERROR"), "{what}: {text}");
    let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{what}: {text}");
    let said: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    assert!(said.len() == 1 || text.starts_with("error: "), "{what}: {text}");
    let said = said.join(" ");
    for part in parts {
        assert!(said.contains(part), "{what}: {part:?} is not in: {said}");
    }
}
