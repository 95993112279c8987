//! Checks the documentation of the configuration, and the initial file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xblade::config::{self, KEYS};
use xblade::store::{AUTO, ENGINES, Takes};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap()
}

/// The text below each second-level heading.
fn chapters(text: &str) -> BTreeMap<String, String> {
    let chapters = text.split("\n## ").skip(1);
    chapters
        .map(|chapter| chapter.split_once('\n').unwrap())
        .map(|(h, t)| (h.to_owned(), t.to_owned()))
        .collect()
}

/// The cells of the rows whose first cell is a key.
fn rows(chapter: &str) -> BTreeMap<String, Vec<String>> {
    let lines = chapter.lines().filter(|line| line.starts_with("| `"));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect());
    cells.map(|cells: Vec<String>| (cells[0].trim_matches('`').to_owned(), cells)).collect()
}

fn heading(section: &str) -> String {
    if section.is_empty() { "Top of the file".to_owned() } else { format!("`{section}`") }
}

#[test]
fn every_key_is_documented_and_no_other() {
    let chapters = chapters(&read("docs/CONFIGURATION.md"));
    for (section, keys) in KEYS.iter() {
        let heading = heading(section);
        let chapter = chapters.get(&heading).unwrap_or_else(|| panic!("no chapter {heading}"));
        let rows = rows(chapter);
        for key in keys {
            let cells = rows.get(*key).unwrap_or_else(|| panic!("{heading} has no row for {key}"));
            assert!(cells.len() == 4 && cells[1].len() > 3 && cells[3].len() > 8, "{key}: {cells:?}");
        }
        for key in rows.keys() {
            assert!(keys.contains(&key.as_str()), "{heading} explains {key}, which is no key");
        }
    }
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let chapters = chapters(&read("docs/CONFIGURATION.md"));
    let text = "interfaces = ['eth1']\n[[export]]\naddress = '0.1'\npath = '/d'\nhost-iops = 1
        [[host-limit]]\nhosts = ['02:00:00:00:00:01']\nbytes-per-second = '1MiB'\n[rings]\nbusy-poll = 1";
    let serve = config::parse("f", text, "").complete().unwrap();
    let shown: toml::Table = config::to_toml(&serve).unwrap().parse().unwrap();
    let given = [
        "interfaces",
        "address",
        "path",
        "busy-poll",
        "allow",
        "acl",
        "host-iops",
        "hosts",
        "exports",
        "control-group",
        "admin-group",
        "user",
    ];
    let mut compared = 0;
    for (section, keys) in KEYS.iter() {
        let table = match section.trim_matches(['[', ']']) {
            "" => &shown,
            name @ ("export" | "host-limit") => shown[name][0].as_table().unwrap(),
            name => shown[name].as_table().unwrap(),
        };
        let rows = rows(&chapters[&heading(section)]);
        // Not that of an engine without a file.
        let other = |key: &str| config::options().any(|o| o.key == key && !o.is_shown_with(&ENGINES[0]));
        // That of an export is that of the top.
        let is_of_top = |key: &str| *section == "[[export]]" && key == "host-settings";
        let is_rate = |key: &str| *section == "[[host-limit]]" && key == "bytes-per-second";
        let is_compared =
            |key: &str| !given.contains(&key) && !other(key) && !is_of_top(key) && !is_rate(key);
        for key in keys.iter().filter(|key| is_compared(key)) {
            let value = table.get(*key).unwrap_or_else(|| panic!("show leaves out {key}"));
            if !value.is_table() && !matches!(*key, "export" | "host-limit") {
                assert_eq!(rows[*key][2], format!("`{value}`"), "the default of {key}");
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "only {compared} defaults");
}

/// Each option of an export has its row in its place, with its type and every word that it
/// takes; each engine has its row among the promises.
#[test]
fn the_options_are_those_of_the_tables() {
    let chapters = chapters(&read("docs/CONFIGURATION.md"));
    let chapter = &chapters["`[[export]]`"];
    let (rows, mut place) = (rows(chapter), 0);
    for option in config::options() {
        let cells = &rows[option.key];
        let kind = match option.takes {
            Takes::Flag => "true or false",
            Takes::Bytes { .. } => "size",
            Takes::Rate => "size",
            Takes::Words(_) | Takes::Store => "text",
            Takes::Number { .. } => "number",
            Takes::Hosts => "hosts",
            Takes::Vlans => "number, text or list",
            Takes::Interfaces => "list of text",
        };
        assert_eq!(cells[1], kind, "the type of {}", option.key);
        for word in option.words() {
            assert!(cells[2..].join(" ").contains(&format!("\"{word}\"")), "{}: {word}", option.key);
        }
        let at = chapter.find(&format!("\n| `{}` |", option.key)).unwrap();
        assert!(at > place, "the row of {} is before that of an earlier option", option.key);
        place = at;
    }
    let promises = read("docs/DURABILITY.md");
    for engine in ENGINES.iter().filter(|engine| engine.name != AUTO) {
        let is_there = |line: &str| line.starts_with("| `") && line.contains(&format!("`{}`", engine.name));
        assert!(promises.lines().any(is_there), "no promise for store={}", engine.name);
    }
}

/// The examples, completed to whole files where they are only parts.
fn examples(path: &str) -> Vec<String> {
    let text = read(path);
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let whole = |block: &str| {
        let top = if block.contains("interfaces =") { "" } else { "interfaces = ['eth1']\n" };
        let end =
            if block.contains("[[export]]") { "" } else { "[[export]]\naddress = '0.1'\npath = '/d'\n" };
        format!("{top}{block}{end}")
    };
    blocks.map(whole).collect()
}

#[test]
fn the_examples_are_good() {
    for path in ["docs/CONFIGURATION.md", "docs/MIGRATING.md", "docs/OPERATING.md"] {
        let examples = examples(path);
        assert!(!examples.is_empty() || path.ends_with("OPERATING.md"), "{path} has no example");
        for text in examples {
            if let Err(faults) = config::parse(path, &text, "").complete() {
                panic!("{path}:\n{text}\n{faults}");
            }
        }
    }
}

/// As it is, and with every example enabled.
#[test]
fn the_file_to_begin_with_is_good() {
    let text = read("deploy/xblade.toml");
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') => example.to_owned(),
        _ => line.to_owned(),
    };
    let full: String = text.lines().map(|l| line(l) + "\n").collect();
    for (text, exports) in [(text.clone(), 1), (full, 5)] {
        match config::parse("deploy/xblade.toml", &text, "").complete() {
            Ok(serve) => assert_eq!(serve.exports.len(), exports),
            Err(faults) => panic!("{faults}"),
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xblade"))
        .args(["check", "--config"])
        .arg(root("deploy/xblade.toml"))
        .output()
        .unwrap();
    // This machine may not have its disk, but the file itself has no errors.
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{told}");
    assert!(told.is_empty() || told.starts_with("On this machine:"), "{told}");
}
