//! The configuration file: TOML, parsed with the location of every value, so that all
//! errors can be reported at once.

mod acl;
mod export;
mod diagnostic;
mod host_limit;
mod item;
mod keys;
mod sections;
mod syntax;

use std::io;
use std::path::Path;

use toml::de::DeTable;
use toml::{Table, Value};

pub use diagnostic::{Diagnostic, Diagnostics, Span};
pub use export::ExportSpans;
pub use keys::{KEYS, ROWS, hosts};

use super::{Export, Serve};
use crate::store::Problem;
use crate::text;
use crate::wire::ether::Mac;
use diagnostic::{FAULTS_MAX, Sink};

/// The system's table of host names and MAC addresses.
const ETHERS: &str = "/etc/ethers";

/// The content of a file, as far as it could be read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The configuration. Complete only if there are no errors.
    pub serve: Serve,
    /// The locations of values of its exports.
    pub exports: Vec<ExportSpans>,
    /// The locations of its interfaces.
    pub interfaces: Vec<Span>,
    /// The locations of its cores.
    pub cores: Vec<Span>,
    /// The location of the metrics address, if there is one.
    pub metrics: Option<Span>,
    /// All errors.
    pub faults: Diagnostics,
}

impl Loaded {
    /// The configuration, if it has no errors.
    ///
    /// # Errors
    ///
    /// All errors.
    pub fn complete(self) -> Result<Serve, Diagnostics> {
        if self.faults.is_empty() { Ok(self.serve) } else { Err(self.faults) }
    }
}

/// Reads a file.
///
/// # Errors
///
/// If it cannot be read or is not UTF-8. All other errors are in [`Loaded::faults`].
pub fn load(path: &Path) -> Result<Loaded, Problem> {
    let text = text::read(path).map_err(|source| unreadable(path, &source))?;
    let ethers = text::read(Path::new(ETHERS)).unwrap_or_default();
    Ok(parse(&path.display().to_string(), &text, &ethers))
}

fn unreadable(path: &Path, source: &io::Error) -> Problem {
    let remedy = match source.kind() {
        io::ErrorKind::NotFound => {
            "correct the path, or write the file (man xblade.toml, or docs/CONFIGURATION.md)"
        }
        // A root process without its privileges, during a reload.
        io::ErrorKind::PermissionDenied if rustix::process::geteuid().is_root() => {
            "permissions bind this process, though it is root: give the file to root (chown root FILE), or let all read \
             it (chmod a+r FILE)"
        }
        io::ErrorKind::InvalidData => "save the file as UTF-8",
        io::ErrorKind::FileTooLarge => "make it shorter",
        io::ErrorKind::PermissionDenied => {
            "let the user of this process read it (chmod a+r FILE, and a+x for its folders), or run xblade as root \
             (--user root)"
        }
        _ => "give a file",
    };
    Problem::new(format!("{}: cannot read the configuration: {source}", path.display()), remedy)
}

/// The name of a host in /etc/ethers.
pub fn host_name(mac: Mac) -> Option<String> {
    let hosts = acl::ethers(&text::read(Path::new(ETHERS)).ok()?);
    hosts.into_iter().filter(|(_, other)| *other == mac).map(|(name, _)| name).min()
}

/// Parses the text of a file with this name; `ethers` is the text of /etc/ethers.
pub fn parse(name: &str, text: &str, ethers: &str) -> Loaded {
    let loaded = read(name, text, ethers);
    Loaded { serve: loaded.serve.settled(), ..loaded }
}

/// Parses an export from the keys of `[[export]]`, as sent to a running daemon. Names in
/// `allow` are looked up in /etc/ethers.
///
/// # Errors
///
/// All errors, in one line.
pub fn export_from(keys: &Table) -> Result<Export, String> {
    let all = [("interfaces", vec!["any"].into()), ("export", vec![keys.clone()].into())];
    let all: Table = all.map(|(key, value): (&str, Value)| (key.to_owned(), value)).into_iter().collect();
    let text = toml::to_string(&all).map_err(|error| error.to_string())?;
    let mut loaded = read("", &text, &text::read(Path::new(ETHERS)).unwrap_or_default());
    let export = loaded.serve.exports.pop().filter(|_| loaded.faults.is_empty());
    export.ok_or_else(|| loaded.faults.in_one_line())
}

/// Reads a file, without what follows from its defaults.
fn read(name: &str, text: &str, ethers: &str) -> Loaded {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut loaded = Loaded::default();
    let sink = Sink::default();
    sections::read(&mut loaded, root.get_ref(), text, &acl::ethers(ethers), &sink);
    let mut faults = sink.into_inner();
    faults.extend(errors.iter().take(FAULTS_MAX + 1).map(|error| syntax::fault(text, root.get_ref(), error)));
    loaded.faults = Diagnostics::new(name, text, faults);
    loaded
}
