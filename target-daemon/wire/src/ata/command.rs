//! ATA opcodes and what they do.

/// An ATA opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// READ SECTORS.
    ReadSectors,
    /// READ SECTORS EXT.
    ReadSectorsExt,
    /// READ DMA.
    ReadDma,
    /// READ DMA EXT.
    ReadDmaExt,
    /// WRITE SECTORS.
    WriteSectors,
    /// WRITE SECTORS EXT.
    WriteSectorsExt,
    /// WRITE DMA.
    WriteDma,
    /// WRITE DMA EXT.
    WriteDmaExt,
    /// IDENTIFY DEVICE.
    Identify,
    /// FLUSH CACHE.
    FlushCache,
    /// FLUSH CACHE EXT.
    FlushCacheExt,
    /// CHECK POWER MODE.
    CheckPowerMode,
    /// SET FEATURES.
    SetFeatures,
    /// DATA SET MANAGEMENT: TRIM.
    DataSetManagement,
    /// Any other, including SMART and IDENTIFY PACKET DEVICE.
    Unknown(u8),
}

/// Which way a command moves data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the store to the initiator.
    Read,
    /// From the initiator: it changes sectors, using data in the request.
    Write,
    /// No data.
    None,
}

impl Command {
    /// The direction of the command's data.
    #[inline]
    pub fn direction(self) -> Direction {
        match self {
            Self::ReadSectors | Self::ReadSectorsExt | Self::ReadDma | Self::ReadDmaExt => Direction::Read,
            Self::WriteSectors
            | Self::WriteSectorsExt
            | Self::WriteDma
            | Self::WriteDmaExt
            | Self::DataSetManagement => Direction::Write,
            _ => Direction::None,
        }
    }

    /// Whether the LBA has 48 bits. All other commands have 28, and initiators set the
    /// next four bits to 0xA or 0xE.
    #[inline]
    pub fn is_extended(self) -> bool {
        matches!(
            self,
            Self::ReadSectorsExt
                | Self::ReadDmaExt
                | Self::WriteSectorsExt
                | Self::WriteDmaExt
                | Self::FlushCacheExt
        )
    }
}

/// Declares the opcodes, in both directions: a search would take as long as all the rest
/// of parsing.
macro_rules! opcodes {
    ($($command:ident = $opcode:literal),+ $(,)?) => {
        impl From<u8> for Command {
            #[inline]
            fn from(opcode: u8) -> Self {
                match opcode {
                    $($opcode => Self::$command,)+
                    _ => Self::Unknown(opcode),
                }
            }
        }

        impl From<Command> for u8 {
            #[inline]
            fn from(command: Command) -> Self {
                match command {
                    $(Command::$command => $opcode,)+
                    Command::Unknown(opcode) => opcode,
                }
            }
        }
    };
}

opcodes! {
    ReadSectors = 0x20,
    ReadSectorsExt = 0x24,
    ReadDma = 0xC8,
    ReadDmaExt = 0x25,
    WriteSectors = 0x30,
    WriteSectorsExt = 0x34,
    WriteDma = 0xCA,
    WriteDmaExt = 0x35,
    Identify = 0xEC,
    FlushCache = 0xE7,
    FlushCacheExt = 0xEA,
    CheckPowerMode = 0xE5,
    SetFeatures = 0xEF,
    DataSetManagement = 0x06,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_the_published_ones_and_all_others_stay_visible() {
        for opcode in 0..=255 {
            assert_eq!(u8::from(Command::from(opcode)), opcode);
        }
        let named = (0..=255).filter(|&opcode| !matches!(opcode.into(), Command::Unknown(_)));
        let published = [0x06, 0x20, 0x24, 0x25, 0x30, 0x34, 0x35, 0xC8, 0xCA, 0xE5, 0xE7, 0xEA, 0xEC, 0xEF];
        assert_eq!(named.collect::<Vec<u8>>(), published);
    }

    #[test]
    fn opcode_decides_on_direction() {
        for opcode in 0..=255 {
            let expected = match opcode {
                0x20 | 0x24 | 0xC8 | 0x25 => Direction::Read,
                0x06 | 0x30 | 0x34 | 0xCA | 0x35 => Direction::Write,
                _ => Direction::None,
            };
            assert_eq!(Command::from(opcode).direction(), expected, "{opcode:#x}");
        }
    }
}
