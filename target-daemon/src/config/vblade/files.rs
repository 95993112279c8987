//! Files that start vblade: `/etc/vblade.conf.d/*.conf` of its service, which are shell
//! fragments that set variables, and scripts that call it.

use super::args::Vblade;
use super::shell::{self, Token};

/// A call of vblade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The file, with the line if there may be several.
    pub source: String,
    /// The words after `vblade`.
    pub words: Vec<String>,
    /// The parsed arguments, or the error.
    pub vblade: Result<Vblade, String>,
}

/// The calls found in a file.
#[derive(Default, Debug)]
pub struct Found {
    /// Calls of vblade.
    pub calls: Vec<Call>,
    /// Parts that are not carried over, with their location.
    pub remarks: Vec<(String, String)>,
    /// Whether a possible call of vblade was left out.
    pub is_partial: bool,
}

/// The variables of vblade's service, in the order of its arguments.
const NEEDED: [&str; 4] = ["shelf", "slot", "netif", "filename"];

/// Keys of a systemd unit that may name vblade without starting it.
const HARMLESS: [&str; 14] = [
    "After",
    "Alias",
    "Also",
    "Before",
    "BindsTo",
    "Conflicts",
    "Description",
    "Documentation",
    "PartOf",
    "Requires",
    "RequiredBy",
    "SyslogIdentifier",
    "WantedBy",
    "Wants",
];

/// Commands that print their arguments and do not run them.
const PRINTERS: [&str; 4] = ["echo", "printf", "logger", "wall"];

/// Shell words between commands that need no remark.
const KEYWORDS: [&str; 8] = ["{", "}", "fi", "done", "esac", "then", "do", "else"];

/// Maximum nesting of commands.
const DEPTH_MAX: u32 = 4;

/// Reads a file with this name.
pub fn read(name: &str, text: &str) -> Found {
    let mut found = Found::default();
    let mut variables: Vec<(String, String)> = Vec::new();
    let text = text.replace("\\\n", "  ");
    for (number, line) in (1..).zip(text.lines()) {
        let source = format!("{name}:{number}");
        let Some(tokens) = shell::tokens(line) else {
            found.is_partial |= mentions(line);
            found.remark(source, "quotes that are not closed: the line is left out");
            continue;
        };
        if !found.calls(&source, line, &tokens, DEPTH_MAX) {
            found.others(&source, line, &tokens, &mut variables);
        }
    }
    found.service(name, &variables);
    found
}

/// Reads a command line as typed by a user.
pub fn command(source: &str, line: &str) -> Found {
    let mut found = Found::default();
    let Some(tokens) = shell::tokens(line) else {
        found.is_partial = true;
        found.remark(source.to_owned(), "quotes that are not closed: it is left out");
        return found;
    };
    if !found.calls(source, line, &tokens, DEPTH_MAX) {
        // The name of the program may be left out.
        let end = end_of_words(&tokens, 0);
        found.call(source, &format!("vblade {line}"), words(tokens.get(..end).unwrap_or_default()));
        found.around(source, line, tokens.get(end..).unwrap_or_default(), 0);
    }
    found
}

/// The program of a word, which may be the first of an `Exec` line of a unit.
fn program(word: &str) -> &str {
    let started = word.strip_prefix("Exec").and_then(|word| word.split_once('='));
    let word = started.map_or(word, |(_, program)| program.trim_start_matches(['-', '@', ':', '+', '!']));
    // Not the program, but an option with a path that ends in that name.
    if word.contains('=') { "" } else { word.rsplit('/').next().unwrap_or(word) }
}

/// The number of tokens that begin a call of vblade, or 0.
fn begins_call(tokens: &[Token]) -> usize {
    let word = |at: usize| tokens.get(at).and_then(|token| token.word.as_deref());
    match word(0).map(program) {
        Some("vblade" | "vbladed") => 1,
        Some("vblade-persist") if word(1) == Some("setup") => 2,
        _ => 0,
    }
}

/// Where the output of a printing command goes.
enum Printer {
    /// To a reader.
    Says,
    /// To another command or to a file, which may be run.
    Feeds,
}

/// Whether the word at this position is printed by a command, and where to.
fn printer(line: &str, tokens: &[Token], at: usize) -> Option<Printer> {
    let is_between = |token: &&Token| token.word.as_deref().is_none_or(|word| KEYWORDS.contains(&word));
    let first = tokens.get(..at)?.iter().rev().take_while(|token| !is_between(token)).last()?;
    if !PRINTERS.contains(&first.word.as_deref()?) {
        return None;
    }
    let end = tokens.get(end_of_words(tokens, at)..).unwrap_or_default();
    let next = raw(line, end);
    let feeds = next.contains('>') && next.starts_with(|c: char| c.is_ascii_digit() || "<>&".contains(c))
        || next.starts_with('|') && !next.starts_with("||");
    Some(if feeds { Printer::Feeds } else { Printer::Says })
}

