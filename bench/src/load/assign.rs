//! Assigns exports to threads.

use anyhow::{Result, bail, ensure};

use crate::aoe::Route;

use super::plan::Area;

/// A part of an export that one thread loads.
#[derive(Debug)]
pub struct Share {
    /// The thread.
    pub thread: usize,
    /// The index of the export.
    pub export: usize,
    /// The route to it.
    pub route: Route,
    /// Its sectors.
    pub area: Area,
    /// Requests in flight.
    pub window: u16,
    /// Its fraction of the whole load, 0 to 1.
    pub part: f64,
}

/// The shares of each thread, in the order of threads. No thread gets an export twice, every
/// thread gets at least one, and no export is left out. `areas` has the sectors of each
/// export, of which `window` requests are in flight; `route(thread, export)` is none if the
/// export does not answer on the thread's interface.
pub fn assign(
    areas: &[Area],
    window: u16,
    threads: usize,
    route: impl Fn(usize, usize) -> Option<Route>,
) -> Result<Vec<Share>> {
    let mut pairs: Vec<Pair> = Vec::new();
    for export in 0..areas.len() {
        let able = (0..threads).filter_map(|thread| Some((thread, export, route(thread, export)?)));
        let load = |new: &Pair| pairs.iter().filter(|pair| pair.0 == new.0).count();
        let Some(pair) = able.min_by_key(load) else {
            bail!("export number {} answers on no interface that a thread uses", export + 1);
        };
        pairs.push(pair);
    }
    for thread in 0..threads {
        if pairs.iter().any(|pair| pair.0 == thread) {
            continue;
        }
        let able = (0..areas.len()).filter_map(|export| Some((thread, export, route(thread, export)?)));
        let Some(pair) = able.min_by_key(|new: &Pair| users(&pairs, new.1)) else {
            bail!("thread {thread} has nothing to do: no export answers on its interface");
        };
        pairs.push(pair);
    }
    pairs.sort_by_key(|pair| pair.0);
    (0..pairs.len()).map(|at| share(&pairs, at, areas, window)).collect()
}

/// A thread, one of its exports, and the route between them.
type Pair = (usize, usize, Route);

/// How many threads load an export.
fn users(pairs: &[Pair], export: usize) -> u64 {
    pairs.iter().filter(|pair| pair.1 == export).count() as u64
}

/// Divides an export among its threads: its sectors, its window and its fraction of the load.
fn share(pairs: &[Pair], at: usize, areas: &[Area], window: u16) -> Result<Share> {
    let (thread, export, route) = pairs[at];
    let (area, before, of) = (areas[export], users(&pairs[..at], export), users(pairs, export));
    ensure!(
        u64::from(window) >= of && area.blocks >= of,
        "{of} threads share an export with a window of {window} and room for {} requests: \
             each needs at least one of both (use fewer threads, or a larger window)",
        area.blocks
    );
    let cut = |n: u64, at: u64| (u128::from(n) * u128::from(at) / u128::from(of)) as u64;
    let stretch = |n| (cut(n, before), cut(n, before + 1) - cut(n, before));
    let ((from, blocks), (_, window)) = (stretch(area.blocks), stretch(window.into()));
    Ok(Share {
        thread,
        export,
        route,
        area: Area { first: area.first + from, blocks, ..area },
        window: window as u16,
        part: 1.0 / (areas.len() as f64 * of as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::stage::ROUTE;

    const AREA: Area = Area { sectors: 2, first: 0, blocks: 10 };

    fn pairs(exports: usize, threads: usize, reaches: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
        let shares = assign(&vec![AREA; exports], 8, threads, |t, e| reaches(t, e).then_some(ROUTE)).unwrap();
        shares.iter().map(|share| (share.thread, share.export)).collect()
    }

    #[test]
    fn every_export_is_loaded_and_every_thread_has_work() {
        assert_eq!(pairs(1, 1, |_, _| true), [(0, 0)]);
        assert_eq!(pairs(1, 3, |_, _| true), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(pairs(3, 2, |_, _| true), [(0, 0), (0, 2), (1, 1)]);
        assert_eq!(pairs(2, 3, |_, _| true), [(0, 0), (1, 1), (2, 0)]);
        // Two interfaces, with one export behind each; threads 0 and 2 use the first.
        let apart = |thread, export| thread % 2 != export;
        assert_eq!(pairs(2, 3, apart), [(0, 1), (1, 0), (2, 1)]);
        assert!(
            assign(&[AREA; 2], 8, 1, |t, e| apart(t, e).then_some(ROUTE)).is_err(),
            "the first export is out of reach"
        );
        assert!(
            assign(&[AREA], 8, 2, |thread, _| (thread == 0).then_some(ROUTE)).is_err(),
            "the second thread has no work"
        );
    }

    #[test]
    fn shares_cover_all_and_overlap_nowhere() {
        let areas = [AREA, Area { first: 5, blocks: 7, ..AREA }];
        let shares =
            assign(&areas, 8, 4, |thread, export| ((thread == 1) == (export == 1)).then_some(ROUTE)).unwrap();
        let of = |export| -> Vec<_> {
            let own = shares.iter().filter(move |share| share.export == export);
            own.map(|share| (share.area.first, share.area.blocks, share.window)).collect()
        };
        assert_eq!(of(0), [(0, 3, 2), (3, 3, 3), (6, 4, 3)]);
        assert_eq!(of(1), [(5, 7, 8)]);
        assert!((shares.iter().map(|share| share.part).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(assign(&[AREA], 1, 2, |_, _| Some(ROUTE)).is_err(), "one request in flight, two threads");
    }
}
