//! Options beside serving: control socket, metrics, persistent state and privileges.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

/// The word that turns an option off.
const NONE: &str = "none";

/// Default path of the control socket.
pub const CONTROL: &str = "/run/xblade/xblade.sock";

/// Default state folder.
pub const STATE: &str = "/var/lib/xblade";

/// A path, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathOrNone(pub Option<PathBuf>);

/// An address to listen on, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddrOrNone(pub Option<SocketAddr>);

impl FromStr for PathOrNone {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self((text != NONE).then(|| text.into())))
    }
}

impl fmt::Display for PathOrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str(NONE),
        }
    }
}

impl FromStr for AddrOrNone {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let addr = Some(text).filter(|text| *text != NONE).map(str::parse).transpose();
        addr.map(Self).map_err(|_| "give an address with its port, as 127.0.0.1:9464, or none")
    }
}

impl fmt::Display for AddrOrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(addr) => addr.fmt(f),
            None => f.write_str(NONE),
        }
    }
}

/// Yes or no.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnOff {
    /// Yes.
    #[default]
    On,
    /// No.
    Off,
}

/// What surrounds serving.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Service")]
pub struct ServiceOptions {
    /// The socket that `xblade status` and its like talk to, or none.
    #[arg(long, value_name = "PATH|none", default_value_t = Self::default().control)]
    pub control: PathOrNone,

    /// The group that may use the control socket, besides root.
    #[arg(long, value_name = "GROUP")]
    pub control_group: Option<String>,

    /// Where to give metrics over HTTP, for example 127.0.0.1:9464, or none.
    #[arg(long, value_name = "ADDRESS:PORT|none", default_value_t = Self::default().metrics)]
    pub metrics: AddrOrNone,

    /// The folder that keeps config strings, MAC masks and reservations over
    /// restarts, or none: then they are lost.
    #[arg(long, value_name = "FOLDER|none", default_value_t = Self::default().state)]
    pub state: PathOrNone,

    /// Give up, before the first frame, all rights that serving does not need.
    #[arg(long, value_enum, default_value_t)]
    pub sandbox: OnOff,

    /// A folder whose files and devices may be exported later, by `xblade
    /// export add` or `xblade reload`; repeat it for more. Those of the exports
    /// at the start may be in any case.
    #[arg(long = "folder", value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            control: PathOrNone(Some(CONTROL.into())),
            control_group: None,
            metrics: AddrOrNone(None),
            state: PathOrNone(Some(STATE.into())),
            sandbox: OnOff::On,
            folders: Vec::new(),
        }
    }
}
