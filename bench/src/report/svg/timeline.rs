//! Time series: throughput or response times by interval, with marks for resent requests
//! and dropped frames.

use crate::outcome::{Interval, Latencies, Outcome};

use super::super::document::labels;
use super::super::table::grouped;
use super::axis::Axis;
use super::chart::{Chart, Curve, Mark, Point, Shape};

/// Maximum number of visible steps; with more, neighbours are merged.
const STEPS_MAX: usize = 400;

/// The quantity shown over time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Requests per second.
    Throughput,
    /// The 99th percentile of response times.
    P99,
}

/// One curve per outcome. `None` if none has intervals.
pub fn timeline(over: Over, title: &str, outcomes: &[Outcome]) -> Option<String> {
    let labels = labels(outcomes);
    let named = labels.iter().zip(outcomes).enumerate();
    let curves: Vec<Curve> = named
        .filter(|(_, (_, outcome))| !outcome.intervals.is_empty())
        .map(|(style, (name, outcome))| curve(over, name, style, &steps(&outcome.intervals)))
        .collect();
    let points = || curves.iter().flat_map(|curve| curve.pieces.iter().flatten());
    let end = points().map(|point| point.0).reduce(f64::max)?;
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    let least = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let (what, y) = match over {
        Over::Throughput => ("Throughput", Axis::linear("Requests a second", most)),
        Over::P99 => ("99th percentile", Axis::times("99th percentile of response time", least, most)),
    };
    let all = [(Shape::Triangle, "requests sent again"), (Shape::Cross, "frames dropped")];
    let is_there =
        |shape: Shape| curves.iter().flat_map(|curve| &curve.marks).any(|mark| mark.shape == shape);
    let chart = Chart {
        title: format!("{what} over time: {title}"),
        x: Axis::time("Seconds since the start", end),
        y,
        keys: all.into_iter().filter(|(shape, _)| is_there(*shape)).collect(),
        curves,
    };
    Some(chart.svg())
}

/// An interval, unpacked.
struct Step {
    from: f64,
    to: f64,
    times: Latencies,
    answered: u64,
    resent: u64,
    dropped: u64,
}

fn steps(intervals: &[Interval]) -> Vec<Step> {
    let size = intervals.len().div_ceil(STEPS_MAX).max(1);
    let length = |chunk: &[Interval]| chunk.iter().map(|interval| interval.seconds).sum::<f64>();
    let mut chunks: Vec<&[Interval]> = intervals.chunks(size).collect();
    // A remainder much shorter than the others has no meaningful rate.
    if let [.., before, last] = chunks.as_slice()
        && length(last) < length(before) / 2.0
    {
        chunks.truncate(chunks.len() - 2);
        chunks.push(&intervals[chunks.len() * size..]);
    }
    chunks.into_iter().filter_map(step).collect()
}

fn step(intervals: &[Interval]) -> Option<Step> {
    let (first, last) = (intervals.first()?, intervals.last()?);
    let mut times = Latencies::default();
    let unanswered: u64 = intervals.iter().map(|i| i.unanswered_reads + i.unanswered_writes).sum();
    for interval in intervals {
        times.add(&interval.reads.unpack());
        times.add(&interval.writes.unpack());
    }
    Some(Step {
        from: first.from_s,
        to: last.from_s + last.seconds,
        answered: times.len().saturating_sub(unanswered),
        times,
        resent: intervals.iter().map(|interval| interval.resent).sum(),
        dropped: intervals.iter().map(|interval| interval.dropped).sum(),
    })
}

fn curve(over: Over, name: &str, style: usize, steps: &[Step]) -> Curve {
    let mut curve = Curve { name: name.to_owned(), style, ..Curve::default() };
    let mut before = None;
    for step in steps {
        let Some(value) = value(over, step) else { continue };
        // Intervals with a gap between them are not joined.
        let touches = before.is_some_and(|to: f64| (step.from - to).abs() < (step.to - step.from) / 2.0);
        let ends: [Point; 2] = [(step.from, value), (step.to, value)];
        match curve.pieces.last_mut() {
            Some(piece) if touches => piece.extend(ends),
            _ => curve.pieces.push(ends.to_vec()),
        }
        before = Some(step.to);
        let at = ((step.from + step.to) / 2.0, value);
        let mut mark = |n: u64, shape: Shape, what: &str| {
            let text = format!("{} {what}, at {:.1} s", grouped(n as f64, 0), step.from);
            curve.marks.extend((n > 0).then_some(Mark { at, shape, text }));
        };
        mark(step.resent, Shape::Triangle, "requests sent again");
        mark(step.dropped, Shape::Cross, "frames dropped");
    }
    curve
}

/// The value of a step; a percentile needs at least one request.
fn value(over: Over, step: &Step) -> Option<f64> {
    match over {
        Over::Throughput => Some(step.answered as f64 / (step.to - step.from).max(1e-9)),
        Over::P99 => (!step.times.is_empty()).then(|| step.times.us(0.99)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::fixture;
    use super::*;

    #[test]
    fn trouble_is_marked_where_it_happened() {
        let outcome = fixture::reads("vblade", 3);
        let curve = curve(Over::Throughput, "vblade", 0, &steps(&outcome.intervals));
        assert_eq!(curve.pieces.len(), 1);
        assert_eq!(curve.pieces[0][2..4], [(0.25, 356.0), (0.5, 356.0)]);
        let marks: Vec<_> = curve.marks.iter().map(|mark| (mark.at.0, mark.text.as_str())).collect();
        assert_eq!(
            marks,
            [(0.625, "2 requests sent again, at 0.5 s"), (0.875, "1 frames dropped, at 0.8 s")]
        );
        let clean = timeline(Over::Throughput, "", &[fixture::reads("echo", 1)]).unwrap();
        assert!(!clean.contains("sent again"));
        assert!(timeline(Over::P99, "", &[outcome]).unwrap().contains("1 frames dropped"));
    }

    #[test]
    fn gaps_stay_gaps_and_many_intervals_become_fewer() {
        let mut outcome = fixture::reads("echo", 1);
        outcome.intervals.remove(1);
        assert_eq!(curve(Over::P99, "", 0, &steps(&outcome.intervals)).pieces.len(), 2);
        let rest = Interval { from_s: 1.0, seconds: 0.001, ..outcome.intervals[0].clone() };
        let with_rest: Vec<Interval> = outcome.intervals.iter().cloned().chain([rest]).collect();
        let ends: Vec<f64> = steps(&with_rest).iter().map(|step| step.to).collect();
        assert_eq!(ends, [0.25, 0.75, 1.001], "a short rest is not by itself");
        let one = outcome.intervals[0].clone();
        let at = |n: u32| Interval { from_s: f64::from(n) / 4.0, resent: 1, ..one.clone() };
        let many: Vec<Interval> = (0..1001).map(at).collect();
        let steps = steps(&many);
        assert!((STEPS_MAX / 2..=STEPS_MAX).contains(&steps.len()));
        assert_eq!(steps.iter().map(|step| step.resent).sum::<u64>(), 1001);
        let rates = curve(Over::Throughput, "", 0, &steps).pieces.concat();
        assert!(rates.iter().all(|point| (point.1 - one.reads.unpack().len() as f64 * 4.0).abs() < 1e-6));
        assert!(timeline(Over::P99, "", &[Outcome::default()]).is_none());
    }
}
