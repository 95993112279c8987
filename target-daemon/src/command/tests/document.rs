//! docs/PROTOCOL.md names files and tests: they exist.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The source file of a test: that of its module, or of the one around it.
fn source_of(root: &Path, modules: &[&str]) -> PathBuf {
    let own = root.join(modules.join("/")).with_extension("rs");
    match modules.split_last() {
        Some((_, outer)) if !own.exists() => root.join(outer.join("/")).with_extension("rs"),
        _ => own,
    }
}

#[test]
fn every_rule_names_a_file_and_a_test_that_exist() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.join("src");
    let text = std::fs::read_to_string(manifest.join("../docs/PROTOCOL.md")).unwrap();
    let mut seen = HashSet::new();
    for row in text.lines().filter(|line| line.starts_with("| P-")) {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let &[_, id, rule, file, test, _wire, _] = cells.as_slice() else {
            panic!("six bars, not more or less: {row}")
        };
        assert!(seen.insert(id.to_owned()), "{id} is there twice");
        assert!(!rule.is_empty(), "{id} says something");
        assert!(root.join(file).exists(), "{id}: {file}");
        let path: Vec<_> = test.split("::").collect();
        let (name, modules) = path.split_last().unwrap();
        let source = std::fs::read_to_string(source_of(&root, modules)).unwrap_or_default();
        assert!(source.contains(&format!("fn {name}(")), "{id}: {test}");
    }
    assert!(seen.len() > 50, "the tables were found");
}
