//! The daemon, as a target.

use std::path::Path;

use crate::compare::case::Case;
use crate::compare::pair::End;
use crate::compare::shell;
use crate::conditions::condition;
use crate::outcome::Condition;

use super::EXPORT;

/// The export argument. The daemon checks the name of the store.
pub fn export(store: Option<&str>, case: &Case, file: &Path, mib: u64) -> String {
    let mut export = format!("{EXPORT}={}", file.display());
    if let Some(store) = store {
        export += &format!(",store={store}");
    }
    match store {
        // It has no file that gives the size, and stores nothing.
        Some("null") => export += &format!(",length={mib}MiB"),
        _ if !case.is_durable() && !export.contains(",sync=") => export += ",durability=volatile",
        _ => {}
    }
    export
}

/// The command that runs it, with the user's extra options at the end.
pub fn words(
    program: &Path,
    export: String,
    case: &Case,
    end: &End,
    core: usize,
    more: &[String],
) -> Vec<String> {
    let mut words = shell::words(&[&program.display(), &"serve", &export]);
    // A production instance may run beside it.
    words.extend(shell::split("--control none --state none"));
    words.extend(shell::words(&[&"--interface", &end.interface, &"--cores", &core]));
    // If the user gave one, it takes precedence.
    if !more.iter().any(|word| word.starts_with("--buffer-count")) {
        words.extend(shell::words(&[&"--buffer-count", &case.buffer_count()]));
    }
    [&words, more].concat()
}

/// Extracts from the daemon's log how it serves: its export and its rings.
pub fn told(log: &str) -> Vec<Condition> {
    let text = |line: &str| line.split_once("] ").map(|(_, text)| text.to_owned());
    let find =
        |what: &[&str]| log.lines().find(|line| what.iter().any(|word| line.contains(word))).and_then(text);
    let export = find(&[&format!("] {EXPORT}: ")]).map(|line| condition("store", line));
    let rings = find(&["copy-mode rings", "zero-copy rings"]).map(|line| condition("target's rings", line));
    let driver = find(&[": driver "]).map(|line| condition("target's interface", line));
    export.into_iter().chain(rings).chain(driver).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Op;
    use crate::compare::case::Durability;

    #[test]
    fn stores_are_passed_through_and_durability_is_the_case_s() {
        let durability = Durability::Durable;
        let durable = Case { op: Op::Write, durability, ..Case::default() };
        let volatile = Case { durability: Durability::Volatile, ..durable.clone() };
        let of = |store, case| export(store, case, Path::new("/d/f"), 7);
        assert_eq!(of(None, &volatile), "0.1=/d/f,durability=volatile");
        assert_eq!(of(None, &durable), "0.1=/d/f");
        assert_eq!(of(Some("direct"), &durable), "0.1=/d/f,store=direct");
        assert_eq!(of(Some("file"), &volatile), "0.1=/d/f,store=file,durability=volatile");
        assert_eq!(of(Some("null"), &volatile), "0.1=/d/f,store=null,length=7MiB");
    }

    #[test]
    fn it_advertises_as_many_in_flight_as_the_case_has_unless_told_otherwise() {
        let case = Case { window: 200, ..Case::default() };
        let end = End { namespace: "n".to_owned(), interface: "i" };
        let of = |case: &Case, more: &[String]| {
            words(Path::new("x"), "e".to_owned(), case, &end, 1, more).join(" ")
        };
        assert_eq!(
            of(&case, &[]),
            "x serve e --control none --state none --interface i --cores 1 --buffer-count 200"
        );
        assert!(of(&Case { window: 1, ..case.clone() }, &[]).ends_with("--buffer-count 64"));
        let own = ["--buffer-count=7".to_owned()];
        assert!(of(&case, &own).ends_with("--cores 1 --buffer-count=7"));
    }

    #[test]
    fn its_log_tells_how_it_serves() {
        let log = "[T INFO ] 0.1: /d/f (direct), 16 sectors\n[T INFO ] v0: driver veth, MTU 1500, 1 queue\n\
                   [T INFO ] v0 queue 0: copy-mode rings, rx 512\n[T INFO ] ready: 1 export on v0\n";
        let told = told(log);
        let values: Vec<(&str, &str)> = told.iter().map(|c| (c.name.as_str(), c.value.as_str())).collect();
        assert_eq!(
            values,
            [
                ("store", "0.1: /d/f (direct), 16 sectors"),
                ("target's rings", "v0 queue 0: copy-mode rings, rx 512"),
                ("target's interface", "v0: driver veth, MTU 1500, 1 queue"),
            ]
        );
    }
}
