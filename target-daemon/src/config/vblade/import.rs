//! Makes a configuration from calls of vblade: from the files of its service
//! (`/etc/vblade.conf.d/*.conf`), which are shell fragments that set variables, from scripts
//! and units, and from lines of the operator. What differs from vblade, and what is not
//! understood, is noted in the configuration and reported to the operator.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ContextKind;
use toml::{Table, Value};

use super::args::Vblade;
use crate::text::{self, printable};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

/// A configuration with remarks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// The text of a configuration file.
    pub text: String,
    /// Remarks for the operator: source and text.
    pub remarks: Vec<String>,
    /// Whether something could not be understood.
    pub is_partial: bool,
}

/// Imports files, directories (their `*.conf`) and command lines.
///
/// # Errors
///
/// If a file or directory cannot be read.
pub fn import(paths: &[PathBuf], commands: &[String]) -> Result<Imported, String> {
    let mut files = Vec::new();
    for path in paths {
        for file in configurations(path)? {
            let text = text::read(&file).map_err(|e| format!("{}: cannot read it: {e}", file.display()))?;
            files.push((file.display().to_string(), text));
        }
    }
    Ok(import_texts(files, commands))
}

/// As [`import`], with the names and texts of files.
pub fn import_texts(files: impl IntoIterator<Item = (String, String)>, commands: &[String]) -> Imported {
    let mut draft = Draft::default();
    for (name, text) in files {
        draft.file(&name, &text);
    }
    for (number, line) in (1..).zip(commands) {
        draft.command(&format!("command {number}"), line);
    }
    draft.finish()
}

/// The files of a directory that vblade's service reads, or the file itself.
fn configurations(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|e| format!("{}: cannot read it: {e}", path.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|e| e == "conf") && file.is_file()).collect();
    files.sort();
    Ok(files)
}

/// The variables of vblade's service, in the order of its arguments.
const NEEDED: [&str; 4] = ["shelf", "slot", "netif", "filename"];

/// What a shell does not take for a part of a word.
const OPERATORS: [char; 7] = [';', '&', '|', '(', ')', '<', '>'];

/// One export of xblade, made from one or more calls of vblade.
struct Row {
    address: Address,
    vblade: Vblade,
    interfaces: Vec<String>,
    /// Comments above it.
    comments: Vec<String>,
}

/// What was found so far.
#[derive(Default)]
struct Draft {
    rows: Vec<Row>,
    /// Comments at the top of the file.
    comments: Vec<String>,
    remarks: Vec<String>,
    is_partial: bool,
}

impl Draft {
    fn remark(&mut self, source: &str, what: &str) {
        let line = printable(&format!("{source}: {what}")).into_owned();
        self.comments.push(line.clone());
        self.remarks.push(line);
    }

    fn leave_out(&mut self, source: &str, what: &str, why: &str) {
        self.is_partial = true;
        self.remark(source, &format!("'{what}' is left out: {why}"));
    }

    fn file(&mut self, name: &str, text: &str) {
        let mut variables = BTreeMap::new();
        let mut calls = false;
        for (number, line) in (1..).zip(text.replace("\\\n", "  ").lines()) {
            calls |= self.line(&format!("{name}:{number}"), line, &mut variables);
        }
        self.service(name, variables, calls);
    }

    /// A line of the operator, in which the name of the program may be left out.
    fn command(&mut self, source: &str, line: &str) {
        match shlex::split(line) {
            Some(words) if !words.iter().any(|word| is_vblade(word)) => self.call(source, &words),
            _ => _ = self.line(source, line, &mut BTreeMap::new()),
        }
    }

