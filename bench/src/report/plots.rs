//! Line charts as SVG, each complete by itself and inside the HTML report.

use crate::outcome::{Interval, Latencies, Outcome};

use super::Section;
use super::document::{label, times_of};
use super::html::escape;

/// Narrow, so that text can still be read on a phone.
const WIDTH: f64 = 560.0;
/// The edges of the area of the curves. The legend is below it, with a line for each curve: names
/// may be as long as the plot is wide.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 528.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 290.0;
const LEGEND: f64 = 360.0;
const LINE: f64 = 20.0;
/// The palette of Okabe and Ito, which the colour-blind can distinguish.
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// Dashes distinguish curves of the same colour.
const DASHES: [&str; 4] = ["none", "8 3", "3 3", "10 3 3 3"];
/// Maximum number of steps of a curve over time; with more intervals, neighbours are
/// merged.
const STEPS: usize = 400;
/// Steps per halving of the distance to 100 %.
const TICKS: u32 = 10;

/// All plots of a section, by the names of their files.
pub fn plots(section: &Section) -> impl Iterator<Item = (&'static str, String)> {
    let over_time =
        |title, y, of| chart(title, "Seconds since the start", &over_time(section, of), Axis::linear, y);
    let percentiles = percentiles(section);
    let percentiles =
        chart("Response time, µs", "Percentile of requests", &percentiles, Axis::percent, Axis::log);
    let throughput = over_time("Requests answered a second", Axis::linear, Step::iops);
    let p99 = over_time("99th percentile of response times, µs", Axis::log, Step::p99_us);
    let plots = [("percentiles", percentiles), ("throughput", throughput), ("p99", p99)];
    plots.into_iter().filter_map(|(name, svg)| Some((name, svg?)))
}

/// A point, x and y.
type Point = (f64, f64);

/// An axis: its range, and what is written at a value.
struct Axis {
    from: f64,
    to: f64,
    log: bool,
    label: fn(f64) -> String,
}

/// One curve.
struct Curve {
    name: String,
    points: Vec<Point>,
    /// Marked points with their tooltips.
    marks: Vec<(Point, String)>,
}

impl Axis {
    /// From zero to the maximum.
    fn linear(_least: f64, most: f64) -> Self {
        Self { from: 0.0, to: most.max(1e-6), log: false, label: number }
    }

    /// Between powers of ten.
    fn log(least: f64, most: f64) -> Self {
        let from = 10_f64.powf(least.max(1e-3).log10().floor());
        Self { from, to: 10_f64.powf(most.log10().ceil()).max(from * 10.0), log: true, label: number }
    }

    /// The inverse of the share of slower requests, labelled as a percentile.
    fn percent(least: f64, most: f64) -> Self {
        Self { label: |value| number(100.0 - 100.0 / value), ..Self::log(least, most) }
    }

    /// The position of a value, 0 to 1.
    fn at(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.max(self.from).log10() } else { value };
        (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from))
    }

    /// About five even steps, or 1, 2 and 5 of each decade.
    fn ticks(&self) -> Vec<f64> {
        let decade = |power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power));
        let round = || (-9..15).flat_map(decade);
        let within = |value: &f64| (self.from * 0.999..=self.to * 1.001).contains(value);
        if self.log {
            let all: Vec<f64> = round().filter(within).collect();
            let every = if all.len() > 10 { 3 } else { 1 };
            return all.into_iter().step_by(every).collect();
        }
        let step = round().find(|step| self.to / step <= 5.0).unwrap_or(self.to);
        (0..=5).map(|n| f64::from(n) * step).filter(within).collect()
    }
}

/// With as many decimals as it needs, at most six.
fn number(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}

/// The curves with axes for all of their points; `None` if there are none.
fn chart(
    title: &str,
    below: &str,
    curves: &[Curve],
    x: fn(f64, f64) -> Axis,
    y: fn(f64, f64) -> Axis,
) -> Option<String> {
    let axis = |axis: fn(f64, f64) -> Axis, of: fn(&Point) -> f64| {
        let all = || curves.iter().flat_map(|curve| &curve.points).map(of);
        Some(axis(all().reduce(f64::min)?, all().reduce(f64::max)?))
    };
    let (x, y) = (axis(x, |point| point.0)?, axis(y, |point| point.1)?);
    let across = |value| LEFT + x.at(value) * (RIGHT - LEFT);
    let up = |value| BOTTOM - y.at(value) * (BOTTOM - TOP);
    let height = LEGEND + LINE * curves.len() as f64 - 8.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" fill=\"none\" \
         font-family=\"sans-serif\" font-size=\"14\" style=\"color-scheme:light dark;color:CanvasText\">\n"
    );
    out += &text(10.0, 20.0, "start", title);
    out += &text((LEFT + RIGHT) / 2.0, BOTTOM + 44.0, "middle", below);
    let mut grid = String::new();
    for tick in x.ticks() {
        out += &text(across(tick), BOTTOM + 18.0, "middle", &(x.label)(tick));
        grid += &format!("M{:.1} {TOP}V{BOTTOM}", across(tick));
    }
    for tick in y.ticks() {
        out += &text(LEFT - 8.0, up(tick) + 4.5, "end", &(y.label)(tick));
        grid += &format!("M{LEFT} {:.1}H{RIGHT}", up(tick));
    }
    out += &format!("<path d=\"{grid}\" stroke=\"currentColor\" opacity=\"0.15\"/>\n");
    // Each keeps its colour in all plots of a section, also in those where another has no points.
    let curves = curves.iter().enumerate().filter(|(_, curve)| !curve.points.is_empty());
    out.extend(curves.map(|(at, curve)| drawn(at, curve, &|(x, y)| (across(x), up(y)))));
    Some(out + "</svg>\n")
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = escape(text);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"currentColor\">{text}</text>\n")
}

