//! The sequence of requests, and the address patterns that it follows.

use std::fmt;
use std::str::FromStr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

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
    order: Order,
    random: SmallRng,
}

#[derive(Debug)]
enum Order {
    Random,
    Sequential { next: u64 },
    Zipf(Zipf<f64>),
    Hotspot { hot: u64, load: u8 },
}

impl Plan {
    /// An endless plan.
    pub fn new(area: Area, read_percent: u8, pattern: Pattern, seed: u64) -> Self {
        let order = match pattern {
            Pattern::Random => Order::Random,
            Pattern::Sequential => Order::Sequential { next: 0 },
            // Cannot fail for a parsed pattern.
            Pattern::Zipf(theta) => Zipf::new(area.blocks as f64, theta).map_or(Order::Random, Order::Zipf),
            Pattern::Hotspot { space, load } => {
                let hot = (u128::from(area.blocks) * u128::from(space)).div_ceil(100) as u64;
                Order::Hotspot { hot, load }
            }
        };
        Self { area, left: u64::MAX, read_percent, order, random: SmallRng::seed_from_u64(seed) }
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
        let (blocks, random) = (self.area.blocks, &mut self.random);
        match &mut self.order {
            Order::Random => random.random_range(0..blocks),
            Order::Sequential { next } => {
                let block = *next;
                *next = if block + 1 == blocks { 0 } else { block + 1 };
                block
            }
            Order::Zipf(ranks) => scattered(ranks.sample(random) as u64, blocks),
            Order::Hotspot { hot, load } => {
                let to_hot = *hot == blocks || random.random_range(0..100) < *load;
                random.random_range(if to_hot { 0..*hot } else { *hot..blocks })
            }
        }
    }
}

/// The block of a popularity rank. Different ranks up to `blocks` have different blocks: the
/// factor is a prime above any number of blocks.
fn scattered(rank: u64, blocks: u64) -> u64 {
    const PRIME: u128 = 0x9E37_79B1_85EB_CA87;
    (u128::from(rank) * PRIME % u128::from(blocks)) as u64
}

/// An address pattern.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Pattern {
    /// Uniformly random blocks.
    #[default]
    Random,
    /// Consecutive blocks, starting over at the end.
    Sequential,
    /// The nth most popular block is requested with a frequency proportional to n to the
    /// power of minus this exponent. Popular blocks are scattered.
    Zipf(f64),
    /// The first blocks get most of the load.
    Hotspot {
        /// This percentage of the blocks
        space: u8,
        /// gets this percentage of the requests.
        load: u8,
    },
}

/// About the exponent that YCSB uses.
const THETA_USUAL: f64 = 0.99;
const HOTSPOT_USUAL: Pattern = Pattern::Hotspot { space: 20, load: 80 };

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, more) = text.split_once(':').map_or((text, None), |(name, more)| (name, Some(more)));
        match (name, more) {
            ("random", None) => Ok(Self::Random),
            ("sequential", None) => Ok(Self::Sequential),
            ("zipf", None) => Ok(Self::Zipf(THETA_USUAL)),
            ("zipf", Some(theta)) => match theta.parse() {
                Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(Self::Zipf(theta)),
                _ => Err(format!("zipf:{theta}: give a number above 0, at most 10, for example zipf:0.99")),
            },
            ("hotspot", None) => Ok(HOTSPOT_USUAL),
            ("hotspot", Some(shares)) => hotspot(shares)
                .ok_or_else(|| format!("hotspot:{shares}: give two percentages, for example hotspot:20/80")),
            _ => Err("give random, sequential, zipf[:THETA] or hotspot[:SPACE/LOAD]".to_owned()),
        }
    }
}

fn hotspot(shares: &str) -> Option<Pattern> {
    let (space, load) = shares.split_once('/')?;
    let (space, load) = (space.parse().ok()?, load.parse().ok()?);
    ((1..=99).contains(&space) && (1..=100).contains(&load)).then_some(Pattern::Hotspot { space, load })
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => write!(f, "random"),
            Self::Sequential => write!(f, "sequential"),
            Self::Zipf(theta) => write!(f, "zipf {theta}"),
            Self::Hotspot { space, load } => write!(f, "hotspot {space}/{load}"),
        }
    }
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
}