    /// A line of a script or unit. Returns whether it calls vblade.
    fn line(&mut self, source: &str, line: &str, variables: &mut BTreeMap<String, String>) -> bool {
        let Some(mut words) = shlex::split(&spaced(line)) else {
            self.is_partial |= mentions(line);
            self.remark(source, "quotes that are not closed: the line is left out");
            return false;
        };
        let is_operator = |word: &String| word.len() == 1 && word.starts_with(OPERATORS);
        let mut redirects = false;
        words.retain(|word| {
            !std::mem::replace(&mut redirects, word == "<" || word == ">") || is_operator(word)
        });
        let (mut calls, mut others, mut may_call) = (false, 0, false);
        for command in words.split(is_operator) {
            let at = command.iter().position(|word| is_vblade(word)).unwrap_or(command.len());
            let (before, call) = command.split_at(at);
            if let [_, arguments @ ..] = call {
                let setup = ["setup".to_owned()];
                self.call(source, arguments.strip_prefix(&setup).unwrap_or(arguments));
                calls = true;
            }
            // Under another name, such as that of a variable or script.
            may_call |= before.len() > 4 && Vblade::try_parse_from(before.iter().skip(1)).is_ok();
            for word in before.iter().filter(|word| *word != "export") {
                if let Some((name, value)) = assignment(word) {
                    may_call |= mentions(value) && !NEEDED.contains(&name);
                    variables.insert(name.to_owned(), value.to_owned());
                } else {
                    others += 1;
                    if mentions(word) && word.contains(' ') {
                        // A line for another shell, as in `su -c "vblade ..."`.
                        calls |= self.line(source, word, variables);
                    } else {
                        may_call |= mentions(word);
                    }
                }
            }
        }
        let line = line.trim();
        if may_call {
            let why = "it may start vblade in a way that is not understood here: if it does, give the calls by \
                       --command";
            self.leave_out(source, line, why);
        } else if others > 0 && calls {
            self.remark(source, &format!("of '{line}' only the arguments of vblade are carried over"));
        } else if others > 0 {
            self.remark(source, &format!("'{line}' is not carried over"));
        }
        calls
    }

    /// The call that vblade's service makes from the variables of a file.
    fn service(&mut self, name: &str, variables: BTreeMap<String, String>, calls: bool) {
        let get = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let others = variables.iter().filter(|(name, value)| {
            !NEEDED.contains(&name.as_str()) && *name != "options" && !value.is_empty()
        });
        for (variable, value) in others {
            self.remark(name, &format!("{variable}={value} is not carried over"));
        }
        let (there, missing): (Vec<&str>, Vec<&str>) =
            NEEDED.into_iter().partition(|name| get(name).is_some());
        if missing.is_empty() {
            // The shell splits the options into words.
            let options = get("options").map_or("", String::as_str).split_whitespace().map(str::to_owned);
            let words: Vec<String> = options.chain(NEEDED.into_iter().filter_map(get).cloned()).collect();
            self.call(name, &words);
        } else if !there.is_empty() || !calls {
            let missing = missing.join(", no ");
            self.remark(name, &format!("has no {missing}: vblade's service ignores it, and so does this"));
        }
    }

    /// Adds a call with these arguments.
    fn call(&mut self, source: &str, words: &[String]) {
        let line = format!("vblade {}", words.join(" "));
        let is_expanded = |word: &&str| word.contains(['$', '`', '*', '?']) || word.starts_with('~');
        let expanded: Vec<&str> = words.iter().map(String::as_str).filter(is_expanded).collect();
        let why = if expanded.is_empty() {
            match Vblade::try_parse_from(words) {
                Ok(vblade) => match vblade.address() {
                    Ok(address) => return self.add(source, &line, address, vblade),
                    Err(error) => error.to_string(),
                },
                Err(error) => why(&error),
            }
        } else {
            format!(
                "a shell would expand {}, which is not done here: write what it stands for in its place, or give the \
                 call so by --command",
                expanded.join(" and ")
            )
        };
        self.leave_out(source, &line, &why);
    }

