//! Files with mistakes, and the complete output for each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use xblade::config;

use crate::golden;

/// Host names that every file may use.
const ETHERS: &str = "52:54:00:00:00:07 backup\n52:54:00:00:00:08 database\n";

fn files(ending: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    files
}

#[test]
fn golden_messages() {
    let files = files("toml");
    assert!(files.len() >= 40, "only {} files with mistakes", files.len());
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        let told = config::parse("xblade.toml", &text, ETHERS).complete().expect_err("a mistake").to_string();
        golden::check_file(&path.with_extension("expected"), &format!("{told}\n"));
    }
    for expected in self::files("expected") {
        assert!(files.contains(&expected.with_extension("toml")), "{}: of no file", expected.display());
    }
}

/// Each error has a location, the line, a mark and a remedy.
#[test]
fn every_message_has_all_its_parts() {
    let mut kinds = BTreeSet::new();
    for path in files("expected") {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let heads: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].starts_with("xblade.toml:")).collect();
        let (last, heads) = heads.split_last().unwrap();
        assert_eq!(*last, lines.len() - 1, "{}", path.display());
        let count = heads.len();
        let total = format!("xblade.toml: {count} fault{}", if count == 1 { "" } else { "s" });
        // After a syntax error, not all errors can be found.
        let hides = "; others may show when these are corrected";
        assert_eq!(lines[*last].trim_end_matches(hides), total);
        for (n, head) in heads.iter().enumerate() {
            let block = &lines[*head..*heads.get(n + 1).unwrap_or(last)];
            let place: Vec<&str> = block[0].splitn(4, ':').collect();
            let number: usize = place[1].parse().unwrap();
            assert!(place[2].parse::<usize>().is_ok_and(|column| column > 0), "{}", block[0]);
            assert!(place[3].len() > 5, "{}: says nothing", path.display());
            assert!(
                block.iter().any(|line| line.starts_with(&format!("{number:4} | "))),
                "{}",
                path.display()
            );
            assert!(block.iter().any(|line| line.contains('^')), "{}: no mark", path.display());
            assert!(block.last().unwrap().starts_with("     = "), "{}: no remedy", path.display());
            // Without names, numbers and quoted text.
            let words = place[3].split(' ').filter(|w| w.chars().all(|c| c.is_ascii_lowercase()));
            kinds.insert(words.collect::<Vec<_>>().join(" "));
        }
    }
    assert!(kinds.len() >= 30, "only {} kinds of mistakes: {kinds:#?}", kinds.len());
}
