//! Why a frame gets no reply.

/// Why a frame gets no reply. Parsing and executing share this list, so one array of
/// counters, indexed by [`DropReason::index`], covers both.
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
    /// Every reason, in the order of [`DropReason::index`].
    pub const ALL: [Self; 13] = [
        Self::TooShort,
        Self::NotAoe,
        Self::Response,
        Self::Version,
        Self::Source,
        Self::Destination,
        Self::Address,
        Self::Acl,
        Self::Mask,
        Self::ConfigLength,
        Self::ConfigMismatch,
        Self::BroadcastWrite,
        Self::ReplyTooLong,
    ];

    /// Index in [`DropReason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// A stable name, usable as a metric label.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::NotAoe => "not_aoe",
            Self::Response => "response",
            Self::Version => "version",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Address => "address",
            Self::Acl => "acl",
            Self::Mask => "mask",
            Self::ConfigLength => "config_length",
            Self::ConfigMismatch => "config_mismatch",
            Self::BroadcastWrite => "broadcast_write",
            Self::ReplyTooLong => "reply_too_long",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DropReason;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_index_and_a_name_of_its_own() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place, "{reason:?}");
        }
        let names: HashSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
