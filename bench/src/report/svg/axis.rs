//! Axes: positions of values, and labelled ticks.

use super::super::table::grouped;

/// A tick.
#[derive(Clone, PartialEq, Debug)]
pub struct Tick {
    /// The value.
    pub value: f64,
    /// Its label; empty for a grid line only.
    pub label: String,
}

/// An axis: its range and ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Its title, with the unit.
    pub title: String,
    /// The minimum.
    pub from: f64,
    /// The maximum.
    pub to: f64,
    /// Whether it is logarithmic.
    pub log: bool,
    /// In rising order.
    pub ticks: Vec<Tick>,
}

/// An axis is logarithmic if maximum and minimum differ by at least this factor.
const LOG_FROM: f64 = 20.0;
/// Up to this number of decades, 2 and 5 are labelled, too, and all others have lines.
const NAMED_DECADES: f64 = 2.5;
/// From here on, in microseconds, times are shown in milliseconds.
const MILLISECONDS_FROM: f64 = 200_000.0;

impl Axis {
    /// The position of a value, 0 to 1.
    pub fn at(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.max(self.from).log10() } else { value };
        let (from, to) = (scale(self.from), scale(self.to));
        ((scale(value) - from) / (to - from)).clamp(0.0, 1.0)
    }

    /// From zero to above the maximum, in about five even steps.
    pub fn linear(title: impl Into<String>, most: f64) -> Self {
        let step = nice_above(most.max(1e-9) / 5.0);
        let steps = (most / step).ceil().max(1.0) as usize;
        let decimals = if step < 1.0 { (-step.log10().floor()) as usize } else { 0 };
        let tick = |n: usize| {
            let value = n as f64 * step;
            Tick { value, label: grouped(value, decimals) }
        };
        let ticks = (0..=steps).map(tick).collect();
        Self { title: title.into(), from: 0.0, to: steps as f64 * step, log: false, ticks }
    }

    /// From zero to exactly the end, with ticks at even steps.
    pub fn time(title: impl Into<String>, end: f64) -> Self {
        let mut axis = Self::linear(title, end);
        axis.ticks.retain(|tick| tick.value <= end * 1.000_001);
        axis.to = end.max(1e-9);
        axis
    }

    /// An axis of times in microseconds: logarithmic if the range requires it, else from
    /// zero. Labels are in milliseconds where those are shorter.
    pub fn times(title: &str, least: f64, most: f64) -> Self {
        if most < MILLISECONDS_FROM {
            return Self::by_range(&format!("{title}, µs"), least, most);
        }
        let mut axis = Self::by_range(&format!("{title}, ms"), least / 1e3, most / 1e3);
        (axis.from, axis.to) = (axis.from * 1e3, axis.to * 1e3);
        axis.ticks.iter_mut().for_each(|tick| tick.value *= 1e3);
        axis
    }

    /// Logarithmic if the range requires it, else from zero.
    fn by_range(title: &str, least: f64, most: f64) -> Self {
        if least <= 0.0 || most / least < LOG_FROM {
            return Self::linear(title, most);
        }
        let (from, to) = (nice_below(least), nice_above(most));
        let narrow = (to / from).log10() <= NAMED_DECADES;
        let digits: &[i32] = if narrow { &[1, 2, 3, 4, 5, 6, 7, 8, 9] } else { &[1, 2, 5] };
        let mut ticks = Vec::new();
        for power in from.log10().floor() as i32..=to.log10().ceil() as i32 {
            for digit in digits {
                let value = f64::from(*digit) * 10_f64.powi(power);
                let named = *digit == 1 || (narrow && (*digit == 2 || *digit == 5));
                if (from * 0.999..=to * 1.001).contains(&value) {
                    let decimals = usize::try_from(-power).unwrap_or(0);
                    let label = if named { grouped(value, decimals) } else { String::new() };
                    ticks.push(Tick { value, label });
                }
            }
        }
        Self { title: format!("{title}, logarithmic"), from, to, log: true, ticks }
    }
}

/// The next number that is 1, 2 or 5 times a power of ten.
fn nice_above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= value * 0.999_999);
    digit.unwrap_or(10.0) * power
}

/// The previous such number.
fn nice_below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let digit = [5.0, 2.0].into_iter().find(|digit| digit * power <= value * 1.000_001);
    digit.unwrap_or(1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn a_narrow_range_is_linear_and_a_wide_one_logarithmic() {
        let narrow = Axis::by_range("µs", 90.0, 450.0);
        assert_eq!(labels(&narrow), ["0", "100", "200", "300", "400", "500"]);
        assert_eq!((narrow.at(0.0), narrow.at(250.0), narrow.at(900.0)), (0.0, 0.5, 1.0));
        let wide = Axis::by_range("µs", 90.0, 4500.0);
        assert_eq!(labels(&wide), ["50", "100", "200", "500", "1000", "2000", "5000"]);
        assert!((wide.at(500.0) - 0.5).abs() < 1e-9);
        let wider = Axis::by_range("µs", 9.0, 90_000.0);
        assert_eq!((labels(&wider).len(), wider.ticks.len()), (5, 14));
    }

    #[test]
    fn long_times_are_in_milliseconds() {
        let axis = Axis::times("Time", 90.0, 4_000_000.0);
        assert_eq!((axis.title.as_str(), axis.from, axis.to), ("Time, ms, logarithmic", 50.0, 5e6));
        assert_eq!(labels(&axis), ["0.1", "1", "10", "100", "1000"]);
        assert!((axis.at(5e6) - 1.0).abs() < 1e-9);
        assert_eq!(Axis::times("Time", 90.0, 4000.0).title, "Time, µs, logarithmic");
    }

    #[test]
    fn odd_ranges_do_no_harm() {
        assert_eq!(labels(&Axis::linear("IOPS", 0.3)), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(&Axis::time("s", 3.1)), ["0", "1", "2", "3"]);
        for axis in [Axis::linear("IOPS", 0.0), Axis::time("s", 0.0), Axis::by_range("µs", 0.0, 0.0)] {
            assert!(axis.at(1.0).is_finite() && axis.ticks.len() < 12, "{axis:?}");
        }
    }
}
