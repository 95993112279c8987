//! What hosts can set on an export over the wire, and whether they may.

/// A value that hosts can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HostSetting {
    /// The config string.
    Config,
    /// The mask list.
    Mask,
    /// The reservation.
    Reservation,
}

impl HostSetting {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 3] = [Self::Config, Self::Mask, Self::Reservation];

    /// The name in documents, paths and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Mask => "mask",
            Self::Reservation => "reservation",
        }
    }

    /// The name in sentences.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Config => "config string",
            Self::Mask => "mask list",
            Self::Reservation => "reservation",
        }
    }

    /// The command that shows and clears it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Config => "config-strings",
            Self::Mask => "masks",
            Self::Reservation => "reservations",
        }
    }
}

/// Whether hosts may set these values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostSettings {
    /// They may, and the values survive a restart.
    Allow,
    /// They may, until the export is opened again.
    Volatile,
    /// They may not, but the sole holder of a reservation may release it.
    #[default]
    Refuse,
}
