//! Limits on sectors per frame and on outstanding requests.

/// Maximum number of sectors in a frame that is advertised. An MTU of 9000 has room for
/// 17, but 16 keeps every request aligned to 4 KiB. Hosts that learned a larger number
/// from another target may send more, and are served: see [`ReplyLimit`].
pub const SECTORS_PER_FRAME_MAX: u8 = 16;
/// The maximum that Linux uses.
pub const BUFFER_COUNT_DEFAULT: u16 = 64;
/// Minimum MTU: room for one sector.
pub const MTU_MIN: u32 = AOE_ATA_LEN + SECTOR_LEN;

const SECTOR_LEN: u32 = 512;
/// AoE and ATA header in bytes.
const AOE_ATA_LEN: u32 = 22;
/// What Linux subtracts from the MTU: it includes the Ethernet header, although the MTU
/// does not count it. A limit above that of Linux would never be used.
const LINUX_HEADERS_LEN: u32 = 36;

/// A limit outside its valid range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LimitError {
    /// Linux would never send its first request.
    #[error("buffer count {0} makes Linux initiators wait forever: take 2 to 65535 (default 64)")]
    BufferCountSmall(u32),
    /// The field of the protocol has only 16 bits.
    #[error("buffer count {0} does not fit the protocol: take 2 to 65535 (default 64)")]
    BufferCountLarge(u32),
    /// There is no room for a sector.
    #[error("an MTU of {0} has no room for a sector: set at least {MTU_MIN} (1500 is usual, 9000 is fast)")]
    Mtu(u32),
}

/// Checks a buffer count.
pub fn buffer_count(count: u32) -> Result<u16, LimitError> {
    match u16::try_from(count) {
        Ok(0 | 1) => Err(LimitError::BufferCountSmall(count)),
        Ok(count) => Ok(count),
        Err(_) => Err(LimitError::BufferCountLarge(count)),
    }
}

/// Checks that an interface can carry AoE at all.
pub fn check_mtu(mtu: u32) -> Result<u32, LimitError> {
    if mtu < MTU_MIN { Err(LimitError::Mtu(mtu)) } else { Ok(mtu) }
}

/// Maximum number of sectors in a frame on an interface: a power of two, 1 to
/// [`SECTORS_PER_FRAME_MAX`]. `mtu` is in bytes.
pub fn sectors_per_frame(mtu: u32) -> u8 {
    let room = (mtu.saturating_sub(LINUX_HEADERS_LEN) / SECTOR_LEN).max(1);
    let largest_power = 1 << room.ilog2();
    SECTORS_PER_FRAME_MAX.min(u8::try_from(largest_power).unwrap_or(u8::MAX))
}

/// Maximum number of sectors in the reply to a read, whatever is advertised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyLimit {
    /// At the interface's current MTU.
    pub now: u8,
    /// At any MTU: what the rings can carry in one frame.
    pub ever: u8,
}

impl ReplyLimit {
    /// The limit at this MTU, if the rings carry `ever` sectors in a frame.
    pub fn new(mtu: u32, ever: u8) -> Self {
        let fitting = mtu.saturating_sub(AOE_ATA_LEN) / SECTOR_LEN;
        Self { now: u8::try_from(fitting).unwrap_or(u8::MAX).min(ever), ever }
    }

    /// Minimum MTU for a reply with this number of sectors.
    pub fn mtu_for(sectors: u8) -> u32 {
        AOE_ATA_LEN + u32::from(sectors) * SECTOR_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_limited_by_what_fits_and_not_by_what_is_advertised() {
        for (mtu, ever, now) in [
            (0, 24, 0),
            (533, 24, 0),
            (534, 24, 1),
            (1500, 24, 2),
            (1557, 24, 2),
            (1558, 24, 3),
            (8726, 24, 17),
            (9000, 24, 17),
            (9000, 6, 6),
            (65535, 24, 24),
            (u32::MAX, 255, 255),
        ] {
            assert_eq!(ReplyLimit::new(mtu, ever), ReplyLimit { now, ever }, "MTU {mtu}, rings {ever}");
        }
        for sectors in [1, 2, 17, 255] {
            let mtu = ReplyLimit::mtu_for(sectors);
            assert_eq!(ReplyLimit::new(mtu, 255).now, sectors);
            assert_eq!(ReplyLimit::new(mtu - 1, 255).now, sectors - 1);
        }
    }

    #[test]
    fn sectors_are_the_largest_power_of_two_that_linux_would_use() {
        for (mtu, sectors) in [
            (0, 1),
            (576, 1),
            (1059, 1),
            (1060, 2),
            (1500, 2),
            (2083, 2),
            (2084, 4),
            (4096, 4),
            (4131, 4),
            (4132, 8),
            (8227, 8),
            (8228, 16),
            (9000, 16),
            (16110, 16),
            (65535, 16),
            (u32::MAX, 16),
        ] {
            assert_eq!(sectors_per_frame(mtu), sectors, "MTU {mtu}");
        }
    }

    #[test]
    fn every_mtu_in_use_carries_what_is_advertised() {
        for mtu in MTU_MIN..=10_000 {
            let sectors = u32::from(sectors_per_frame(mtu));
            assert!(sectors.is_power_of_two());
            assert!(AOE_ATA_LEN + sectors * SECTOR_LEN <= mtu, "MTU {mtu}");
        }
    }

    #[test]
    fn limits_that_cannot_be_kept_are_refused_with_the_reason() {
        for (count, reason) in [(0, "wait forever"), (1, "wait forever"), (65536, "does not fit")] {
            let error = buffer_count(count).map_err(|error| error.to_string());
            assert!(error.is_err_and(|text| text.contains(reason)), "{count}");
        }
        assert_eq!(buffer_count(2), Ok(2));
        assert_eq!(buffer_count(65535), Ok(65535));
        assert_eq!(check_mtu(533), Err(LimitError::Mtu(533)));
        assert_eq!(check_mtu(534), Ok(534));
    }
}
