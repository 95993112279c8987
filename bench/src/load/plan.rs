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

/// An endless sequence of blocks.
#[derive(Debug)]
pub struct Blocks {
    order: Order,
    blocks: u64,
    random: SmallRng,
}

#[derive(Debug)]
enum Order {
    Random,
    Sequential { next: u64 },
    Zipf { ranks: Zipf<f64>, places: Scatter },
    Hotspot { hot: u64, load: u8 },
}

impl Blocks {
    /// A sequence of numbers below `blocks`.
    pub fn new(pattern: Pattern, blocks: u64, seed: u64) -> Self {
        let blocks = blocks.max(1);
        let order = match pattern {
            Pattern::Random => Order::Random,
            Pattern::Sequential => Order::Sequential { next: 0 },
            Pattern::Zipf(theta) => match Zipf::new(blocks as f64, theta) {
                Ok(ranks) => Order::Zipf { ranks, places: Scatter::new(blocks) },
                // Cannot happen for a parsed pattern.
                Err(_) => Order::Random,
            },
            Pattern::Hotspot { space, load } => {
                let hot = (u128::from(blocks) * u128::from(space)).div_ceil(100) as u64;
                Order::Hotspot { hot, load }
            }
        };
        Self { order, blocks, random: SmallRng::seed_from_u64(seed) }
    }

    /// The next block.
    pub fn next(&mut self) -> u64 {
        match &mut self.order {
            Order::Random => self.random.random_range(0..self.blocks),
            Order::Sequential { next } => {
                let block = *next;
                *next = if block + 1 == self.blocks { 0 } else { block + 1 };
                block
            }
            Order::Zipf { ranks, places } => {
                let rank = ranks.sample(&mut self.random) as u64;
                places.of(rank.saturating_sub(1).min(self.blocks - 1))
            }
            Order::Hotspot { hot, load } => {
                let to_hot = *hot == self.blocks || self.random.random_range(0..100) < *load;
                let range = if to_hot { 0..*hot } else { *hot..self.blocks };
                self.random.random_range(range)
            }
        }
    }

    /// True with this probability.
    pub fn chance(&mut self, percent: u8) -> bool {
        self.random.random_range(0..100) < percent
    }
}

/// A fixed pseudorandom permutation of the numbers below a limit.
///
/// Each step is a permutation of the smallest power of two that holds the limit. A result
/// beyond the limit is permuted again until it is below.
#[derive(Debug)]
struct Scatter {
    limit: u64,
    mask: u64,
    shift: u32,
}

impl Scatter {
    fn new(limit: u64) -> Self {
        let bits = 64 - limit.saturating_sub(1).leading_zeros();
        Self { limit, mask: u64::MAX.checked_shr(64 - bits).unwrap_or(0), shift: bits.div_ceil(2).max(1) }
    }

    fn of(&self, n: u64) -> u64 {
        let mut at = n;
        loop {
            at = (at ^ at >> self.shift).wrapping_mul(0x9E37_79B9_7F4A_7C15) & self.mask;
            at = (at ^ at >> self.shift).wrapping_mul(0xBF58_476D_1CE4_E5B9).wrapping_add(1) & self.mask;
            at ^= at >> self.shift;
            if at < self.limit {
                return at;
            }
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

#[cfg(test)]
mod pattern_tests {
    use super::*;

    /// How often each block occurs among `draws`.
    fn counts(pattern: &str, blocks: u64, draws: usize) -> Vec<u64> {
        let mut order = Blocks::new(pattern.parse().unwrap(), blocks, 5);
        let mut counts = vec![0; blocks as usize];
        (0..draws).for_each(|_| counts[order.next() as usize] += 1);
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
        for limit in [1, 2, 3, 7, 64, 1000, 4097] {
            let places = Scatter::new(limit);
            let mut all: Vec<u64> = (0..limit).map(|n| places.of(n)).collect();
            let neighbours = all.windows(2).filter(|w| w[0].abs_diff(w[1]) <= limit / 100).count();
            assert!(limit < 1000 || neighbours < limit as usize / 20, "{neighbours} of {limit}");
            all.sort_unstable();
            assert!(all.into_iter().eq(0..limit), "{limit}");
        }
        assert!(Scatter::new(u64::MAX).of(5) < u64::MAX);
    }
}
