//! Response times by percentile: how long one request in ten, in a hundred, in a thousand
//! has to wait.

use crate::outcome::{Latencies, Outcome};

use super::super::document::labels;
use super::super::overview::times_of;
use super::super::table::grouped;
use super::axis::{Axis, Tick};
use super::chart::{Chart, Curve, Mark, Shape};

/// Steps per halving of the distance to 100 %.
const TICKS: u32 = 10;
/// The axis goes to at least one in this many.
const LEAST: f64 = 1000.0;
/// The median is labelled if a decade is wider than this part of the axis.
const MEDIAN_ROOM: usize = 5;
/// Values below this quantile are drawn at the edge, so that they do not stretch the
/// axis.
const LOWEST: f64 = 0.01;

/// One curve per outcome. A single outcome gets a curve per operation, and in an open
/// loop another without the wait before sending. `None` if nothing was answered.
pub fn percentiles(title: &str, outcomes: &[Outcome]) -> Option<String> {
    let sets = sets(outcomes);
    let most = sets.iter().map(|(_, times)| times.len()).max().filter(|most| *most > 0)? as f64;
    let sets_with = || sets.iter().enumerate().filter(|(_, (_, times))| !times.is_empty());
    let least_us = sets_with().map(|(_, (_, times))| times.us(LOWEST)).fold(f64::INFINITY, f64::min);
    let most_us = sets.iter().map(|(_, times)| times.max_us()).fold(0.0, f64::max);
    let curves = sets_with().map(|(style, (name, times))| curve(name, style, times)).collect();
    let chart = Chart {
        title: format!("Response time by percentile: {title}"),
        x: percent(most),
        y: Axis::times("Response time", least_us, most_us),
        curves,
        keys: vec![(Shape::Dot, "slowest request")],
    };
    Some(chart.svg())
}

fn sets(outcomes: &[Outcome]) -> Vec<(String, Latencies)> {
    match outcomes {
        [one] => times_of(one).into_iter().map(|(name, times)| (name, times.clone())).collect(),
        _ => labels(outcomes).into_iter().zip(outcomes.iter().map(Outcome::response)).collect(),
    }
}

/// The percentage at a power of ten: each has one nine more.
fn percent(most: f64) -> Axis {
    let decades = most.max(LEAST).log10().ceil() as usize;
    let name = |nines: usize| match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        _ => format!("99.{} %", "9".repeat(nines - 2)),
    };
    let mut ticks: Vec<Tick> =
        (0..=decades).map(|nines| Tick { value: 10_f64.powi(nines as i32), label: name(nines) }).collect();
    if decades <= MEDIAN_ROOM {
        ticks.insert(1, Tick { value: 2.0, label: "50 %".to_owned() });
    }
    let title = "Percentile of requests".to_owned();
    Axis { title, from: 1.0, to: 10_f64.powi(decades as i32), log: true, ticks }
}

fn curve(name: &str, style: usize, times: &Latencies) -> Curve {
    let (n, max) = (times.len() as f64, times.max_us());
    let steps = times.iter_quantiles(TICKS);
    let mut points: Vec<(f64, f64)> = steps
        .map(|step| (1.0 / (1.0 - step.quantile_iterated_to()), step.value_iterated_to() as f64 / 1e3))
        // Nothing was measured beyond this: the slowest request is one in n.
        .take_while(|(x, _)| *x < n)
        .collect();
    points.push((n, max));
    let text = format!("the slowest of {} took {} µs", grouped(n, 0), grouped(max, 0));
    let slowest = Mark { at: (n, max), shape: Shape::Dot, text };
    Curve { name: name.to_owned(), style, pieces: vec![points], marks: vec![slowest] }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::fixture;
    use super::*;

    #[test]
    fn a_curve_goes_through_the_quantiles_and_ends_at_the_slowest() {
        let times = fixture::latencies(5000);
        let curve = curve("x", 0, &times);
        let points = &curve.pieces[0];
        let (slowest, others) = points.split_last().unwrap();
        assert_eq!(*slowest, (5000.0, times.max_us()));
        for (x, y) in others {
            assert!((times.us(1.0 - 1.0 / x) - y).abs() <= 0.002 * y, "{x} {y}");
        }
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }

    #[test]
    fn each_operation_of_one_outcome_and_each_of_several_has_a_curve() {
        let names = |outcomes: &[Outcome]| sets(outcomes).into_iter().map(|set| set.0).collect::<Vec<_>>();
        let mixed = ["read, from intended start", "read, from sending", "write, from intended start"];
        assert_eq!(names(&[fixture::mixed()])[..3], mixed);
        assert_eq!(names(&[fixture::reads("a", 1), fixture::mixed()]), ["a", "xblade store=mmap"]);
        assert!(percentiles("nothing", &[Outcome::default()]).is_none());
    }
}