/// Whether the text contains the name of a vblade program.
fn mentions(text: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    text.split(|c| !in_name(c)).any(|name| matches!(name, "vblade" | "vbladed" | "vblade-persist"))
}

/// The end of the words that begin at `from`.
fn end_of_words(tokens: &[Token], from: usize) -> usize {
    from + tokens.iter().skip(from).take_while(|token| token.word.is_some()).count()
}

fn words(tokens: &[Token]) -> Vec<String> {
    tokens.iter().filter_map(|token| token.word.clone()).collect()
}

/// The tokens as written in the line.
fn raw<'a>(line: &'a str, tokens: &[Token]) -> &'a str {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return "" };
    line.get(first.at.start..last.at.end).unwrap_or_default()
}

impl Found {
    fn remark(&mut self, source: String, what: impl Into<String>) {
        self.remarks.push((source, what.into()));
    }

    fn push(&mut self, source: String, words: Vec<String>) {
        let vblade = Vblade::parse(&words).map_err(|e| e.to_string());
        self.calls.push(Call { source, words, vblade });
    }

    /// Leaves out a possible call that is not understood.
    fn leave_out(&mut self, source: &str, what: &str) {
        self.is_partial = true;
        let what = format!(
            "'{what}' is left out: it may start vblade in a way that is not understood here: if it does, give the calls \
             by --command"
        );
        self.remark(source.to_owned(), what);
    }

    /// Collects every call in a line, including those that other commands run. Returns
    /// whether the line mentions vblade at all.
    fn calls(&mut self, source: &str, line: &str, tokens: &[Token], depth: u32) -> bool {
        let mut rest = tokens;
        let mut is_in = false;
        loop {
            let begins = |at: usize| match printer(line, rest, at) {
                None => begins_call(rest.get(at..).unwrap_or_default()),
                Some(_) => 0,
            };
            let Some((at, name)) = (0..rest.len()).map(|at| (at, begins(at))).find(|(_, name)| *name > 0)
            else {
                break;
            };
            let end = end_of_words(rest, at + name);
            let (before, call) = (rest.get(..at).unwrap_or_default(), rest.get(at..end).unwrap_or_default());
            self.around(source, line, before, depth);
            self.call(source, raw(line, call), words(call.get(name..).unwrap_or_default()));
            rest = rest.get(end..).unwrap_or_default();
            is_in = true;
        }
        let is_named = |token: &Token| {
            token.word.as_deref().is_some_and(|word| mentions(word) && assignment(word).is_none())
        };
        if is_in || rest.iter().any(is_named) {
            self.around(source, line, rest, depth);
            is_in = true;
        }
        is_in
    }

    /// Handles the tokens before and after a call: collects calls within words, as in `su
    /// -c "vblade ..."`, and adds a remark about the rest if it has an effect.
    fn around(&mut self, source: &str, line: &str, tokens: &[Token], depth: u32) {
        let (mut text, mut from) = (String::new(), tokens.first().map_or(0, |token| token.at.start));
        for (place, token) in tokens.iter().enumerate() {
            let Some(word) = token.word.as_deref().filter(|word| mentions(word)) else { continue };
            let inner = match printer(line, tokens, place) {
                Some(Printer::Says) => continue,
                Some(Printer::Feeds) => None,
                None => shell::tokens(word).filter(|inner| inner.len() > 1 && depth > 0),
            };
            if inner.is_some_and(|inner| self.calls(source, word, &inner, depth - 1)) {
                text.push_str(line.get(from..token.at.start).unwrap_or_default());
                text.push_str("...");
                from = token.at.end;
            } else if !is_harmless(word) {
                self.leave_out(source, word);
            }
        }
        text.push_str(line.get(from..tokens.last().map_or(0, |token| token.at.end)).unwrap_or_default());
        let says = |token: &Token| match &token.word {
            Some(word) => !KEYWORDS.contains(&word.as_str()),
            None => !["&", ";", "(", ")"].contains(&raw(line, std::slice::from_ref(token))),
        };
        if tokens.iter().any(says) {
            let text = text.trim_start_matches([';', ' ']);
            self.remark(source.to_owned(), format!("'{text}' is not carried over"));
        }
    }

