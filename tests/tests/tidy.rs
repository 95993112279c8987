//! Rules of the source tree that the compiler does not check: which module may import
//! which, and where `unsafe` is allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Crates of the product: Cargo keeps the edges between them.
const CRATES: [&str; 4] = ["wire", "ring", "store", "link"];

/// In the crates `xblade-target` and `xblade`: the left module may import only the right
/// ones of ours. In data-path order.
const IMPORTS: [(&str, &[&str]); 14] = [
    ("observe", &[]),
    ("text", &[]),
    ("privilege", &["link"]),
    ("logging", &["privilege"]),
    ("shelf", &["wire", "store"]),
    ("command", &["wire", "shelf", "store"]),
    ("worker", &["ring", "wire", "command", "store", "shelf", "observe"]),
    // The typed model consists of the types that it configures.
    ("config", &["wire", "store"]),
    ("control", &["config", "link", "observe", "privilege", "shelf", "store", "wire", "worker"]),
    ("top", &["config", "control", "observe"]),
    (
        "daemon",
        &[
            "config",
            "control",
            "link",
            "logging",
            "privilege",
            "ring",
            "wire",
            "store",
            "shelf",
            "observe",
            "tune",
            "worker",
        ],
    ),
    ("tune", &["config", "link"]),
    ("steer", &["config", "link", "tune"]),
    ("main", &["config", "control", "daemon", "logging", "steer", "top", "tune"]),
];

/// The files in which `unsafe` is allowed. Everything else is safe code on top of these.
const UNSAFE_HOMES: [&str; 19] = [
    "ring/hash.rs",
    "ring/prefetch.rs",
    "privilege/attempt.rs",
    "privilege/seccomp.rs",
    "privilege/signals.rs",
    "ring/umem.rs",
    "ring/open.rs",
    "ring/shared_words.rs",
    "ring/xsk.rs",
    "store/io_vec.rs",
    "store/disk/bounce.rs",
    "store/disk/ring.rs",
    "store/disk/uring.rs",
    "store/device.rs",
    "store/lock.rs",
    "store/mapping.rs",
    "store/sigbus.rs",
    "link/sys.rs",
    "worker/inflight.rs",
];

/// Modules whose code runs for every frame: no I/O except their own purpose.
const NO_SYSTEM_CALLS: [&str; 3] = ["wire", "command", "shelf"];

/// Where the sources of a crate are, and what stands before the path of its modules.
const ROOTS: [(&str, &str); 6] = [
    ("wire/src", "wire/"),
    ("ring/src", "ring/"),
    ("store/src", "store/"),
    ("link/src", "link/"),
    ("target/src", ""),
    ("src", ""),
];

/// Every source file of the product: its module's path, as `ring/lane.rs`, and its text.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    for (root, before) in ROOTS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target-daemon").join(root);
        let mut below = Vec::new();
        walk(&root, &root, &mut below);
        found.extend(below.into_iter().map(|(name, text)| (format!("{before}{name}"), text)));
    }
    found.sort();
    assert!(found.len() > 40, "only {} files: the walk is broken", found.len());
    found
}

fn is_test(name: &str) -> bool {
    name.contains("tests") || name.ends_with("properties.rs")
}

/// The code of a file: without comments and without its unit tests.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

fn module_of(name: &str) -> &str {
    name.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Our modules that this code names, by `crate::` or `xblade::`.
fn imported(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "xblade::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            let list = rest.strip_prefix('{').and_then(|r| r.split('}').next());
            for item in list.unwrap_or(rest).split(',').take(if list.is_some() { usize::MAX } else { 1 }) {
                let end = item.trim().find(|c: char| !c.is_alphanumeric() && c != '_');
                let item = item.trim();
                found.insert(item[..end.unwrap_or(item.len())].to_owned());
            }
        }
    }
    found
}

