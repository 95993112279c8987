//! Why the XDP program could not be attached.

use std::io;

use super::facts::XdpMode;
use super::occupant::Occupant;
use super::program::MapError;

/// Why [`super::Program::attach`] refused. The interface is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No host could send to it, and XDP does not work there.
    #[error("interface `{name}` is a loopback: name an Ethernet interface")]
    Loopback {
        /// The interface.
        name: String,
    },
    /// A foreign program is attached, possibly that of another xblade. It is never
    /// replaced.
    #[error("{0}")]
    Occupied(Box<Occupant>),
    /// An interface on top of this one runs a program, and the kernel refuses any below it.
    #[error("interface `{name}` lies below {}", upper(above.as_deref()))]
    Below {
        /// The interface.
        name: String,
        /// The program above it; `None` if it is not visible from here.
        above: Option<Box<Occupant>>,
    },
    /// The state of the interface could not be read.
    #[error("cannot ask which XDP programs interface `{name}` runs")]
    Query {
        /// The interface.
        name: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel rejected the program or its maps.
    #[error("cannot load the XDP program{}", remedy(missing))]
    Load {
        /// The capabilities that this process lacks, a possible reason.
        missing: Vec<&'static str>,
        /// The error of the loader or the kernel.
        source: Box<aya::EbpfError>,
    },
    /// The maps could not be filled.
    #[error("cannot set up the XDP program")]
    Map(#[from] MapError),
    /// The driver or the kernel refused the program in the requested mode.
    #[error("interface `{name}` refuses the XDP program in {mode} mode ({reason}){}", advice(*mode))]
    Refused {
        /// The interface.
        name: String,
        /// The requested mode.
        mode: XdpMode,
        /// The kernel's reason.
        reason: String,
    },
    /// Mode auto, and neither mode worked.
    #[error("interface `{name}` refuses the XDP program, native ({native}) and generic ({generic})")]
    RefusedBoth {
        /// The interface.
        name: String,
        /// The kernel's reason against native mode.
        native: String,
        /// The kernel's reason against generic mode.
        generic: String,
    },
    /// The kernel would keep the program attached after a crash of this process.
    #[error("interface `{name}`: this kernel has no bpf_link for XDP, Linux 5.9 has: upgrade it")]
    NoLink {
        /// The interface.
        name: String,
    },
}

fn upper(above: Option<&Occupant>) -> String {
    match above {
        Some(above) => {
            format!("`{}`, and the kernel takes no XDP program below another: {above}", above.interface)
        }
        None => "another one (a bridge, bond, VLAN or macvlan, maybe in another network namespace) that runs an XDP \
                 program, and the kernel takes none below that: take that program off, or serve that interface"
            .to_owned(),
    }
}

fn remedy(missing: &[&str]) -> String {
    if missing.is_empty() {
        return String::new();
    }
    format!(": run as root or grant {}", missing.join(", "))
}

fn advice(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Native => ": choose generic mode or auto, or lower the MTU",
        XdpMode::Generic | XdpMode::Offload => "",
    }
}
