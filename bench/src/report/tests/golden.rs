//! Compares every file of a report with a stored copy, and checks what holds for all
//! reports.
//!
//! After an intended change, run `UPDATE_GOLDENS=1 cargo test -p xblade-bench golden`, and
//! review the changes in `bench/tests/golden/`.

use std::fs;
use std::path::Path;

use super::super::*;
use super::fixture;
use crate::outcome::Condition;

#[test]
fn every_file_is_as_it_was() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let document = fixture::document();
    if std::env::var_os("UPDATE_GOLDENS").is_some_and(|value| value == "1") {
        let _ = fs::remove_dir_all(&golden);
        write_all(&document, &golden).unwrap();
    }
    let files = files(&document).unwrap();
    for (name, text) in &files {
        let before = fs::read_to_string(golden.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = before.lines().zip(text.lines()).enumerate();
        let differs = lines.map(|(at, (a, b))| (at + 1, a, b)).find(|(_, a, b)| a != b);
        assert!(before == *text, "{name} differs, first here: {differs:#?}");
    }
    assert_eq!(fs::read_dir(&golden).unwrap().count(), files.len());
    assert_eq!(result::read(&golden.join("result.json")).unwrap(), document);
}

/// A document in which every text is hostile.
fn hostile() -> Document {
    let text = || "</style><script src=\"//evil/\">&amp;'\u{1}|`\n# x".to_owned();
    let mut document = fixture::document();
    (document.title, document.verdict) = (text(), text());
    document.conditions.push(Condition { name: text(), value: text() });
    document.warnings = vec![text()];
    for section in &mut document.sections {
        section.title = text();
        if section.table.is_some() {
            let mut table = Table::new([text(), text()]);
            table.row([text(), text()]);
            section.table = Some(table);
        }
        for outcome in &mut section.outcomes {
            (outcome.name, outcome.version) = (text(), text());
            (outcome.setup.op, outcome.setup.pattern, outcome.setup.port) = (text(), text(), text());
            outcome.setup.exports = vec![text()];
            outcome.conditions = vec![Condition { name: text(), value: text() }];
            outcome.warnings = vec![text()];
            outcome.trouble.last_error = Some(text());
            if let Some(verify) = &mut outcome.verify {
                verify.faults = [(text(), 1)].into();
                verify.examples = vec![text()];
            }
        }
    }
    document
}

#[test]
fn html_and_svg_are_well_formed_and_refer_to_nothing_outside_whatever_the_names_are() {
    let empty = Document { sections: vec![Section::default()], ..Document::default() };
    for document in [fixture::document(), hostile(), empty, Document::default()] {
        for (name, text) in files(&document).unwrap() {
            let markup = [".html", ".svg"].iter().any(|end| name.ends_with(end));
            if !markup {
                continue;
            }
            let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
            let tree = roxmltree::Document::parse_with_options(&text, options)
                .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            assert!(tree.descendants().all(|node| !node.has_tag_name("script")), "{name}");
            for node in tree.descendants() {
                for attribute in node.attributes() {
                    let outside = ["src", "href", "data", "action"].contains(&attribute.name())
                        && !attribute.value().starts_with('#');
                    assert!(!outside && !attribute.name().starts_with("on"), "{name}: {attribute:?}");
                }
            }
            let plain = text.replace("xmlns=\"http://www.w3.org/", "");
            for word in ["http://", "https://", " src=", "@import", "url("] {
                // In text outside tags a name may contain anything, because it has no
                // quotes there.
                assert!(!plain.contains(word) || word == " src=", "{name} has {word}");
            }
            assert!(!plain.contains("src=\""), "{name}");
        }
    }
}

#[test]
fn names_do_not_break_lines_or_tables() {
    let document = hostile();
    let text = text::markdown(&document);
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let bars = line.replace("\\|", "").matches('|').count();
        assert!(bars == 3 || bars > 9, "{line}");
    }
    assert!(text.lines().all(|line| !line.starts_with("# x")), "{text}");
    for outcome in document.sections.iter().flat_map(|section| &section.outcomes) {
        let log = hgrm::hlog(outcome);
        let known =
            |line: &str| line.starts_with("#[") || line.starts_with("Tag=") || line.starts_with("\"Start");
        assert!(log.lines().all(known), "{log}");
    }
    let files = files(&document).unwrap();
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    assert!(files.iter().all(|(name, _)| name.chars().all(harmless) && !name.starts_with('.')));
}
