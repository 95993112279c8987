//! Assigns exports to threads.

use anyhow::{Result, bail};

use super::plan::Area;

/// A part of an export that one thread loads.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    /// The index of the export.
    pub export: usize,
    /// Its sectors.
    pub area: Area,
    /// Requests in flight.
    pub window: u16,
    /// Its fraction of the whole load, 0 to 1.
    pub part: f64,
}

/// For each thread, the exports that it loads. Thread t uses the interface `t %
/// interfaces`; `reached[export][interface]` is whether the export answers there.
///
/// No thread gets an export twice, every thread gets at least one, and no export is left
/// out.
pub fn assign(reached: &[Vec<bool>], interfaces: usize, threads: usize) -> Result<Vec<Vec<usize>>> {
    let mut hands: Vec<Vec<usize>> = vec![Vec::new(); threads];
    let works = |export: usize, thread: usize| {
        reached.get(export).and_then(|on| on.get(thread % interfaces)).copied().unwrap_or(false)
    };
    for export in 0..reached.len() {
        let able = (0..threads).filter(|&thread| works(export, thread));
        let Some(thread) = able.min_by_key(|&thread| hands[thread].len()) else {
            bail!("export number {} answers on no interface that a thread uses", export + 1);
        };
        hands[thread].push(export);
    }
    for thread in 0..threads {
        if !hands[thread].is_empty() {
            continue;
        }
        let users = |export: usize| hands.iter().flatten().filter(|&&other| other == export).count();
        let able = (0..reached.len()).filter(|&export| works(export, thread));
        let Some(export) = able.min_by_key(|&export| users(export)) else {
            bail!("thread {thread} has nothing to do: no export answers on its interface");
        };
        hands[thread].push(export);
    }
    Ok(hands)
}

/// Divides each export among its threads: its sectors, its window and its fraction of the
/// load.
pub fn divide(hands: &[Vec<usize>], areas: &[Area], window: u16) -> Result<Vec<Vec<Share>>> {
    let users = |export: usize| hands.iter().flatten().filter(|&&other| other == export).count() as u64;
    let mut before = vec![0u64; areas.len()];
    let mut shares = Vec::new();
    for hand in hands {
        let mut own = Vec::new();
        for &export in hand {
            let (area, at) = (areas[export], &mut before[export]);
            let of = users(export);
            if u64::from(window) < of || area.blocks < of {
                bail!(
                    "{of} threads share an export with a window of {window} and room for {} requests: \
                     each needs at least one of both (use fewer threads, or a larger window)",
                    area.blocks
                );
            }
            let cut = |n: u64, at: u64| (u128::from(n) * u128::from(at) / u128::from(of)) as u64;
            let stretch = |n| (cut(n, *at), cut(n, *at + 1) - cut(n, *at));
            let ((from, blocks), (_, window)) = (stretch(area.blocks), stretch(window.into()));
            *at += 1;
            own.push(Share {
                export,
                area: Area { first: area.first + from, blocks, ..area },
                window: window as u16,
                part: 1.0 / (areas.len() as f64 * of as f64),
            });
        }
        shares.push(own);
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Area = Area { sectors: 2, first: 0, blocks: 10 };

    #[test]
    fn every_export_is_loaded_and_every_thread_has_work() {
        let everywhere = |exports| vec![vec![true]; exports];
        for (exports, threads, expected) in [
            (1, 1, vec![vec![0]]),
            (1, 3, vec![vec![0], vec![0], vec![0]]),
            (3, 2, vec![vec![0, 2], vec![1]]),
            (2, 3, vec![vec![0], vec![1], vec![0]]),
        ] {
            assert_eq!(assign(&everywhere(exports), 1, threads).unwrap(), expected);
        }
        // Two interfaces, with one export behind each; threads 0 and 2 use the first.
        let apart = [vec![false, true], vec![true, false]];
        assert_eq!(assign(&apart, 2, 3).unwrap(), [vec![1], vec![0], vec![1]]);
        assert!(assign(&apart, 2, 1).is_err(), "the first export is out of reach");
        assert!(assign(&[vec![true, false]], 2, 2).is_err(), "the second thread has no work");
    }

    #[test]
    fn shares_cover_all_and_overlap_nowhere() {
        let areas = [AREA, Area { first: 5, blocks: 7, ..AREA }];
        let shares = divide(&[vec![0], vec![1], vec![0], vec![0]], &areas, 8).unwrap().concat();
        let of = |export| -> Vec<_> {
            let own = shares.iter().filter(move |share| share.export == export);
            own.map(|share| (share.area.first, share.area.blocks, share.window)).collect()
        };
        assert_eq!(of(0), [(0, 3, 2), (3, 3, 3), (6, 4, 3)]);
        assert_eq!(of(1), [(5, 7, 8)]);
        assert!((shares.iter().map(|share| share.part).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(divide(&[vec![0], vec![0]], &areas, 1).is_err(), "one request in flight, two threads");
    }
}
