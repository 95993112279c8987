//! Options beside serving: control socket, metrics, persistent state and privileges.

use std::net::SocketAddr;
use std::option;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use smart_default::SmartDefault;

use crate::store::NONE;

/// Default path of the control socket.
pub const CONTROL: &str = "/run/xblade/xblade.sock";

/// Default state folder.
pub const STATE: &str = "/var/lib/xblade";

/// Parses a value that the word `none` turns off.
pub(super) fn or_none<T: FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    Some(text).filter(|text| *text != NONE).map(str::parse).transpose()
}

fn listener(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    or_none(text).map_err(|_| "give an address with its port, as 127.0.0.1:9464, or none")
}

/// Parses the name of a machine.
pub(super) fn host_name(text: &str) -> Result<String, &'static str> {
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    is_name.then(|| text.to_owned()).ok_or("give a name without port and path, as storage.example")
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

/// What surrounds serving. By its path, clap takes an `Option` for a value and not for an
/// option that may be left out.
#[derive(Args, SmartDefault, Clone, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Service")]
pub struct ServiceOptions {
    /// The socket that `xblade status` and its like talk to, or none.
    #[arg(long, value_name = "PATH|none", default_value = CONTROL, value_parser = or_none::<PathBuf>)]
    #[default(Some(CONTROL.into()))]
    pub control: option::Option<PathBuf>,

    /// The group that may use the control socket, besides root: to look, and not to
    /// change or trace.
    #[arg(long, value_name = "GROUP")]
    pub control_group: Option<String>,

    /// The group that may also change what is exported, and trace. Its members need
    /// the control socket: without --control-group it is for this group.
    #[arg(long, value_name = "GROUP")]
    pub admin_group: Option<String>,

    /// Where to give metrics over HTTP, for example 127.0.0.1:9464, or none.
    #[arg(long, value_name = "ADDRESS:PORT|none", default_value = NONE, value_parser = listener)]
    pub metrics: option::Option<SocketAddr>,

    /// A name by which the metrics may be asked for, besides addresses, localhost
    /// and the name of this machine; repeat it for more.
    #[arg(long = "metrics-name", value_name = "NAME", value_parser = host_name)]
    pub metrics_names: Vec<String>,

    /// The folder that keeps config strings, MAC masks and reservations over
    /// restarts, or none: then they are lost.
    #[arg(long, value_name = "FOLDER|none", default_value = STATE, value_parser = or_none::<PathBuf>)]
    #[default(Some(STATE.into()))]
    pub state: option::Option<PathBuf>,

    /// Give up, before the first frame, all rights that serving does not need.
    #[arg(long, value_enum, default_value_t)]
    pub sandbox: OnOff,

    /// The user to change to, if xblade is started as root: all is opened before. Without
    /// it, the user xblade, or an id that no user has; root: none.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// A folder whose files and devices `xblade reload` may open, and clients of the
    /// control socket by a path alone; repeat it for more. Not needed for `xblade export
    /// add`, which opens the file itself, and for the exports at the start.
    #[arg(long = "folder", value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
}