/// A curve, and its line in the legend.
fn drawn(at: usize, curve: &Curve, place: &dyn Fn(Point) -> Point) -> String {
    let color = COLORS[at % COLORS.len()];
    let dash = DASHES[at / COLORS.len() % DASHES.len()];
    let legend = LEGEND + LINE * at as f64 - 5.0;
    let points = curve.points.iter().map(|point| place(*point));
    let line: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let mut out = format!(
        "<path d=\"M{}M{LEFT} {legend}h25\" stroke=\"{color}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\n",
        line.join("L")
    );
    out += &text(LEFT + 32.0, legend + 4.5, "start", &curve.name);
    for (point, trouble) in &curve.marks {
        let ((x, y), name) = (place(*point), escape(&curve.name));
        out += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{color}\"><title>{name}: {trouble}</title></circle>\n"
        );
    }
    out
}

/// How long one request in ten, in a hundred, in a thousand has to wait: a curve per
/// outcome, or for a single one a curve per operation.
fn percentiles(section: &Section) -> Vec<Curve> {
    match section.outcomes.as_slice() {
        [one] => times_of(one).map(|(name, times)| percentile_curve(name, times)).collect(),
        several => several.iter().map(|one| percentile_curve(label(one), &one.response())).collect(),
    }
}

/// From the inverse of the share of slower requests to the response time. It ends at the
/// slowest request.
fn percentile_curve(name: String, times: &Latencies) -> Curve {
    let n = times.len() as f64;
    let steps = times.iter_quantiles(TICKS);
    let steps =
        steps.map(|step| (1.0 / (1.0 - step.quantile_iterated_to()), step.value_iterated_to() as f64 / 1e3));
    let points = steps.take_while(|(x, _)| *x < n).chain((n > 0.0).then_some((n, times.max_us()))).collect();
    Curve { name, points, marks: Vec::new() }
}

