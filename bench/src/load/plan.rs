//! The sequence of requests, and the address patterns that it follows.

use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

/// The direction of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the export.
    Read,
    /// To the export.
    Write,
}

/// A request. All of an area have the same length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Read or write.
    pub direction: Direction,
    /// The first sector.
    pub lba: u64,
    /// The generation of a write, where writes are checked.
    pub generation: u32,
}

/// An area of sectors, divided into blocks of the size of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// Sectors in a request.
    pub sectors: u8,
    /// The first block.
    pub first: u64,
    /// The number of blocks.
    pub blocks: u64,
}

impl Area {
    /// The first sector.
    pub fn lba(&self) -> u64 {
        self.first * u64::from(self.sectors)
    }

    /// The number of sectors.
    pub fn len(&self) -> u64 {
        self.blocks * u64::from(self.sectors)
    }
}

/// The requests of a run, in order. Each starts at a multiple of its length.
#[derive(Debug)]
pub struct Plan {
    /// The sectors that it uses.
    pub area: Area,
    /// The number of requests until it ends.
    pub left: u64,
    /// The percentage of reads.
    read_percent: u8,
    pattern: Pattern,
    /// The next block of a sequence.
    block: u64,
    random: SmallRng,
}

impl Plan {
    /// An endless plan.
    pub fn new(area: Area, read_percent: u8, pattern: Pattern, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { area, left: u64::MAX, read_percent, pattern, block: 0, random }
    }

    /// One read of each block.
    pub fn sweep(area: Area) -> Self {
        Self { left: area.blocks, ..Self::new(area, 100, Pattern::Sequential, 0) }
    }

    /// The next request; `None` at the end.
    pub fn next(&mut self) -> Option<Request> {
        self.left = self.left.checked_sub(1)?;
        let block = self.area.first + self.next_block();
        let direction = match self.read_percent {
            100 => Direction::Read,
            0 => Direction::Write,
            percent if self.random.random_range(0..100) < percent => Direction::Read,
            _ => Direction::Write,
        };
        Some(Request { direction, lba: block * u64::from(self.area.sectors), generation: 0 })
    }

    /// The next block, counted from the first of the area.
    fn next_block(&mut self) -> u64 {
        let blocks = self.area.blocks;
        match self.pattern {
            Pattern::Random => self.random.random_range(0..blocks),
            Pattern::Sequential => {
                let block = self.block;
                self.block = if block + 1 == blocks { 0 } else { block + 1 };
                block
            }
        }
    }
}

/// An address pattern.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Uniformly random blocks.
    Random,
    /// Consecutive blocks, starting over at the end.
    Sequential,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_reads_each_block_of_its_area_once() {
        let mut plan = Plan::sweep(Area { sectors: 2, first: 5, blocks: 3 });
        let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        let read = |lba| Request { direction: Direction::Read, lba, generation: 0 };
        assert_eq!(steps, [read(10), read(12), read(14)]);
        assert_eq!(plan.left, 0);
    }

    #[test]
    fn steps_stay_inside_reach_every_block_and_mix_as_asked() {
        for percent in [0, 30, 50, 100] {
            let area = Area { sectors: 8, first: 2, blocks: 10 };
            let mut plan = Plan::new(area, percent, Pattern::Random, 7);
            let steps: Vec<_> = (0..10_000).map(|_| plan.next().unwrap()).collect();
            assert!(steps.iter().all(|s| (16..96).contains(&s.lba) && s.lba % 8 == 0));
            assert!((2..12).all(|block| steps.iter().any(|s| s.lba == block * 8)));
            let reads = steps.iter().filter(|s| s.direction == Direction::Read).count();
            let expected = usize::from(percent) * 100;
            assert!(
                reads.abs_diff(expected) < 150 * usize::from(percent % 100 != 0) + 1,
                "{percent}: {reads}"
            );
        }
    }

    #[test]
    fn random_blocks_are_equally_likely() {
        let mut plan = Plan::new(Area { sectors: 1, first: 0, blocks: 10 }, 100, Pattern::Random, 5);
        let mut counts = [0; 10];
        (0..100_000).for_each(|_| counts[plan.next_block() as usize] += 1);
        assert!(counts.iter().all(|n| (9_500..10_500).contains(n)), "{counts:?}");
    }
}