#[test]
fn modules_import_only_what_is_below_them() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let module = module_of(&name);
        if module == "lib" || CRATES.contains(&module) || is_test(&name) {
            continue;
        }
        let (_, allowed) = IMPORTS
            .iter()
            .find(|(m, _)| *m == module)
            .unwrap_or_else(|| panic!("{name}: give module {module} a row"));
        for import in imported(&code(&text)) {
            if import != module
                && !["plant", "prefetch", "sync", "text"].contains(&import.as_str())
                && !allowed.contains(&import.as_str())
            {
                faults.push(format!("{name} imports {import}; {module} may import {allowed:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn unsafe_code_stays_at_home() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let has = code(&text).split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        match (has, UNSAFE_HOMES.contains(&name.as_str()), is_test(&name)) {
            (true, false, false) => {
                faults.push(format!("{name} has unsafe code; its homes are {UNSAFE_HOMES:?}"))
            }
            (false, true, _) => {
                faults.push(format!("{name} has no unsafe code any more: take it off the list"))
            }
            _ => {}
        }
    }
    for home in UNSAFE_HOMES {
        assert!(sources().iter().any(|(name, _)| name == home), "{home} is on the list and does not exist");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    for (name, text) in sources() {
        assert!(is_test(&name) || text.starts_with("//!"), "{name} does not begin with a module comment");
    }
}

#[test]
fn the_pure_modules_stay_pure() {
    for (name, text) in sources() {
        if !NO_SYSTEM_CALLS.contains(&module_of(&name)) || is_test(&name) {
            continue;
        }
        for word in [
            "std::fs",
            "std::io",
            "std::net",
            "std::time",
            "std::thread",
            "std::process",
            "libc::",
            "Instant",
        ] {
            assert!(!code(&text).contains(word), "{name} uses {word}: it must stay free of clock and system");
        }
    }
}

#[test]
fn the_xdp_program_takes_frames_of_several_fragments() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/src/xblade.bpf.c");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("SEC(\"xdp.frags\")"), "veth refuses programs without frags at a large MTU");
}

/// Words that docs/GLOSSARY.md lists as gone. In one word, as a part of a name, in any case.
#[test]
fn the_words_that_went_stay_away() {
    const LIST: &str = "docs/GLOSSARY.md";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let glossary = fs::read_to_string(root.join(LIST)).unwrap();
    let (_, list) = glossary.split_once("## Words that are gone").unwrap();
    let gone: BTreeSet<_> =
        list.lines().filter(|line| line.starts_with("    ")).flat_map(str::split_whitespace).collect();
    assert!(gone.len() > 20, "only {} words were found", gone.len());
    let mut found = Vec::new();
    let listed =
        Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(&root).output();
    // Without git, as in a package of the sources, the product's own files are enough.
    let listed = listed.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default();
    for path in
        listed.lines().filter(|path| [".rs", ".md", ".c", ".h", ".sh"].iter().any(|end| path.ends_with(end)))
    {
        let kept = path == LIST || path.starts_with("docs/adr/") || path == "CHANGELOG.md";
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        if !kept {
            found.extend(gone_words(&text, &gone).into_iter().map(|word| format!("{path}: {word}")));
        }
    }
    assert!(found.is_empty(), "write the term of {LIST} instead:\n{}", found.join("\n"));
}

/// The words of a text that are gone: whole identifiers, or parts of them.
fn gone_words<'a>(text: &'a str, gone: &BTreeSet<&str>) -> Vec<&'a str> {
    let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|name| !name.is_empty());
    let is_gone = |name: &str| gone.contains(name.to_ascii_lowercase().as_str());
    let parts = |name: &str| {
        let mut spaced = String::new();
        for (before, c) in std::iter::once('_').chain(name.chars()).zip(name.chars()) {
            spaced.push_str(if before.is_lowercase() && c.is_uppercase() { "_" } else { "" });
            spaced.push(c);
        }
        spaced.split('_').map(str::to_owned).collect::<Vec<_>>()
    };
    names.filter(|name| is_gone(name) || parts(name).iter().any(|part| is_gone(part))).collect()
}

#[test]
fn the_detectors_detect() {
    assert_eq!(imported("use crate::wire::aoe;"), BTreeSet::from(["wire".to_owned()]));
    let both = BTreeSet::from(["ring".to_owned(), "wire".to_owned()]);
    assert_eq!(imported("use crate::{ring::Lane, wire};"), both);
    assert_eq!(imported("fn f() -> crate::ring::Frame { xblade::wire::g() }"), both);
    assert!(!code("// crate::ring is not for us").contains("ring"));
    let gone = BTreeSet::from(["quay", "lift_in"]);
    assert_eq!(
        gone_words("ExportQuay quay_of lift_in lift_into quayside", &gone),
        ["ExportQuay", "quay_of", "lift_in"]
    );
    assert!(!code("fn a() {}\n#[cfg(test)]\nmod tests { unsafe {} }").contains("unsafe"));
}
