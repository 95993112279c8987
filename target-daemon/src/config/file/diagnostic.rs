//! Errors in a configuration file, as shown to the operator: location, source line, a
//! mark under the value, and the remedy.
//!
//! ```text
//! xblade.toml:7:11: rx-ring = 100 is not possible
//!    7 | rx-ring = 100
//!      |           ^^^
//!      = give a power of two from 64 to 65536
//! ```

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::iter::repeat_n;
use std::ops::Range;

use crate::text::printable;

/// A range of bytes in the text.
pub type Span = Range<usize>;

/// The kind of an error; later errors that follow from it are suppressed accordingly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The text cannot be parsed.
    Syntax,
    /// Something is not closed, so everything after it may be misread.
    Open,
    /// A key or value is wrong.
    Value,
    /// Something is missing. Not reported if the file has syntax errors, because it may
    /// be there.
    Missing,
}

/// An error in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Its location.
    pub at: Span,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub remedy: String,
    /// A related earlier location, with its description.
    pub other: Option<(Span, &'static str)>,
    /// Its kind.
    pub sort: Severity,
}

impl Diagnostic {
    /// An error in a key or value.
    pub fn value(at: Span, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, message: message.into(), remedy: remedy.into(), other: None, sort: Severity::Value }
    }

    /// A missing key or section, and where it should be.
    pub fn missing(at: Span, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { sort: Severity::Missing, ..Self::value(at, message, remedy) }
    }

    /// Adds a related location.
    #[must_use]
    pub fn with(self, other: Span, what: &'static str) -> Self {
        Self { other: Some((other, what)), ..self }
    }
}

/// The most errors of one kind that are reported. More help nobody, and each costs a search for
/// its place and for what was meant.
pub const FAULTS_MAX: usize = 100;

/// The most characters of a message or of a line of the file that are shown.
const SHOWN_MAX: usize = 600;

/// Collects errors while a file is read, at most [`FAULTS_MAX`].
#[derive(Default)]
pub struct Sink {
    faults: RefCell<Vec<Diagnostic>>,
    count: Cell<usize>,
}

impl Sink {
    /// Adds an error.
    pub fn push(&self, fault: Diagnostic) {
        self.count.set(self.count.get() + 1);
        if !self.is_full() {
            self.faults.borrow_mut().push(fault);
        }
    }

    /// The number of errors, including those that were left out.
    pub fn count(&self) -> usize {
        self.count.get()
    }

    /// Whether further errors are left out. One more than is reported is kept, to know that
    /// there are more.
    pub fn is_full(&self) -> bool {
        self.count.get() > FAULTS_MAX + 1
    }

    /// The errors.
    pub fn into_inner(self) -> Vec<Diagnostic> {
        self.faults.into_inner()
    }
}

/// The errors of a file, sorted by location.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnostics {
    name: String,
    text: String,
    faults: Vec<Diagnostic>,
    /// Whether there are more than these.
    has_more: bool,
}

impl Diagnostics {
    /// The errors of a file with this name and text. Drops those that may only follow
    /// from a syntax error.
    pub fn new(name: &str, text: &str, mut faults: Vec<Diagnostic>) -> Self {
        faults.sort_by_key(|fault| (fault.at.start, fault.sort != Severity::Open));
        let line = |fault: &Diagnostic| place(text, fault.at.start).0;
        let is_syntax = |fault: &&Diagnostic| matches!(fault.sort, Severity::Syntax | Severity::Open);
        let unread: Vec<usize> = faults.iter().filter(is_syntax).map(line).collect();
        let open = faults.iter().filter(|f| f.sort == Severity::Open).map(|f| f.at.start).min();
        let mut reported = BTreeSet::new();
        faults.retain(|fault| {
            let follows = open.is_some_and(|open| fault.at.start > open);
            match fault.sort {
                // Only the first on a line: the others mostly follow from it.
                Severity::Open | Severity::Syntax => !follows && reported.insert(line(fault)),
                Severity::Value => !follows && (unread.is_empty() || !unread.contains(&line(fault))),
                Severity::Missing => unread.is_empty(),
            }
        });
        let has_more = faults.len() > FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        Self { name: name.to_owned(), text: text.to_owned(), faults, has_more }
    }

    /// Other errors of the same file.
    pub fn others(&self, faults: Vec<Diagnostic>) -> Self {
        Self::new(&self.name, &self.text, faults)
    }

    /// Whether there are no errors.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// All errors, without their locations.
    pub fn in_one_line(&self) -> String {
        let one = |fault: &Diagnostic| format!("{}: {}", fault.message, fault.remedy);
        self.faults.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn tell(&self, fault: &Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, column, _) = place(&self.text, fault.at.start);
        writeln!(f, "{}:{number}:{column}: {}", printable(&self.name), short(&fault.message))?;
        let mut shown = 0;
        let other = fault.other.iter().map(|(at, what)| (at, '-', format!(" {what}")));
        for (at, mark, what) in other.chain([(&fault.at, '^', String::new())]) {
            let (number, column, line) = place(&self.text, at.start);
            let (column, line) = window(column, &line);
            if number != shown {
                writeln!(f, "{number:4} | {}", line.trim_end())?;
            }
            shown = number;
            // Keeps tabs, so that the mark is aligned with the value.
            let before = line.chars().take(column - 1);
            let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let value = self.text.get(at.clone()).unwrap_or("");
            let after = (1 + line.chars().count()).saturating_sub(column).max(1);
            let width = value.lines().next().unwrap_or("").chars().count().clamp(1, after);
            writeln!(f, "     | {indent}{}{what}", String::from_iter(repeat_n(mark, width)))?;
        }
        writeln!(f, "     = {}", short(&fault.remedy))
    }
}

/// Prints each error and their number.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            self.tell(fault, f)?;
        }
        let count = self.faults.len();
        let more = if self.has_more { "more than " } else { "" };
        write!(f, "{}: {more}{count} fault{}", printable(&self.name), if count == 1 { "" } else { "s" })?;
        let hides = self.faults.iter().any(|fault| matches!(fault.sort, Severity::Syntax | Severity::Open));
        f.write_str(if hides { "; others may show when these are corrected" } else { "" })
    }
}

/// A message as one line of limited length.
fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", printable(text.get(..end).unwrap_or_default())).into(),
        None => printable(text),
    }
}

/// The part of a long line around this column, and the column in it.
fn window(column: usize, line: &str) -> (usize, Cow<'_, str>) {
    if line.chars().nth(SHOWN_MAX).is_none() {
        return (column, line.into());
    }
    let start = column.saturating_sub(SHOWN_MAX / 2);
    (column - start, line.chars().skip(start).take(SHOWN_MAX).collect())
}

/// The line and column, counted from 1 in characters, and the text of the line, with control
/// characters replaced.
fn place(text: &str, at: usize) -> (usize, usize, String) {
    let before = text.get(..at).unwrap_or(text);
    let number = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    let shown = |line: &str| -> String {
        let line = line.chars().filter(|c| *c != '\u{feff}');
        line.map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
    };
    let column = 1 + before.rsplit('\n').next().map_or(0, |before| shown(before).chars().count());
    (number, column, shown(text.lines().nth(number - 1).unwrap_or("")))
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