    /// Adds a new export, or another interface of an existing one.
    fn add(&mut self, source: &str, line: &str, address: Address, mut vblade: Vblade) {
        let mut remarks = Vec::new();
        if !vblade.file.starts_with('/') {
            // vblade's service runs in the root directory.
            let folder = if source.starts_with("command") { "" } else { "/" };
            let whole = std::path::absolute(Path::new(folder).join(&vblade.file));
            let whole = whole.map_or_else(|_| vblade.file.clone(), |path| path.display().to_string());
            remarks.push(format!("{} is taken for {whole}: correct the path if it is another", vblade.file));
            vblade.file = whole;
        }
        remarks.extend(durability(&vblade).map(str::to_owned));
        let same = self.rows.iter_mut().find(|row| row.is_same(address, &vblade));
        if let Some(row) = &same {
            remarks.extend(row.other_hosts(&vblade).map(str::to_owned));
        }
        let one = |what: &String| printable(&format!("{source}: {what}")).into_owned();
        let remarks: Vec<String> = remarks.iter().map(one).collect();
        let mut comments = vec![format!("{source}: {line}")];
        comments.extend_from_slice(&remarks);
        self.remarks.extend(remarks);
        match same {
            Some(row) => row.join(vblade, comments),
            None => {
                let interfaces = vec![vblade.netif.clone()];
                self.rows.push(Row { address, vblade, interfaces, comments });
            }
        }
    }

    /// xblade advertises one buffer count for all exports.
    fn buffer_count(&mut self) -> Option<u16> {
        let counts: Vec<u16> = self.rows.iter().filter_map(|row| row.vblade.buffer_count).collect();
        let most = *counts.iter().max()?;
        if counts.len() < self.rows.len() || counts.iter().any(|count| *count != most) {
            let what = format!("xblade has one buffer count for all exports: {most} (-b), the largest");
            self.remark("-b", &what);
        }
        Some(most)
    }

    /// The interfaces of all calls.
    fn interfaces(&self) -> Vec<String> {
        let mut all: Vec<String> = self.rows.iter().flat_map(|row| row.interfaces.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn finish(mut self) -> Imported {
        self.rows.sort_by_key(|row| row.address);
        let buffer_count = self.buffer_count();
        let interfaces = self.interfaces();
        if !self.rows.is_empty() {
            self.remark("host-settings", HOST_SETTINGS);
        }
        let mut text =
            String::from("# Made by `xblade import vblade`. Look at it with `xblade check --config FILE`.\n");
        comment(&mut text, &self.comments);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "interfaces = {}", Value::from(interfaces.clone()));
        if let Some(count) = buffer_count {
            let _ = writeln!(text, "\n[limits]\nbuffer-count = {count}");
        }
        for row in &self.rows {
            text.push('\n');
            comment(&mut text, &row.comments);
            let _ = write!(text, "[[export]]\n{}", row.keys(&interfaces));
        }
        if self.rows.is_empty() {
            let what = "no call of vblade was found: name files, directories, or give --command";
            self.remarks.push(what.to_owned());
            self.is_partial = true;
        }
        Imported { text, remarks: self.remarks, is_partial: self.is_partial }
    }
}

impl Row {
    /// Whether a call serves the same on another interface: vblade needs a process for each.
    fn is_same(&self, address: Address, other: &Vblade) -> bool {
        let own = &self.vblade;
        (self.address, &own.file, own.offset, own.length, own.read_only)
            == (address, &other.file, other.offset, other.length, other.read_only)
    }

    fn other_hosts(&self, other: &Vblade) -> Option<&'static str> {
        let (mine, theirs) = (sorted(&self.vblade.macs), sorted(&other.macs));
        (mine != theirs).then_some(if mine.is_empty() || theirs.is_empty() {
            "one of its interfaces had a list of hosts (-m), another had none: the list holds for all now"
        } else {
            "its interfaces had different lists of hosts (-m): all of them are allowed on all now"
        })
    }

