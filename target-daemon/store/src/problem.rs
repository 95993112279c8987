//! What is wrong and its remedy, apart. They are joined only where they are shown.

use std::fmt;

/// A problem, and what the operator can do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The problem, with the thing and the value. Empty if the remedy says it all.
    pub what: String,
    /// The remedy; may be empty.
    pub remedy: String,
}

impl Problem {
    /// A problem and its remedy.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.what.is_empty() || self.remedy.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.what, self.remedy)
    }
}

impl std::error::Error for Problem {}
