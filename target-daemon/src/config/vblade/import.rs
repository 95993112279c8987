//! Makes a configuration from calls of vblade. Differences in behaviour are noted in it,
//! and reported to the operator.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::args::Vblade;
use super::files::{self, Call, Found};
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

/// One export of xblade, made from one or more calls of vblade.
struct Row {
    vblade: Vblade,
    interfaces: Vec<String>,
    /// Comments above it.
    comments: Vec<String>,
}

/// Imports files, directories (their `*.conf`) and command lines.
///
/// # Errors
///
/// If a file or directory cannot be read.
pub fn import(paths: &[PathBuf], commands: &[String]) -> Result<Imported, String> {
    let mut found: Vec<Found> = Vec::new();
    for path in paths {
        for file in configurations(path)? {
            let text =
                fs::read_to_string(&file).map_err(|e| format!("{}: cannot read it: {e}", file.display()))?;
            found.push(files::read(&file.display().to_string(), &text));
        }
    }
    for (number, line) in (1..).zip(commands) {
        found.push(files::command(&format!("command {number}"), line));
    }
    Ok(write(found))
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

/// Comments for the file, and remarks, which appear in both outputs.
#[derive(Default)]
struct Notes {
    comments: Vec<String>,
    remarks: Vec<String>,
    is_partial: bool,
}

impl Notes {
    fn remark(&mut self, source: &str, what: &str) {
        self.comments.push(format!("{source}: {what}"));
        self.remarks.push(format!("{source}: {what}"));
    }
}

fn write(found: Vec<Found>) -> Imported {
    let mut notes = Notes::default();
    let mut rows: Vec<Row> = Vec::new();
    for Found { calls, remarks, is_partial } in found {
        notes.is_partial |= is_partial;
        for (source, what) in remarks {
            notes.remark(&source, &what);
        }
        for call in calls {
            take(call, &mut rows, &mut notes);
        }
    }
    rows.sort_by_key(|row| row.vblade.address);
    let buffer_count = buffer_count(&rows, &mut notes);
    let interfaces = interfaces(&rows, &mut notes);
    let text = text(&rows, &interfaces, buffer_count, &notes.comments);
    let mut remarks = notes.remarks;
    if rows.is_empty() {
        remarks.push("no call of vblade was found: name files, directories, or give --command".to_owned());
        notes.is_partial = true;
    }
    Imported { text, remarks, is_partial: notes.is_partial }
}

/// Adds a call: a new export, or another interface of an existing one.
fn take(call: Call, rows: &mut Vec<Row>, notes: &mut Notes) {
    let Call { source, words, vblade } = call;
    let line = format!("vblade {}", words.join(" "));
    let mut vblade = match vblade {
        Ok(vblade) => vblade,
        Err(error) => {
            notes.is_partial = true;
            return notes.remark(&source, &format!("'{line}' is left out: {error}"));
        }
    };
    let mut own = Notes::default();
    own.comments.push(format!("{source}: {line}"));
    if !vblade.file.starts_with('/') {
        // vblade's service runs in the root directory.
        let whole = if source.starts_with("command") {
            std::path::absolute(&vblade.file).unwrap_or_else(|_| PathBuf::from(&vblade.file))
        } else {
            Path::new("/").join(&vblade.file)
        };
        let whole = whole.display().to_string();
        own.remark(
            &source,
            &format!("{} is taken for {whole}: correct the path if it is another", vblade.file),
        );
        vblade.file = whole;
    }
    remark_on_durability(&source, &vblade, &mut own);
    let same = rows.iter_mut().find(|row| is_same(&row.vblade, &vblade));
    notes.remarks.extend(own.remarks.iter().cloned());
    match same {
        Some(row) => {
            row.comments.append(&mut own.comments);
            row.join(&source, vblade, notes);
        }
        None => rows.push(Row { interfaces: vec![vblade.netif.clone()], vblade, comments: own.comments }),
    }
}

/// Whether both are the same export on different interfaces: vblade needs a process for
/// each.
fn is_same(a: &Vblade, b: &Vblade) -> bool {
    (a.address, &a.file, a.offset, a.length, a.read_only)
        == (b.address, &b.file, b.offset, b.length, b.read_only)
}

impl Row {
    fn join(&mut self, source: &str, other: Vblade, notes: &mut Notes) {
        let (mine, theirs) = (sorted(&self.vblade.macs), sorted(&other.macs));
        if mine != theirs {
            let what = if mine.is_empty() || theirs.is_empty() {
                "one of its interfaces had a list of hosts (-m), another had none: the list holds for all now"
            } else {
                "its interfaces had different lists of hosts (-m): all of them are allowed on all now"
            };
            self.comments.push(format!("{source}: {what}"));
            notes.remarks.push(format!("{source}: {what}"));
        }
        self.vblade.macs.extend(other.macs);
        self.vblade.direct |= other.direct;
        self.vblade.buffer_count = self.vblade.buffer_count.max(other.buffer_count);
        if !self.interfaces.contains(&other.netif) {
            self.interfaces.push(other.netif);
        }
    }
}

fn sorted(macs: &[Mac]) -> Vec<Mac> {
    let mut macs = macs.to_vec();
    macs.sort_unstable();
    macs.dedup();
    macs
}

fn remark_on_durability(source: &str, vblade: &Vblade, notes: &mut Notes) {
    match (vblade.was_volatile(), vblade.direct) {
        (false, _) if vblade.stable => {
            notes.comments.push("-s: a write is acknowledged from stable storage, which is the default".to_owned());
        }
        (false, _) => {}
        (true, true) => notes.remark(
            source,
            "with -d and without -s vblade acknowledged writes from the cache of the disk; xblade does so from \
             stable storage",
        ),
        (true, false) => notes.remark(
            source,
            "without -s vblade acknowledged writes from the page cache; xblade does so from stable storage. For the \
             old way: durability = \"volatile\"",
        ),
    }
}

/// xblade advertises one buffer count for all exports.
fn buffer_count(rows: &[Row], notes: &mut Notes) -> Option<u16> {
    let counts = || rows.iter().filter_map(|row| row.vblade.buffer_count);
    let (most, least) = (counts().max()?, counts().min()?);
    if most != least || counts().count() < rows.len() {
        let what = format!("xblade has one buffer count for all exports: {most} (-b), the largest");
        notes.remark("-b", &what);
    }
    Some(most)
}

/// xblade serves all exports on all its interfaces.
fn interfaces(rows: &[Row], notes: &mut Notes) -> Vec<String> {
    let mut all: Vec<String> = rows.iter().flat_map(|row| row.interfaces.iter().cloned()).collect();
    all.sort();
    all.dedup();
    for row in rows {
        let others: Vec<&str> =
            all.iter().filter(|name| !row.interfaces.contains(name)).map(String::as_str).collect();
        if !others.is_empty() {
            let what = format!(
                "was served on {} only, and is on {} too now: xblade serves all exports on all its interfaces. To \
                 keep them apart, divide the file into one for each, and start xblade with each",
                row.interfaces.join(", "),
                others.join(", ")
            );
            notes.remark(&row.vblade.address.to_string(), &what);
        }
    }
    all
}

fn text(rows: &[Row], interfaces: &[String], buffer_count: Option<u16>, comments: &[String]) -> String {
    let mut text =
        String::from("# Made by `xblade import vblade`. Look at it with `xblade check --config FILE`.\n");
    comment(&mut text, comments);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "interfaces = {}", list(interfaces));
    if let Some(count) = buffer_count {
        let _ = writeln!(text, "\n[limits]\nbuffer-count = {count}");
    }
    for row in rows {
        let vblade = &row.vblade;
        text.push('\n');
        comment(&mut text, &row.comments);
        let _ =
            writeln!(text, "[[export]]\naddress = \"{}\"\npath = {}", vblade.address, quoted(&vblade.file));
        if vblade.read_only {
            text.push_str("read-only = true\n");
        }
        if vblade.direct {
            text.push_str("store = \"direct\"\n");
        }
        for (key, sectors) in [("offset", vblade.offset), ("length", vblade.length)] {
            if let Some(sectors) = sectors {
                let _ = writeln!(text, "{key} = {sectors}");
            }
        }
        let macs: Vec<String> = sorted(&vblade.macs).iter().map(Mac::to_string).collect();
        if !macs.is_empty() {
            let _ = writeln!(text, "allow = {}", list(&macs));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[String]) {
    for line in lines {
        // A newline in a name must not end the comment.
        let line: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let _ = writeln!(text, "# {line}");
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    toml::Value::from(texts.to_vec()).to_string()
}
