//! What the documents name exists: files, and for every row of docs/PROTOCOL.md the tests
//! and rules that check it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use xblade_tests::rules;

/// Rows that are not visible in any frame.
const NO_FRAME: [&str; 4] = ["P-HDR-12", "P-ADR-3", "P-ADR-4", "P-QRY-11"];

/// Directories in which documents name paths.
const FOLDERS: [&str; 5] = ["target-daemon", "tests", "ebpf", "bench", "deploy"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

struct Row {
    id: String,
    file: String,
    test: String,
    /// The contents of the last cell.
    wire: Vec<String>,
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let &[_, id, rule, file, test, wire, _] = cells.as_slice() else {
            panic!("six bars, not more or less: {line}")
        };
        assert!(!rule.is_empty(), "{id} says something");
        let name = |cell: &str| cell.trim_matches('`').to_owned();
        let wire = wire.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Row { id: id.to_owned(), file: name(file), test: name(test), wire }
    };
    let rows: Vec<_> =
        text("docs/PROTOCOL.md").lines().filter(|line| line.starts_with("| P-")).map(row).collect();
    assert!(rows.len() > 50, "the tables were found");
    rows
}

/// A path as documents write it: `ring/lane.rs` for `target-daemon/ring/src/lane.rs`.
fn plain(path: &str) -> String {
    path.replace("/src/", "/").replace("target-daemon/target/", "target-daemon/")
}

/// The file with this plain path below `target-daemon`.
fn product_file(file: &str) -> Option<String> {
    let wanted = format!("target-daemon/{file}");
    paths().into_iter().find(|path| plain(path) == wanted)
}

/// The source of a test: the file of its module, or of the one around it.
fn source_of(modules: &[&str]) -> String {
    let candidates =
        [modules, &modules[..modules.len() - 1]].map(|modules| format!("{}.rs", modules.join("/")));
    let found = candidates.iter().find_map(|file| match modules[0] {
        "tests" => Some(format!("tests/{file}")).filter(|file| root().join(file).is_file()),
        _ => product_file(file),
    });
    found.map(text).unwrap_or_default()
}

/// Whether the source has this function as a test.
fn has_test(source: &str, name: &str) -> bool {
    source.split_once(&format!("fn {name}(")).is_some_and(|(before, _)| {
        let before = before.trim_end_matches("pub ");
        let mut above = before.lines().rev().map(str::trim).skip_while(|line| line.is_empty());
        above
            .find(|line| !line.starts_with("//") && !line.starts_with("#[cfg("))
            .is_some_and(|line| ["#[test]", "#[apply(needs_root!)]"].contains(&line))
    })
}

/// Whether the code of a module of the library names another module.
fn imports(module: &str, other: &str) -> bool {
    let below = format!("target-daemon/{module}/");
    let rust = |path: &&String| plain(path).starts_with(&below) && path.ends_with(".rs");
    paths().iter().filter(rust).any(|path| text(path).contains(&format!("crate::{other}")))
}

/// All files and directories of the tree.
fn paths() -> HashSet<String> {
    fn walk(folder: &Path, root: &Path, found: &mut HashSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') || path == root.join("target") {
                continue;
            }
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                walk(&path, root, found);
            }
        }
    }
    let mut found = HashSet::new();
    walk(&root(), &root(), &mut found);
    found
}

/// The paths of the tree that a line of a document names: in backticks also without the
/// directories before them (`worker/export_set.rs`), in an example of commands only from
/// the top.
fn named_paths<'a>(line: &'a str, modules: &HashSet<String>) -> Vec<&'a str> {
    let is_example = line.starts_with("    ");
    let spans: Vec<_> = if is_example { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
    let words = spans.into_iter().flat_map(str::split_whitespace);
    let words = words.map(|word| word.trim_matches(|c: char| ".,;()'\"".contains(c)));
    let is_path = |word: &&str| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        let first = word.split('/').next().unwrap();
        let known = FOLDERS.contains(&first) || !is_example && modules.contains(first);
        plain && (word.contains('/') && known || word.ends_with(".rs") && !is_example)
    };
    words.filter(is_path).collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    let paths = paths();
    let in_library =
        |path: &String| Some(plain(path).strip_prefix("target-daemon/")?.split_once('/')?.0.to_owned());
    let modules: HashSet<_> = paths.iter().filter_map(in_library).collect();
    let mut documents: Vec<_> = paths
        .iter()
        .filter(|path| {
            path.ends_with(".md") && path.rsplit_once('/').is_none_or(|(folder, _)| folder == "docs")
        })
        .collect();
    documents.sort();
    let (mut seen, mut missing) = (0, Vec::new());
    for document in documents {
        for (number, line) in text(document).lines().enumerate() {
            for path in named_paths(line, &modules) {
                let whole = path.trim_end_matches('/');
                let ends = |other: &String| {
                    [other.as_str(), &plain(other)].iter().any(|other| {
                        other.strip_suffix(whole).is_some_and(|head| head.is_empty() || head.ends_with('/'))
                    })
                };
                seen += 1;
                if !paths.iter().any(ends) {
                    missing.push(format!("{document}:{}: {path}", number + 1));
                }
            }
        }
    }
    assert!(seen > 200, "only {seen} paths were found");
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