#[cfg(test)]
mod pattern_tests {
    use super::*;

    /// How often each block occurs among `draws`.
    fn counts(pattern: &str, blocks: u64, draws: usize) -> Vec<u64> {
        let area = Area { sectors: 1, first: 0, blocks };
        let mut plan = Plan::new(area, 100, pattern.parse().unwrap(), 5);
        let mut counts = vec![0; blocks as usize];
        (0..draws).for_each(|_| counts[plan.next_block() as usize] += 1);
        counts
    }

    #[test]
    fn patterns_are_what_their_names_say() {
        for (text, expected) in [
            ("random", Ok("random")),
            ("sequential", Ok("sequential")),
            ("zipf", Ok("zipf 0.99")),
            ("zipf:1.2", Ok("zipf 1.2")),
            ("hotspot", Ok("hotspot 20/80")),
            ("hotspot:5/95", Ok("hotspot 5/95")),
            ("zipf:0", Err("zipf:0: give a number above 0")),
            ("hotspot:100/10", Err("hotspot:100/10: give two percentages")),
            ("hotspot:20", Err("hotspot:20: give two percentages")),
            ("sequential:1", Err("give random")),
        ] {
            let parsed: Result<Pattern, String> = text.parse();
            match (parsed, expected) {
                (Ok(pattern), Ok(name)) => assert_eq!(pattern.to_string(), name),
                (Err(said), Err(start)) => assert!(said.starts_with(start), "{said}"),
                other => unreachable!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn random_blocks_are_equally_likely() {
        let counts = counts("random", 10, 100_000);
        assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
    }

    #[test]
    fn zipf_has_the_shares_that_it_should_have_and_scatters_them() {
        for theta in [0.5, 0.99, 1.5] {
            let mut counts = counts(&format!("zipf:{theta}"), 1000, 400_000);
            let popular: Vec<usize> = (0..1000).filter(|&block| counts[block] > 1200).collect();
            assert!(popular.iter().any(|&block| block > 600), "popular ones lie all over: {popular:?}");
            counts.sort_unstable();
            let sum: f64 = (1..=1000).map(|n| f64::from(n).powf(-theta)).sum();
            for rank in [1, 2, 10] {
                let expected = 400_000.0 * f64::from(rank).powf(-theta) / sum;
                let got = counts[1000 - rank as usize] as f64;
                assert!(
                    (got / expected - 1.0).abs() < 0.1,
                    "theta {theta}, rank {rank}: {got} not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_hotspot_has_its_share_and_is_even_inside() {
        let drawn = counts("hotspot:10/70", 100, 100_000);
        let hot: u64 = drawn[..10].iter().sum();
        assert!((69_000..71_000).contains(&hot), "{hot}");
        assert!(drawn[..10].iter().all(|&n| (6_500..7_500).contains(&n)), "{drawn:?}");
        assert!(drawn[10..].iter().all(|&n| n > 200), "{drawn:?}");
        assert_eq!(counts("hotspot", 1, 10), [10]);
    }

    #[test]
    fn scattering_is_a_permutation_and_leaves_no_order() {
        for blocks in [1, 2, 3, 7, 64, 1000, 4097, 1 << 20] {
            let mut all: Vec<u64> = (1..=blocks).map(|rank| scattered(rank, blocks)).collect();
            let neighbours = all.windows(2).filter(|w| w[0].abs_diff(w[1]) <= blocks / 100).count();
            assert!(blocks < 1000 || neighbours < blocks as usize / 20, "{neighbours} of {blocks}");
            all.sort_unstable();
            assert!(all.into_iter().eq(0..blocks), "{blocks}");
        }
        assert!(scattered(u64::MAX, u64::MAX - 1) < u64::MAX);
    }
}