/// Neighbouring intervals.
struct Step {
    from: f64,
    seconds: f64,
    times: Latencies,
    answered: u64,
    trouble: [(u64, &'static str); 2],
}

impl Step {
    fn of(intervals: &[Interval]) -> Self {
        let mut times = Latencies::default();
        for packed in intervals.iter().flat_map(|interval| [&interval.reads, &interval.writes]) {
            times.add(&packed.unpack());
        }
        let sum = |of: fn(&Interval) -> u64| intervals.iter().map(of).sum::<u64>();
        Self {
            from: intervals.first().map_or(0.0, |interval| interval.from_s),
            seconds: intervals.iter().map(|interval| interval.seconds).sum(),
            answered: times.len().saturating_sub(sum(|i| i.unanswered_reads + i.unanswered_writes)),
            times,
            trouble: [(sum(|i| i.resent), "requests sent again"), (sum(|i| i.dropped), "frames dropped")],
        }
    }

    fn iops(&self) -> Option<f64> {
        Some(self.answered as f64 / self.seconds)
    }

    fn p99_us(&self) -> Option<f64> {
        (!self.times.is_empty()).then(|| self.times.us(0.99))
    }
}

/// A curve per outcome, with marks where requests were resent or frames dropped.
fn over_time(section: &Section, of: fn(&Step) -> Option<f64>) -> Vec<Curve> {
    let curve = |outcome: &Outcome| {
        let mut curve = Curve { name: label(outcome), points: Vec::new(), marks: Vec::new() };
        let chunks = outcome.intervals.chunks(outcome.intervals.len().div_ceil(STEPS).max(1));
        let steps: Vec<Step> = chunks.map(Step::of).collect();
        let longest = steps.iter().map(|step| step.seconds).fold(0.0, f64::max);
        // A remainder much shorter than the others has no meaningful rate.
        for step in steps.iter().filter(|step| step.seconds > longest / 2.0) {
            let Some(value) = of(step) else { continue };
            let at = |share: f64| (step.from + step.seconds * share, value);
            curve.points.extend([at(0.0), at(1.0)]);
            let some = step.trouble.iter().filter(|(n, _)| *n > 0);
            curve.marks.extend(some.map(|(n, what)| (at(0.5), format!("{n} {what}, at {:.1} s", step.from))));
        }
        curve
    };
    section.outcomes.iter().map(curve).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    fn section(outcomes: Vec<Outcome>) -> Section {
        Section { outcomes, ..Section::default() }
    }

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(axis.label).collect()
    }

    #[test]
    fn axes_begin_at_zero_or_at_powers_of_ten() {
        let linear = Axis::linear(90.0, 450.0);
        assert_eq!(labels(&linear), ["0", "100", "200", "300", "400"]);
        assert_eq!((linear.at(0.0), linear.at(450.0)), (0.0, 1.0));
        assert_eq!(labels(&Axis::linear(0.0, 0.3)), ["0", "0.1", "0.2", "0.3"]);
        let log = Axis::log(90.0, 4500.0);
        assert_eq!(labels(&log), ["10", "20", "50", "100", "200", "500", "1000", "2000", "5000", "10000"]);
        assert!((log.at(1000.0) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(labels(&Axis::log(2.0, 90_000.0)), ["1", "10", "100", "1000", "10000", "100000"]);
        for axis in [Axis::linear(0.0, 0.0), Axis::log(0.0, 0.0), Axis::log(5.0, 5.0)] {
            assert!(axis.at(1.0).is_finite() && axis.ticks().len() < 12);
        }
    }

    #[test]
    fn a_curve_goes_through_the_quantiles_and_ends_at_the_slowest() {
        let times = fixture::latencies(5000);
        let points = percentile_curve(String::new(), &times).points;
        let (slowest, others) = points.split_last().unwrap();
        assert_eq!(*slowest, (5000.0, times.max_us()));
        for (x, y) in others.iter().filter(|(x, _)| *x > 1.1) {
            assert!((times.us(1.0 - 1.0 / x) - y).abs() <= 0.002 * y, "{x} {y}");
        }
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }

    #[test]
    fn each_operation_of_one_outcome_and_each_of_several_has_a_curve() {
        let names = |outcomes: Vec<Outcome>| {
            percentiles(&section(outcomes)).into_iter().map(|curve| curve.name).collect::<Vec<_>>()
        };
        assert_eq!(names(vec![fixture::mixed()]), ["read", "read-sent", "write", "write-sent"]);
        assert_eq!(names(vec![fixture::reads("a", 1), fixture::mixed()]), ["a", "xblade store=mmap"]);
        assert_eq!(plots(&section(vec![Outcome::default()])).count(), 0);
        assert_eq!(plots(&section(vec![Outcome::default(), Outcome::default()])).count(), 0);
        assert_eq!(plots(&section(vec![fixture::mixed()])).count(), 3);
        let bare = Outcome { name: "fio".to_owned(), intervals: Vec::new(), ..fixture::reads("", 1) };
        let named: Vec<bool> =
            plots(&section(vec![bare, fixture::mixed()])).map(|(_, svg)| svg.contains("fio")).collect();
        assert_eq!(named, [true, false, false], "it has no time series");
    }

    #[test]
    fn trouble_is_marked_where_it_happened() {
        let slow = section(vec![fixture::reads("vblade", 3)]);
        let curves = over_time(&slow, Step::iops);
        assert_eq!(curves[0].points[2..4], [(0.25, 356.0), (0.5, 356.0)]);
        let marks: Vec<_> = curves[0].marks.iter().map(|((x, _), text)| (*x, text.as_str())).collect();
        assert_eq!(
            marks,
            [(0.625, "2 requests sent again, at 0.5 s"), (0.875, "1 frames dropped, at 0.8 s")]
        );
    }

    #[test]
    fn a_short_rest_is_left_out_and_many_intervals_become_fewer() {
        let mut outcome = fixture::reads("echo", 1);
        let one = outcome.intervals[0].clone();
        outcome.intervals.push(Interval { from_s: 1.0, seconds: 0.001, ..one.clone() });
        let points = |outcome: &Outcome| {
            over_time(&section(vec![outcome.clone()]), Step::iops).into_iter().next().unwrap()
        };
        assert_eq!(points(&outcome).points.len(), 2 * 4);
        let at = |n: u32| Interval { from_s: f64::from(n) / 4.0, resent: 1, ..one.clone() };
        outcome.intervals = (0..1001).map(at).collect();
        let curve = points(&outcome);
        assert!((STEPS..=2 * STEPS).contains(&curve.points.len()));
        assert!(
            curve.points.iter().all(|point| (point.1 - one.reads.unpack().len() as f64 * 4.0).abs() < 1e-6)
        );
    }
}