/// A test covers its own module and the modules that it imports: the file of the rule must
/// be in one of these.
#[test]
fn every_row_names_a_file_and_a_test_that_can_see_it() {
    let mut seen = HashSet::new();
    for Row { id, file, test, .. } in rows() {
        assert!(seen.insert(id.clone()), "{id} is there twice");
        assert!(product_file(&file).is_some(), "{id}: {file}");
        let path: Vec<_> = test.split("::").collect();
        let (name, modules) = path.split_last().unwrap();
        assert!(has_test(&source_of(modules), name), "{id}: no test {test}");
        let (of_test, of_file) = (modules[0], file.split('/').next().unwrap());
        let sees = of_test == "tests" || of_test == of_file || imports(of_test, of_file);
        assert!(sees, "{id}: {test} cannot see {file}");
    }
}

/// The names of all tests: functions with an attribute of a test, and those that a macro makes
/// tests of.
fn tests() -> HashSet<String> {
    let mut found = HashSet::new();
    for path in paths().iter().filter(|path| path.ends_with(".rs")) {
        let source = text(path);
        let functions = source.match_indices("fn ").filter_map(|(at, _)| {
            let name: String =
                source[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            has_test(&source[..], &name).then_some(name)
        });
        found.extend(functions);
        for list in source.split("every_kind!(").skip(1).filter_map(|rest| rest.split_once(')')) {
            found.extend(list.0.split(',').map(|name| name.trim().to_owned()));
        }
    }
    assert!(found.len() > 500, "only {} tests were found", found.len());
    found
}

/// The points of a list below a heading, each with the lines that continue it.
fn points(document: &str, heading: &str) -> Vec<String> {
    let section = document.split_once(heading).unwrap_or_else(|| panic!("no {heading}")).1;
    let section = section.split("\n## ").next().unwrap();
    let mut points: Vec<String> = Vec::new();
    for line in section.lines() {
        match points.last_mut() {
            _ if line.starts_with("- ") => points.push(line.to_owned()),
            Some(point) if line.starts_with("  ") => *point += line,
            _ => {}
        }
    }
    points
}

#[test]
fn every_threat_that_is_defended_names_tests_that_exist() {
    let (document, tests) = (text("docs/THREATS.md"), tests());
    for (heading, least) in [("\n## Defended\n", 15), ("\n## A process that was taken over\n", 12)] {
        let points = points(&document, heading);
        assert!(points.len() >= least, "{heading}: {points:#?}");
        for point in points {
            // Behind the last bracket: those of the text name other things.
            let named = point.rsplit_once(" (").map_or("", |(_, named)| named);
            let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
            let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
            assert!(missing.is_empty(), "{point}\nthere are no tests {missing:?}");
            assert!(!named.is_empty() || point.ends_with(": no test"), "{point}\nnames no test");
        }
    }
}

#[test]
fn every_row_names_rules_that_claim_it() {
    let rules: HashMap<_, _> = rules::all().into_iter().map(|rule| (rule.name, rule.ids)).collect();
    let real = include_str!("real.rs");
    for Row { id, wire, .. } in rows() {
        assert_eq!(wire.is_empty(), NO_FRAME.contains(&id.as_str()), "{id}: {wire:?}");
        for name in &wire {
            match name.strip_prefix("real::") {
                Some(test) => assert!(has_test(real, test), "{id}: {name}"),
                None => {
                    let claims = rules.get(name.as_str()).unwrap_or_else(|| panic!("{id}: no rule {name}"));
                    assert!(claims.contains(&id.as_str()), "{name} does not claim {id}");
                }
            }
        }
    }
}

#[test]
fn every_rule_claims_rows_that_exist() {
    let rows: HashSet<_> = rows().into_iter().map(|row| row.id).collect();
    let mut names = HashSet::new();
    for rule in rules::all() {
        assert!(names.insert(rule.name), "{} is there twice", rule.name);
        assert!(!rule.ids.is_empty(), "{} claims a row", rule.name);
        for id in rule.ids {
            assert!(rows.contains(*id), "{} claims {id}", rule.name);
        }
    }
}
