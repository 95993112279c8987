//! The configuration file: TOML, read with the place of every value, so that
//! all that is wrong is told at once.

mod acl;
mod export;
mod diagnostic;
mod item;
mod keys;
mod one;
mod sections;
mod service;
mod syntax;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use diagnostic::{Diagnostic, Diagnostics, Span};
pub use keys::KEYS;
pub use one::export_from;

use super::Serve;
use diagnostic::Collector;

/// Names of hosts.
const ETHERS: &str = "/etc/ethers";

/// A file that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The system does not give it.
    #[error("{}: cannot read the configuration: {source}: {remedy}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// It is not text.
    #[error("{}:{line}: byte {byte:#04x} is not UTF-8: save the file as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
}

/// What a file says, as far as it could be read.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration. Complete only if there are no faults.
    pub serve: Serve,
    /// Where the paths of its exports stand.
    pub paths: Vec<Span>,
    /// Where its interfaces stand.
    pub interfaces: Vec<Span>,
    /// Where its cores stand.
    pub cores: Vec<Span>,
    /// Where the address for metrics stands, if it does.
    pub metrics: Option<Span>,
    /// All that is wrong.
    pub faults: Diagnostics,
    name: String,
    text: String,
}

impl Loaded {
    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// All that is wrong.
    pub fn complete(self) -> Result<Serve, Diagnostics> {
        if self.faults.is_empty() { Ok(self.serve) } else { Err(self.faults) }
    }

    /// Faults that were found elsewhere, as faults of this file.
    pub fn tell(&self, faults: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics::new(&self.name, &self.text, faults)
    }
}

/// Reads a file.
///
/// # Errors
///
/// It cannot be read, or is not text. All else is in [`Loaded::faults`].
pub fn load(path: &Path) -> Result<Loaded, Unreadable> {
    let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = 1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
        Unreadable::NotText { path: path.to_owned(), line, byte: bytes.get(at).copied().unwrap_or(0) }
    })?;
    let ethers = fs::read_to_string(ETHERS).unwrap_or_default();
    Ok(parse(&path.display().to_string(), &text, &ethers))
}

fn unreadable(path: &Path, source: io::Error) -> Unreadable {
    let remedy = match source.kind() {
        io::ErrorKind::NotFound => {
            "correct the path, or write the file (man xblade.toml, or docs/CONFIGURATION.md)"
        }
        // A root that has given up its rights reloads it.
        io::ErrorKind::PermissionDenied if rustix::process::geteuid().is_root() => {
            "permissions bind this process, though it is root: give the file to root (chown root FILE), or let all read \
             it (chmod a+r FILE)"
        }
        io::ErrorKind::PermissionDenied => "run xblade as root, or give read permission",
        _ => "give a file",
    };
    Unreadable::System { path: path.to_owned(), source, remedy }
}

/// Reads the text of a file that is called so; `ethers` is the text of
/// /etc/ethers.
pub fn parse(name: &str, text: &str, ethers: &str) -> Loaded {
    let (root, errors) = DeTable::parse_recoverable(text);
    let sink = Collector::default();
    let ethers = acl::ethers(ethers);
    let read = sections::read(root.get_ref(), text, &ethers, &sink);
    let mut faults = sink.into_inner();
    faults.extend(errors.iter().map(|error| syntax::fault(text, root.get_ref(), error)));
    Loaded {
        serve: read.serve.settled(),
        paths: read.paths,
        interfaces: read.interfaces,
        cores: read.cores,
        metrics: read.metrics,
        faults: Diagnostics::new(name, text, faults),
        name: name.to_owned(),
        text: text.to_owned(),
    }
}
