//! Plots. Each is a complete SVG that looks the same by itself and inside the HTML
//! report. Colours are attributes, for programs that do not support style sheets; only
//! the differences for dark mode are in a style sheet.

mod axis;
mod chart;
mod percentiles;
mod timeline;

use crate::outcome::Outcome;

use percentiles::percentiles;
use timeline::{Over, timeline};

/// All plots of a section, by the names of their files.
pub fn plots(title: &str, outcomes: &[Outcome]) -> impl Iterator<Item = (&'static str, String)> {
    let plots = [
        ("percentiles", percentiles(title, outcomes)),
        ("throughput", timeline(Over::Throughput, title, outcomes)),
        ("p99", timeline(Over::P99, title, outcomes)),
    ];
    plots.into_iter().filter_map(|(name, svg)| Some((name, svg?)))
}

/// The style of a curve.
#[derive(Clone, Copy)]
struct Stroke {
    light: &'static str,
    dark: &'static str,
    /// Dashes distinguish curves without colours.
    dash: &'static str,
}

/// The palette of Okabe and Ito, which the colour-blind can distinguish.
const STROKES: [Stroke; 7] = [
    Stroke { light: "#0072b2", dark: "#58a9e6", dash: "none" },
    Stroke { light: "#d55e00", dark: "#f2833f", dash: "7 3" },
    Stroke { light: "#009e73", dark: "#2fc39a", dash: "2 3" },
    Stroke { light: "#b5548e", dark: "#e191c1", dash: "10 3 2 3" },
    Stroke { light: "#e69f00", dark: "#f0bb4a", dash: "4 4" },
    Stroke { light: "#56b4e9", dark: "#a6d8f7", dash: "14 4" },
    Stroke { light: "#333333", dark: "#e0e0e0", dash: "1 4" },
];

/// The colour of everything but curves: in light mode, and in dark mode.
const INK: (&str, &str) = ("#1b1f24", "#e3e6ea");
const MUTED: (&str, &str) = ("#59636e", "#9aa4af");
const GRID: (&str, &str) = ("#e3e6ea", "#2b3138");
const PAPER: (&str, &str) = ("#ffffff", "#14181d");

/// The style sheet for dark mode.
pub fn dark_style() -> String {
    let mut rules = String::new();
    for (class, property, color) in [
        ("ink", "fill", INK.1),
        ("muted", "fill", MUTED.1),
        ("grid", "stroke", GRID.1),
        ("axis", "stroke", MUTED.1),
        ("paper", "fill", PAPER.1),
    ] {
        rules += &format!(".{class}{{{property}:{color}}}");
    }
    for (at, stroke) in STROKES.iter().enumerate() {
        rules += &format!(".s{at}{{stroke:{0}}}.f{at}{{fill:{0}}}", stroke.dark);
    }
    format!("@media screen and (prefers-color-scheme:dark){{{rules}}}")
}

/// The style with this number: colours repeat, each time with other dashes. Also returns
/// the number of the colour.
fn stroke(at: usize) -> (usize, Stroke) {
    let n = STROKES.len();
    let (color, dash) = (at % n, (at + at / n) % n);
    (color, Stroke { dash: STROKES[dash].dash, ..STROKES[color] })
}

#[cfg(test)]
mod tests {
    use super::stroke;

    #[test]
    fn curves_look_different() {
        let looks: std::collections::BTreeSet<_> =
            (0..30).map(|at| (stroke(at).1.light, stroke(at).1.dash)).collect();
        assert_eq!(looks.len(), 30);
    }
}