    fn join(&mut self, other: Vblade, comments: Vec<String>) {
        self.comments.extend(comments);
        self.vblade.macs.extend(other.macs);
        self.vblade.direct |= other.direct;
        self.vblade.buffer_count = self.vblade.buffer_count.max(other.buffer_count);
        if !self.interfaces.contains(&other.netif) {
            self.interfaces.push(other.netif);
        }
    }

    /// The keys of its section; `all` are the interfaces of the file.
    fn keys(&self, all: &[String]) -> Table {
        let vblade = &self.vblade;
        let macs: Vec<String> = sorted(&vblade.macs).iter().map(Mac::to_string).collect();
        let sectors = |count: Option<u64>| count.map(|count| Value::from(count as i64));
        let keys = [
            ("address", Some(self.address.to_string().into())),
            ("path", Some(vblade.file.clone().into())),
            ("read-only", vblade.read_only.then(|| true.into())),
            ("store", vblade.direct.then(|| "direct".into())),
            ("offset", sectors(vblade.offset)),
            ("length", sectors(vblade.length)),
            ("allow", (!macs.is_empty()).then(|| macs.into())),
            ("interfaces", (self.interfaces.len() < all.len()).then(|| self.interfaces.clone().into())),
        ];
        keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

/// Puts spaces around the operators of a shell line, so that they are words, and leaves out
/// the descriptor of a redirection.
fn spaced(line: &str) -> String {
    let mut spaced = String::new();
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if OPERATORS.contains(&c) => {
                let before = spaced.trim_end_matches(|c: char| c.is_ascii_digit()).len();
                if "<>".contains(c) && spaced.get(..before).is_some_and(|before| before.ends_with(' ')) {
                    spaced.truncate(before);
                }
                spaced.extend([' ', c, ' ']);
            }
            (None | Some('"'), '\\') => spaced.extend(std::iter::once(c).chain(chars.next())),
            (None, '\'' | '"') => {
                quote = Some(c);
                spaced.push(c);
            }
            (open, c) => {
                quote = open.filter(|open| *open != c);
                spaced.push(c);
            }
        }
    }
    spaced
}

/// Whether a word names a vblade program; it may stand in an `Exec` line of a unit.
fn is_vblade(word: &str) -> bool {
    let program = word.strip_prefix("ExecStart=").unwrap_or(word);
    !program.contains('=')
        && matches!(program.rsplit('/').next(), Some("vblade" | "vbladed" | "vblade-persist"))
}

/// Whether the text contains the name of a vblade program.
fn mentions(text: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    text.split(|c| !in_name(c)).any(is_vblade)
}

/// The name and value, if the word assigns a variable.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    word.split_once('=').filter(|(name, _)| is_name(name))
}

/// Why vblade's arguments are not possible, in one line.
fn why(error: &clap::Error) -> String {
    let what = error.get(ContextKind::InvalidArg).map_or_else(String::new, |what| format!("{what}: "));
    what + &error.source().map_or_else(|| error.kind().to_string(), ToString::to_string)
}

fn sorted(macs: &[Mac]) -> Vec<Mac> {
    let mut macs = macs.to_vec();
    macs.sort_unstable();
    macs.dedup();
    macs
}

fn durability(vblade: &Vblade) -> Option<&'static str> {
    vblade.was_volatile().then_some(if vblade.direct {
        "with -d and without -s vblade acknowledged writes from the cache of the disk; xblade does so from stable \
         storage"
    } else {
        "without -s vblade acknowledged writes from the page cache; xblade does so from stable storage. For the old \
         way: durability = \"volatile\""
    })
}

const HOST_SETTINGS: &str = "vblade lets any host set config string, masks and reservation until it ends; xblade refuses \
                             that. For the old way: host-settings = \"volatile\"";

fn comment(text: &mut String, lines: &[String]) {
    for line in lines {
        // A newline in a name must not end the comment.
        let _ = writeln!(text, "# {}", printable(line));
    }
}
