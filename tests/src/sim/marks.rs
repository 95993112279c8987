//! Counts of noteworthy events.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Counts by name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Marks(BTreeMap<Cow<'static, str>, u64>);

impl Marks {
    /// Counts an event.
    pub(super) fn hit(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts `n` events.
    pub(super) fn add(&mut self, name: impl Into<Cow<'static, str>>, n: u64) {
        *self.0.entry(name.into()).or_default() += n;
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, n)| self.add(name.clone(), *n));
    }

    /// Number of times that this happened.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, n)| writeln!(f, "{n:>12}  {name}"))
    }
}
