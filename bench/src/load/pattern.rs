//! Address patterns.

use std::fmt;
use std::str::FromStr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

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
        let counts = counts("hotspot:10/70", 100, 100_000);
        let hot: u64 = counts[..10].iter().sum();
        assert!((69_000..71_000).contains(&hot), "{hot}");
        assert!(counts[..10].iter().all(|&n| (6_500..7_500).contains(&n)), "{counts:?}");
        assert!(counts[10..].iter().all(|&n| n > 200), "{counts:?}");
        assert_eq!(super::tests::counts("hotspot", 1, 10), [10]);
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
