//! Names of outcomes, in reports and in file names.

use crate::outcome::Outcome;

/// Maximum length of a slug.
const SLUG_MAX: usize = 40;

/// A label for each; duplicates get a number.
pub fn labels(outcomes: &[Outcome]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for outcome in outcomes {
        let plain = label(outcome);
        let mut one = plain.clone();
        let mut number = 2;
        while labels.contains(&one) {
            one = format!("{plain} ({number})");
            number += 1;
        }
        labels.push(one);
    }
    labels
}

fn label(outcome: &Outcome) -> String {
    match (outcome.name.as_str(), outcome.setup.exports.as_slice()) {
        ("", []) => "load".to_owned(),
        ("", exports) => format!("export {}", exports.join(", ")),
        (name, _) => name.to_owned(),
    }
}

/// Reduces text to letters, digits and dashes.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c {
            _ if slug.len() >= SLUG_MAX => break,
            'a'..='z' | '0'..='9' => slug.push(c),
            'A'..='Z' => slug.push(c.to_ascii_lowercase()),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_harmless() {
        let named = |name: &str| Outcome { name: name.to_owned(), ..Outcome::default() };
        let all = [named("a"), named("a"), named("a (2)"), named("")];
        assert_eq!(labels(&all), ["a", "a (2)", "a (2) (2)", "load"]);
        assert_eq!(slug("vblade -b 64 ../../etc/passwd"), "vblade-b-64-etc-passwd");
        assert_eq!(slug("70 % read, µs"), "70-read-s");
        assert!(slug(&"x ".repeat(100)).len() <= SLUG_MAX);
    }
}