    /// Adds a call with these arguments.
    fn call(&mut self, source: &str, shown: &str, arguments: Vec<String>) {
        if arguments.iter().any(|word| is_expanded(word)) {
            self.is_partial = true;
            let expanded: Vec<&str> =
                arguments.iter().map(String::as_str).filter(|word| is_expanded(word)).collect();
            let what = format!(
                "'{shown}' is left out: a shell would expand {}, which is not done here: write what it stands for in \
                 its place, or give the call so by --command",
                expanded.join(" and ")
            );
            self.remark(source.to_owned(), what);
        } else {
            self.push(source.to_owned(), arguments);
        }
    }

    /// Handles a line without a call.
    fn others(&mut self, source: &str, line: &str, tokens: &[Token], variables: &mut Vec<(String, String)>) {
        for command in tokens.split(|token| token.word.is_none()) {
            // A call under another name, such as a variable or a custom script.
            if command.len() > 4 && Vblade::parse(&words(command.get(1..).unwrap_or_default())).is_ok() {
                self.leave_out(source, raw(line, command));
            }
        }
        let before = self.remarks.len();
        let settings = self.assignments(source, words(tokens), variables);
        let is_said = |token: &Token| {
            token.word.as_deref().is_none_or(|word| word != "export" && assignment(word).is_none())
        };
        let others: Vec<Token> = tokens.iter().filter(|token| is_said(token)).cloned().collect();
        if others.iter().any(|token| token.word.is_some()) {
            let text = match settings {
                0 => raw(line, tokens).to_owned(),
                _ => others
                    .iter()
                    .map(|token| raw(line, std::slice::from_ref(token)))
                    .collect::<Vec<_>>()
                    .join(" "),
            };
            self.remarks.insert(before, (source.to_owned(), format!("'{text}' is not carried over")));
        }
    }

    /// Collects variable assignments; returns their number.
    fn assignments(
        &mut self,
        source: &str,
        words: Vec<String>,
        variables: &mut Vec<(String, String)>,
    ) -> usize {
        let mut count = 0;
        for word in &words {
            let Some((name, value)) = assignment(word) else { continue };
            count += 1;
            if is_expanded(value) {
                let what = format!(
                    "{name}={value}: a shell would expand it, which is not done here: write what it stands for in its \
                     place"
                );
                self.remark(source.to_owned(), what);
            }
            if mentions(value) && !is_harmless(word) {
                self.leave_out(source, word);
            }
            variables.retain(|(known, _)| known != name);
            variables.push((name.to_owned(), value.to_owned()));
        }
        count
    }

    /// Adds the call that vblade's service makes from the variables.
    fn service(&mut self, name: &str, variables: &[(String, String)]) {
        let get = |wanted: &str| {
            let found = variables.iter().find(|(name, value)| name == wanted && !value.is_empty());
            found.map(|(_, value)| value.as_str())
        };
        for (variable, value) in variables {
            let what = format!("{variable}={value} is not carried over");
            match variable.as_str() {
                "ionice" if value.is_empty() => {}
                "ionice" => self.remark(
                    name.to_owned(),
                    format!("{what}: xblade has one process for all exports; give it a priority with ionice"),
                ),
                known if NEEDED.contains(&known) || known == "options" => {}
                _ => self.remark(name.to_owned(), what),
            }
        }
        let missing: Vec<&str> = NEEDED.into_iter().filter(|variable| get(variable).is_none()).collect();
        if !missing.is_empty() {
            if missing.len() < NEEDED.len() || self.calls.is_empty() {
                let what = format!(
                    "has no {}: vblade's service ignores it, and so does this",
                    missing.join(", no ")
                );
                self.remark(name.to_owned(), what);
            }
            return;
        }
        if NEEDED.into_iter().chain(["options"]).filter_map(get).any(is_expanded) {
            self.is_partial = true;
            self.remark(name.to_owned(), "is left out, because of what a shell would expand");
            return;
        }
        // The shell splits the options into words.
        let options = get("options").unwrap_or("").split_whitespace();
        let words = options.chain(NEEDED.into_iter().filter_map(get)).map(str::to_owned).collect();
        self.push(name.to_owned(), words);
    }
}

/// The name and value, if the word assigns a variable.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    word.split_once('=').filter(|(name, _)| is_name(name))
}

/// Whether the word is a variable of vblade's service, or a key of a unit that starts
/// nothing.
fn is_harmless(word: &str) -> bool {
    assignment(word).is_some_and(|(name, _)| {
        NEEDED.contains(&name) || ["options", "ionice"].contains(&name) || HARMLESS.contains(&name)
    })
}

fn is_expanded(value: &str) -> bool {
    value.contains(['$', '`', '*', '?']) || value.starts_with('~')
}
