//! The verdict of a comparison: one sentence.

use crate::outcome::{Ratio, Spread};
use crate::report::Section;

/// Rounds of one build differ by as much.
const NOISE: f64 = 1.03;

/// What sets a bound, and is no contestant: it stores nothing, or has no network.
fn is_bound(target: &str) -> bool {
    ["echo", "fio"].iter().any(|bound| target.starts_with(bound)) || target.contains("store=null")
}

/// Who is fastest, by what factor, and whether a row is suspect.
pub fn of(sections: &[Section], warnings: &[String]) -> String {
    let rows: usize = sections.iter().map(|section| section.outcomes.len()).sum();
    let outcomes = || sections.iter().flat_map(|section| &section.outcomes);
    let suspect = outcomes().filter(|outcome| !outcome.warnings.is_empty()).count();
    let trust = match (suspect, warnings.is_empty()) {
        (0, true) => "no row is suspect".to_owned(),
        (0, false) => "the conditions are suspect".to_owned(),
        (_, true) => format!("{suspect} of {rows} rows are suspect"),
        (_, false) => format!("{suspect} of {rows} rows and the conditions are suspect"),
    };
    fastest(sections)
        .map_or_else(|| format!("Nothing to compare; {trust}."), |fastest| format!("{fastest}; {trust}."))
}

/// The target that is fastest in most cases, beside the next.
fn fastest(sections: &[Section]) -> Option<String> {
    let best = |section: &Section| {
        let rows = section.rows.iter().filter(|row| !is_bound(&row.target));
        rows.max_by(|a, b| a.iops.median.total_cmp(&b.iops.median)).map(|row| row.target.clone())
    };
    let wins: Vec<String> = sections.iter().filter_map(best).collect();
    let won = |name: &String| wins.iter().filter(|win| *win == name).count();
    let first = wins.iter().rev().max_by_key(|name| won(name))?;
    let factor = |other: &str| {
        let of = |section: &Section| {
            let iops = |name: &str| Some(section.rows.iter().find(|row| row.target == name)?.iops.median);
            Some(iops(first)? / iops(other)?)
        };
        Spread::of(sections.iter().filter_map(of))
    };
    let others = sections.iter().flat_map(|section| &section.rows).map(|row| row.target.as_str());
    let others = others.filter(|name| !is_bound(name) && name != first);
    let next = others.filter_map(|name| Some((name, factor(name)?)));
    let next = next.min_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    let cases = match (won(first), sections.len()) {
        (_, 1) => String::new(),
        (won, all) if won == all => format!(" in all {all} cases"),
        (won, all) => format!(" in {won} of {all} cases"),
    };
    let over = |(name, Spread { least, median, most }): (&str, Spread)| {
        let range = if sections.len() > 1 { format!(" ({least:.2}–{most:.2})") } else { String::new() };
        let no_faster = if median < NOISE { ", which is no more than noise" } else { "" };
        format!(", at {median:.2} times the rate of {name}{range}{no_faster}")
    };
    let bound = |to: &str| {
        let of = |ratio: &Ratio| (ratio.target == *first && ratio.to == to).then_some(ratio.rounds.median);
        let all = sections.iter().flat_map(|section| &section.ratios).filter_map(of);
        Spread::of(all).map_or(String::new(), |all| format!(", {:.2} of {to}", all.median))
    };
    let next = next.map_or(String::new(), over);
    Some(format!("{first} is fastest{cases}{next}{}{}", bound("echo"), bound("fio")))
}

#[cfg(test)]
mod tests {
    use super::super::tests as fake;
    use super::*;

    /// Cases with these rates of the targets.
    fn cases<const N: usize>(targets: &[&str; N], rates: &[[f64; N]]) -> Vec<Section> {
        let case = |rates| super::super::section(String::new(), fake::rounds(targets, &[rates]));
        let clean = |mut section: Section| {
            section.outcomes.iter_mut().for_each(|outcome| outcome.warnings.clear());
            section
        };
        rates.iter().map(|rates| clean(case(*rates))).collect()
    }

    const TARGETS: [&str; 5] =
        ["echo", "xblade store=null", "before store=mmap", "xblade store=mmap", "vblade"];

    #[test]
    fn it_names_the_fastest_that_stores_data_and_the_next() {
        let one = cases(&TARGETS, &[[400.0, 300.0, 160.0, 200.0, 100.0]]);
        let said = "xblade store=mmap is fastest, at 1.25 times the rate of before store=mmap, 0.50 of echo; \
                    no row is suspect.";
        assert_eq!(of(&one, &[]), said);
        let three = [
            [400.0, 300.0, 160.0, 200.0, 100.0],
            [400.0, 9.0, 100.0, 80.0, 1.0],
            [100.0, 9.0, 40.0, 60.0, 9.0],
        ];
        let said = "xblade store=mmap is fastest in 2 of 3 cases, at 1.25 times the rate of before store=mmap \
                    (0.80–1.50), 0.50 of echo; the conditions are suspect.";
        assert_eq!(of(&cases(&TARGETS, &three), &["busy".to_owned()]), said);
        let tie = cases(&TARGETS, &[[400.0, 300.0, 98.5, 100.0, 50.0]]);
        let said = "xblade store=mmap is fastest, at 1.02 times the rate of before store=mmap, which is no more than \
                    noise, 0.25 of echo; no row is suspect.";
        assert_eq!(of(&tie, &[]), said);
        let only = cases(&["fio", "xblade store=direct"], &[[100.0, 80.0], [100.0, 60.0]]);
        let said = "xblade store=direct is fastest in all 2 cases, 0.70 of fio; no row is suspect.";
        assert_eq!(of(&only, &[]), said);
    }

    #[test]
    fn it_counts_suspect_rows() {
        let mut two = cases(&TARGETS, &[[5.0, 4.0, 3.0, 2.0, 1.0]; 2]);
        two[1].outcomes[0].warnings = vec!["x".to_owned(), "y".to_owned()];
        assert!(of(&two, &[]).ends_with("; 1 of 10 rows are suspect."), "{}", of(&two, &[]));
        assert!(of(&two, &["z".to_owned()]).ends_with("; 1 of 10 rows and the conditions are suspect."));
        assert_eq!(of(&cases(&["echo"], &[[5.0]]), &[]), "Nothing to compare; no row is suspect.");
    }
}
