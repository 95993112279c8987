//! The sequence of requests.

use super::pattern::{Blocks, Pattern};

/// The direction of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the export.
    Read,
    /// To the export.
    Write,
}

/// A request of the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Read or write.
    pub direction: Direction,
    /// The first sector.
    pub lba: u64,
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
    area: Area,
    /// The percentage of reads.
    read_percent: u8,
    order: Blocks,
    left: u64,
}

impl Plan {
    /// An endless plan.
    pub fn new(area: Area, read_percent: u8, pattern: Pattern, seed: u64) -> Self {
        Self { area, read_percent, order: Blocks::new(pattern, area.blocks, seed), left: u64::MAX }
    }

    /// One read of each block.
    pub fn sweep(area: Area) -> Self {
        Self::new(area, 100, Pattern::Sequential, 0).ending_after(area.blocks)
    }

    /// Limits the plan to `count` requests.
    pub fn ending_after(mut self, count: u64) -> Self {
        self.left = count;
        self
    }

    /// The sectors that it uses.
    pub fn area(&self) -> Area {
        self.area
    }

    /// Ends after `count` more requests.
    pub fn end_after(&mut self, count: u64) {
        self.left = count;
    }

    /// Whether the plan has ended.
    pub fn ended(&self) -> bool {
        self.left == 0
    }

    /// The next request; `None` at the end.
    pub fn next(&mut self) -> Option<Step> {
        self.left = self.left.checked_sub(1)?;
        let block = self.area.first + self.order.next();
        let direction = match self.read_percent {
            100 => Direction::Read,
            0 => Direction::Write,
            percent if self.order.chance(percent) => Direction::Read,
            _ => Direction::Write,
        };
        Some(Step { direction, lba: block * u64::from(self.area.sectors) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_reads_each_block_of_its_area_once() {
        let mut plan = Plan::sweep(Area { sectors: 2, first: 5, blocks: 3 });
        let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        let read = |lba| Step { direction: Direction::Read, lba };
        assert_eq!(steps, [read(10), read(12), read(14)]);
        assert!(plan.ended());
    }

    #[test]
    fn steps_stay_inside_reach_every_block_and_mix_as_asked() {
        for percent in [0, 30, 50, 100] {
            let area = Area { sectors: 8, first: 2, blocks: 10 };
            let mut plan = Plan::new(area, percent, Pattern::Random, 7).ending_after(10_000);
            let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
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
}
