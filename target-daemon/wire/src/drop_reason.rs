//! Why a frame gets no reply.

/// Why a frame gets no reply. Parsing and executing share this list, so one array of
/// counters, in the order of [`DropReason::NAMES`], covers both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DropReason {
    /// The frame is shorter than the header of its command.
    TooShort,
    /// The EtherType, after at most two VLAN tags, is not 0x88A2.
    NotAoe,
    /// The response flag is set: replying would start a reply storm.
    Response,
    /// The version of the header is not 1.
    Version,
    /// The source is a group address, zero, or our own address.
    Source,
    /// The destination is neither our address nor broadcast.
    Destination,
    /// No export has this shelf and slot.
    Address,
    /// The export is not served on the interface that received the request.
    Interface,
    /// The export is not served in the VLAN of the request.
    Vlan,
    /// The source is not on the shelf's static list.
    Acl,
    /// The source is not on the export's mask list.
    Mask,
    /// The config string is longer than 1024 bytes or than the frame.
    ConfigLength,
    /// A config test did not match; the protocol demands silence.
    ConfigMismatch,
    /// A write to a broadcast address, which every target would execute.
    BroadcastWrite,
    /// The reply to a read exceeds the interface's current MTU. An error would be final,
    /// but the MTU may be raised again.
    ReplyTooLong,
}

impl DropReason {
    /// The names of all reasons in their order: stable, usable as metric labels.
    pub const NAMES: [&'static str; 15] = [
        "too_short",
        "not_aoe",
        "response",
        "version",
        "source",
        "destination",
        "address",
        "interface",
        "vlan",
        "acl",
        "mask",
        "config_length",
        "config_mismatch",
        "broadcast_write",
        "reply_too_long",
    ];

    /// Whether the request was not for the export, or not from a host that may use it.
    #[inline]
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Address | Self::Interface | Self::Vlan | Self::Acl | Self::Mask)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::DropReason::*;

    #[test]
    fn every_reason_has_its_index_and_a_name_of_its_own() {
        let all = [
            TooShort,
            NotAoe,
            Response,
            Version,
            Source,
            Destination,
            Address,
            Interface,
            Vlan,
            Acl,
            Mask,
            ConfigLength,
            ConfigMismatch,
            BroadcastWrite,
            ReplyTooLong,
        ];
        assert_eq!(all.map(|reason| reason as usize), std::array::from_fn(|place| place));
        for reason in all {
            assert_eq!(reason.name().replace('_', ""), format!("{reason:?}").to_lowercase());
        }
    }
}
