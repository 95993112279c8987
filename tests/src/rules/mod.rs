//! The rules of the protocol, each one a function that asks and judges.
//!
//! A rule leaves an export as it found it, but for the data of the sectors
//! that are its own: of 7.3, `WRITTEN` to the end.

mod address;
mod ata;
mod device;
mod link;
mod mask;
mod order;
mod query;
mod reserve;
mod transfer;
mod trim;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Bench;

/// First sector of 7.3 that a rule may write. The others are as at first.
pub const WRITTEN: u64 = 1024;

/// One rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// What it demands, behind the module that it stands in.
    pub name: &'static str,
    /// Which rows of docs/PROTOCOL.md it sees kept.
    pub ids: &'static [&'static str],
    /// Panics if the target breaks it.
    pub check: fn(&mut Bench<'_>),
}

/// All of them.
pub fn all() -> Vec<Rule> {
    let tables = [
        link::RULES,
        address::RULES,
        query::RULES,
        mask::RULES,
        reserve::RULES,
        ata::RULES,
        transfer::RULES,
        order::RULES,
        trim::RULES,
        device::RULES,
    ];
    let mut rules = tables.concat();
    for rule in &mut rules {
        rule.name = rule.name.trim_start_matches(concat!(module_path!(), "::"));
    }
    rules
}

/// Checks each rule on a bench of its own, and panics with the names of those
/// that were broken.
pub fn check_all(mut on_bench: impl FnMut(&Rule, &mut dyn FnMut(&mut Bench<'_>))) {
    let rules = all();
    let mut broken = Vec::new();
    for rule in &rules {
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let mut ran = false;
            on_bench(rule, &mut |bench| {
                (rule.check)(bench);
                ran = true;
            });
            assert!(ran, "no bench for {}", rule.name);
        }));
        if checked.is_err() {
            broken.push(rule.name);
        }
    }
    assert!(broken.is_empty(), "{} of {} rules broken (see above): {broken:#?}", broken.len(), rules.len());
}

/// Shorthand for the tables.
macro_rules! rules {
    ($($name:ident [$($id:literal)*])*) => {
        pub(super) const RULES: &[super::Rule] = &[
            $(super::Rule { name: concat!(module_path!(), "::", stringify!($name)), ids: &[$($id),*], check: $name }),*
        ];
    };
}
pub(crate) use rules;
