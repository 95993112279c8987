//! What to ask next.

use crate::args::Op;

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the export.
    Read,
    /// To the export.
    Write,
}

/// A stretch of sectors and what to do with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Read or write.
    pub direction: Direction,
    /// The first sector.
    pub lba: u64,
}

/// The requests of a run, one after the other. Every one starts at a multiple
/// of its length.
#[derive(Debug)]
pub struct Plan {
    op: Op,
    order: Order,
    sectors: u64,
    blocks: u64,
    left: u64,
    random: Random,
}

#[derive(Debug)]
enum Order {
    Random,
    Sequential { next: u64 },
}

impl Plan {
    /// A plan without an end over the first `blocks` blocks of `sectors` sectors.
    pub fn new(op: Op, sequential: bool, sectors: u8, blocks: u64, seed: u32) -> Self {
        let order = if sequential { Order::Sequential { next: 0 } } else { Order::Random };
        Self {
            op,
            order,
            sectors: sectors.into(),
            blocks: blocks.max(1),
            left: u64::MAX,
            random: Random::new(seed),
        }
    }

    /// One read of each block.
    pub fn sweep(sectors: u8, blocks: u64) -> Self {
        Self::new(Op::Read, true, sectors, blocks, 0).ending_after(blocks)
    }

    /// The same plan, ending after `count` requests.
    pub fn ending_after(mut self, count: u64) -> Self {
        self.left = count;
        self
    }

    /// Asks for nothing more.
    pub fn end(&mut self) {
        self.left = 0;
    }

    /// Whether nothing more is to be asked.
    pub fn ended(&self) -> bool {
        self.left == 0
    }

    /// The next request; `None` at the end.
    pub fn next(&mut self) -> Option<Step> {
        self.left = self.left.checked_sub(1)?;
        let block = match &mut self.order {
            Order::Random => self.random.below(self.blocks),
            Order::Sequential { next } => {
                let block = *next;
                *next = (block + 1) % self.blocks;
                block
            }
        };
        let direction = match self.op {
            Op::Read => Direction::Read,
            Op::Write => Direction::Write,
            Op::Mixed if self.random.below(2) == 0 => Direction::Read,
            Op::Mixed => Direction::Write,
        };
        Some(Step { direction, lba: block * self.sectors })
    }
}

/// xorshift64*: fast, and good enough to pick addresses.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u32) -> Self {
        Self(u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        // The high half of the product: no division, no bias that matters.
        ((u128::from(bits) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_reads_each_block_once() {
        let mut plan = Plan::sweep(2, 3);
        let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        let read = |lba| Step { direction: Direction::Read, lba };
        assert_eq!(steps, [read(0), read(2), read(4)]);
        assert!(plan.ended());
    }

    #[test]
    fn random_steps_stay_inside_reach_every_block_and_mix() {
        let mut plan = Plan::new(Op::Mixed, false, 8, 10, 7).ending_after(1000);
        let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        assert!(steps.iter().all(|s| s.lba < 80 && s.lba % 8 == 0));
        assert!((0..10).all(|block| steps.iter().any(|s| s.lba == block * 8)));
        let reads = steps.iter().filter(|s| s.direction == Direction::Read).count();
        assert!((400..600).contains(&reads), "{reads}");
    }
}
