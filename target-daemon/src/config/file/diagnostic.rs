//! What is wrong with a file, and how an operator is told: where it is, the
//! line itself, a mark under the value, and what to do.
//!
//! ```text
//! xblade.toml:7:11: rx-ring = 100 is not possible
//!    7 | rx-ring = 100
//!      |           ^^^
//!      = give a power of two from 64 to 65536
//! ```

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// Bytes of the text.
pub type Span = Range<usize>;

/// What sort of fault it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The text cannot be read.
    Syntax,
    /// The text was not closed: all that follows may be misread.
    Open,
    /// A key or value.
    Value,
    /// Something is not there. Where the text cannot be read, it may be.
    Missing,
}

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Where.
    pub at: Span,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Another place that has to do with it, before this one, and what it is.
    pub other: Option<(Span, &'static str)>,
    /// What sort it is.
    pub sort: Severity,
}

impl Diagnostic {
    /// A fault of a key or value.
    pub fn value(at: Span, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, message: message.into(), remedy: remedy.into(), other: None, sort: Severity::Value }
    }

    /// Something that is not there, and where it should be.
    pub fn missing(at: Span, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { sort: Severity::Missing, ..Self::value(at, message, remedy) }
    }

    /// Names another place.
    #[must_use]
    pub fn with(mut self, other: Span, what: &'static str) -> Self {
        self.other = Some((other, what));
        self
    }
}

/// Where faults are put as they are found.
#[derive(Default, Debug)]
pub struct Collector(RefCell<Vec<Diagnostic>>);

impl Collector {
    /// Puts one.
    pub fn put(&self, fault: Diagnostic) {
        self.0.borrow_mut().push(fault);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// All of them.
    pub fn into_inner(self) -> Vec<Diagnostic> {
        self.0.into_inner()
    }
}

/// All faults of a file, in the order of their places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostics {
    name: String,
    text: String,
    faults: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Faults of a file that is called so and has this text. Leaves out those
    /// that may only follow from what could not be read.
    pub fn new(name: &str, text: &str, mut faults: Vec<Diagnostic>) -> Self {
        faults.sort_by_key(|fault| (fault.at.start, fault.sort != Severity::Open));
        let line = |fault: &Diagnostic| line_of(text, fault.at.start);
        let unread: Vec<usize> =
            faults.iter().filter(|f| matches!(f.sort, Severity::Syntax | Severity::Open)).map(line).collect();
        let open = faults.iter().filter(|f| f.sort == Severity::Open).map(|f| f.at.start).min();
        let mut told_of = Vec::new();
        faults.retain(|fault| {
            let line = line(fault);
            let follows = open.is_some_and(|open| fault.at.start > open);
            match fault.sort {
                // The first on a line: the rest mostly follow from it.
                Severity::Open | Severity::Syntax => {
                    !follows && !told_of.contains(&line) && {
                        told_of.push(line);
                        true
                    }
                }
                Severity::Value => !follows && !unread.contains(&line),
                Severity::Missing => unread.is_empty(),
            }
        });
        Self { name: name.to_owned(), text: text.to_owned(), faults }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    fn tell(&self, fault: &Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = position(&self.text, fault.at.start);
        writeln!(f, "{}:{line}:{column}: {}", self.name, fault.message)?;
        if let Some((other, what)) = &fault.other {
            self.show_line(other, f)?;
            self.mark(other, '-', what, f)?;
        }
        let same = |(other, _): &(Span, _)| line_of(&self.text, other.start) == line;
        if !fault.other.as_ref().is_some_and(same) {
            self.show_line(&fault.at, f)?;
        }
        self.mark(&fault.at, '^', "", f)?;
        writeln!(f, "     = {}", fault.remedy)
    }

    /// The line with a place in it, without what a terminal would act on.
    fn line(&self, at: &Span) -> (usize, usize, String) {
        let (number, column) = position(&self.text, at.start);
        let line = self.text.trim_start_matches('\u{feff}').lines().nth(number - 1).unwrap_or("");
        let shown = line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
        (number, column, shown.collect())
    }

    fn show_line(&self, at: &Span, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, _, line) = self.line(at);
        writeln!(f, "{number:4} | {}", line.trim_end())
    }

    fn mark(&self, at: &Span, mark: char, what: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, column, line) = self.line(at);
        // With its tabs, so that the mark stands below the value.
        let indent: String =
            line.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let value = self.text.get(at.clone()).unwrap_or("");
        let width = value.lines().next().unwrap_or("").chars().count().max(1);
        let marks: String = std::iter::repeat_n(mark, width).collect();
        let space = if what.is_empty() { "" } else { " " };
        writeln!(f, "     | {indent}{marks}{space}{what}")
    }
}

/// Each fault, and how many they are.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            self.tell(fault, f)?;
        }
        let count = self.faults.len();
        write!(f, "{}: {count} fault{}", self.name, if count == 1 { "" } else { "s" })?;
        let hides = self.faults.iter().any(|fault| matches!(fault.sort, Severity::Syntax | Severity::Open));
        f.write_str(if hides { "; others may show when these are corrected" } else { "" })
    }
}

/// Line and column, from 1, in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let columns = before.get(start..).unwrap_or("").chars().filter(|c| *c != '\u{feff}').count();
    (line_of(text, at), columns + 1)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.get(..at).unwrap_or(text).bytes().filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_the_value() {
        let text = "a = 1\n\tkäse = \"é\" # x\r\n";
        let at = text.find("\"é").unwrap_or(0);
        let fault = Diagnostic::value(at..at + 4, "no", "leave it out").with(0..1, "first here");
        let told = Diagnostics::new("f", text, vec![fault]).to_string();
        let expected = "f:2:9: no\n   1 | a = 1\n     | - first here\n   2 | \tkäse = \"é\" # x\n     | \t       \
                        ^^^\n     = leave it out\nf: 1 fault";
        assert_eq!(told, expected);
    }

    #[test]
    fn what_follows_from_another_fault_is_left_out() {
        let text = "a\nb\nc\nd\n";
        let value = |at: usize| Diagnostic::value(at..at + 1, format!("value {at}"), "r");
        let syntax = |at: usize| Diagnostic { sort: Severity::Syntax, ..value(at) };
        let open = |at: usize| Diagnostic { sort: Severity::Open, ..value(at) };
        let told = |faults: Vec<Diagnostic>| {
            let faults = Diagnostics::new("f", text, faults).faults;
            faults.into_iter().map(|f| f.at.start).collect::<Vec<_>>()
        };
        assert_eq!(told(vec![value(4), value(0), Diagnostic::missing(2..2, "m", "r")]), [0, 2, 4]);
        assert_eq!(told(vec![syntax(2), value(2), value(4), Diagnostic::missing(6..6, "m", "r")]), [2, 4]);
        assert_eq!(told(vec![open(2), value(0), value(4), syntax(6)]), [0, 2]);
        for (fault, more) in [(value(0), false), (syntax(0), true), (open(0), true)] {
            let told = Diagnostics::new("f", text, vec![fault]).to_string();
            assert_eq!(
                told.ends_with("f: 1 fault; others may show when these are corrected"),
                more,
                "{told}"
            );
        }
    }
}
