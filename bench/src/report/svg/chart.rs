//! Line charts with a legend above.

use std::fmt::Write;

use super::super::html::escape;
use super::axis::Axis;
use super::{GRID, INK, MUTED, PAPER, dark_style, stroke};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// The height of a line of the legend.
const LINE: f64 = 20.0;
/// The width of a character of the legend, rather too wide than too narrow.
const CHARACTER: f64 = 7.0;
const SAMPLE: f64 = 30.0;

/// A point, x and y.
pub type Point = (f64, f64);

/// One curve.
#[derive(Default)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its colour and dashes; curves of one outcome have the same style in all plots.
    pub style: usize,
    /// The segments, separated by gaps.
    pub pieces: Vec<Vec<Point>>,
    /// Marked points.
    pub marks: Vec<Mark>,
}

/// A marked point.
pub struct Mark {
    /// Its position.
    pub at: Point,
    /// Its shape.
    pub shape: Shape,
    /// Its tooltip.
    pub text: String,
}

/// The shape of a mark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The end of a curve.
    Dot,
    /// A resent request.
    Triangle,
    /// A frame that was dropped.
    Cross,
}

/// A plot.
pub struct Chart {
    /// Its title, for screen readers.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The curves.
    pub curves: Vec<Curve>,
    /// The legend of marks that are not self-explanatory.
    pub keys: Vec<(Shape, &'static str)>,
}

impl Chart {
    /// The complete SVG.
    pub fn svg(&self) -> String {
        let (legend, lines) = self.legend();
        let top = 34.0 + LINE * lines;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\" font-family=\"system-ui, 'Helvetica Neue', Arial, sans-serif\" \
             font-size=\"13\">\n<title>{}</title>\n<style>text{{font-variant-numeric:tabular-nums}}{}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"{}\"/>\n{legend}",
            escape(&self.title),
            dark_style(),
            PAPER.0
        );
        self.axes(&mut out, top);
        for curve in &self.curves {
            self.curve(&mut out, top, curve);
        }
        out + "</svg>\n"
    }

    /// The legend of curves and marks, and its height.
    fn legend(&self) -> (String, f64) {
        let curves = self.curves.iter().map(|curve| (Some(curve.style), None, curve.name.as_str()));
        let keys = self.keys.iter().map(|(shape, text)| (None, Some(*shape), *text));
        let mut out = String::new();
        let (mut x, mut y) = (LEFT, 18.0);
        for (style, shape, text) in curves.chain(keys) {
            let sample = if style.is_some() { SAMPLE } else { 14.0 };
            let width = sample + 6.0 + CHARACTER * text.chars().count() as f64 + 18.0;
            if x > LEFT && x + width > WIDTH - 8.0 {
                (x, y) = (LEFT, y + LINE);
            }
            let middle = y - 4.5;
            if let Some(at) = style {
                let (at, look) = stroke(at);
                let _ = writeln!(
                    out,
                    "<path class=\"s{at}\" d=\"M{x:.1} {middle:.1}h{SAMPLE}\" stroke=\"{}\" stroke-width=\"2.5\" \
                     stroke-dasharray=\"{}\"/>",
                    look.light, look.dash
                );
            }
            if let Some(shape) = shape {
                let color = format!("class=\"muted\" fill=\"{0}\"", MUTED.0);
                let _ = writeln!(out, "{}", drawn(shape, x + 6.0, middle, &color, ""));
            }
            let _ = writeln!(
                out,
                "<text class=\"ink\" fill=\"{}\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                INK.0,
                x + sample + 6.0,
                escape(text)
            );
            x += width;
        }
        (out, 1.0 + (y - 18.0) / LINE)
    }

    fn at(&self, top: f64, (x, y): Point) -> Point {
        let bottom = HEIGHT - BOTTOM;
        (LEFT + self.x.at(x) * (WIDTH - LEFT - RIGHT), bottom - self.y.at(y) * (bottom - top))
    }

    fn axes(&self, out: &mut String, top: f64) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut grid = String::new();
        let mut label = |x: f64, y: f64, anchor: &str, text: &str| {
            let _ = writeln!(
                out,
                "<text class=\"muted\" fill=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
                MUTED.0,
                escape(text)
            );
        };
        for tick in &self.y.ticks {
            let (_, y) = self.at(top, (0.0, tick.value));
            let _ = write!(grid, "M{LEFT} {y:.1}H{right}");
            label(LEFT - 8.0, y + 4.5, "end", &tick.label);
        }
        for tick in &self.x.ticks {
            let (x, _) = self.at(top, (tick.value, 0.0));
            let _ = write!(grid, "M{x:.1} {top:.1}V{bottom}");
            label(x, bottom + 18.0, "middle", &tick.label);
        }
        label(LEFT - 70.0, top - 13.0, "start", &self.y.title);
        label((LEFT + right) / 2.0, HEIGHT - 10.0, "middle", &self.x.title);
        let _ = writeln!(out, "<path class=\"grid\" d=\"{grid}\" stroke=\"{}\" fill=\"none\"/>", GRID.0);
        let frame = format!("M{LEFT} {top:.1}V{bottom}H{right}");
        let _ = writeln!(out, "<path class=\"axis\" d=\"{frame}\" stroke=\"{}\" fill=\"none\"/>", MUTED.0);
    }

    fn curve(&self, out: &mut String, top: f64, curve: &Curve) {
        let (at, look) = stroke(curve.style);
        let mut path = String::new();
        for piece in &curve.pieces {
            for (n, point) in piece.iter().enumerate() {
                let (x, y) = self.at(top, *point);
                let _ = write!(path, "{}{x:.1} {y:.1}", if n == 0 { "M" } else { "L" });
            }
        }
        let _ = writeln!(
            out,
            "<g><title>{}</title><path class=\"s{at}\" d=\"{path}\" stroke=\"{}\" stroke-width=\"2\" \
             stroke-dasharray=\"{}\" stroke-linejoin=\"round\" fill=\"none\"/></g>",
            escape(&curve.name),
            look.light,
            look.dash
        );
        for mark in &curve.marks {
            let color = format!("class=\"f{at}\" fill=\"{}\"", look.light);
            let text = format!("{}: {}", curve.name, mark.text);
            let (x, y) = self.at(top, mark.at);
            let _ = writeln!(out, "{}", drawn(mark.shape, x, y, &color, &text));
        }
    }
}

fn drawn(shape: Shape, x: f64, y: f64, color: &str, text: &str) -> String {
    let path = match shape {
        Shape::Dot => format!("M{:.1} {y:.1}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", x - 3.5),
        Shape::Triangle => format!("M{:.1} {:.1}l5.5 9.5h-11z", x, y - 6.0),
        // An X of two bars.
        Shape::Cross => format!(
            "M{:.1} {:.1}l1.6 -1.6l4 4l4 -4l1.6 1.6l-4 4l4 4l-1.6 1.6l-4 -4l-4 4l-1.6 -1.6l4 -4z",
            x - 5.6,
            y - 4.0
        ),
    };
    let title = if text.is_empty() { String::new() } else { format!("<title>{}</title>", escape(text)) };
    format!("<path {color} d=\"{path}\">{title}</path>")
}
