//! What the terminal shows, without access to a terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::Paragraph;

use super::plain::{cells, count, heading, line};
use super::rates::{Rates, Row};

/// The number of lines above the table, and below it.
const HEAD: u16 = 3;
const FOOT: u16 = 1;

/// The sort order of the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// By shelf and slot.
    #[default]
    Address,
    /// Most requests first.
    Requests,
    /// Most bytes first.
    Bytes,
    /// Longest p99 first.
    Latency,
    /// Most requests in flight first.
    InFlight,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Address => Self::Requests,
            Self::Requests => Self::Bytes,
            Self::Bytes => Self::Latency,
            Self::Latency => Self::InFlight,
            Self::InFlight => Self::Address,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Requests => "requests",
            Self::Bytes => "MB/s",
            Self::Latency => "p99",
            Self::InFlight => "in flight",
        }
    }

    /// The sort key; larger comes first.
    fn weight(self, row: &Row) -> f64 {
        match self {
            Self::Address => 0.0,
            Self::Requests => row.reads + row.writes,
            Self::Bytes => row.bytes_read + row.bytes_written,
            Self::Latency => row.percentiles.map_or(0.0, |[_, p99, _]| p99.as_secs_f64()),
            Self::InFlight => row.in_flight as f64,
        }
    }
}

/// The state of the display.
#[derive(Debug, Default)]
pub struct View {
    rates: Option<Rates>,
    trouble: Option<String>,
    order: Order,
    first: usize,
    page: usize,
    paused: bool,
}

impl View {
    /// Whether updates are paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Shows these rates.
    pub fn update(&mut self, rates: Rates) {
        self.trouble = None;
        self.rates = Some(rates);
    }

    /// Shows an error above the last rates.
    pub fn complain(&mut self, trouble: String) {
        self.trouble = Some(trouble);
    }

    /// Pauses or resumes updates.
    pub fn pause(&mut self) {
        self.paused = !self.paused;
    }

    /// Sorts by the next column.
    pub fn sort(&mut self) {
        self.order = self.order.next();
        self.first = 0;
    }

    /// Scrolls by this number of rows, up if negative.
    pub fn scroll(&mut self, rows: isize) {
        self.first = self.first.saturating_add_signed(rows);
    }

    /// Scrolls by this number of pages, up if negative.
    pub fn turn(&mut self, pages: isize) {
        self.scroll(pages.saturating_mul(self.page.max(1).cast_signed()));
    }

    /// Draws everything.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let areas =
            Layout::vertical([Constraint::Length(HEAD), Constraint::Min(1), Constraint::Length(FOOT)]);
        let [head, middle, foot] = areas.areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let keys = "q quit   s sort   up/down, PgUp/PgDn scroll   p pause";
        frame.render_widget(Paragraph::new(keys), foot);
        let Some(rates) = &self.rates else { return };
        self.page = usize::from(middle.height.saturating_sub(1));
        self.first = self.first.min(rates.exports.len().saturating_sub(self.page));
        let mut rows: Vec<&Row> = rates.exports.iter().collect();
        // The sort is stable: equal rows stay ordered by address.
        rows.sort_by(|a, b| self.order.weight(b).total_cmp(&self.order.weight(a)));
        let shown = rows.into_iter().skip(self.first).take(self.page);
        let heading = format!("{:<1$}", heading(), usize::from(middle.width));
        let heading = Line::styled(heading, Style::new().add_modifier(Modifier::REVERSED));
        let lines = shown.map(|row| Line::from(line(&cells(row))));
        frame.render_widget(Paragraph::new(Text::from_iter([heading].into_iter().chain(lines))), middle);
    }

    fn head(&self) -> Text<'_> {
        let Some(rates) = &self.rates else {
            return self.trouble.as_deref().unwrap_or("waiting for the first sample").into();
        };
        let paused = if self.paused { "   PAUSED" } else { "" };
        let title = format!(
            "xblade   up {}   {} exports, sorted by {}   of the last {:.1} s{paused}",
            age(rates.up.as_secs()),
            rates.exports.len(),
            self.order.name(),
            rates.span.as_secs_f64()
        );
        let interfaces = rates.interfaces.iter().map(|interface| {
            let state = if interface.is_live() { "up" } else { "DOWN" };
            format!("{} {state} {} MTU {}", interface.name, interface.mode, interface.mtu)
        });
        let drops = rates.drops.iter().map(|(place, rate)| format!("{place} {}", count(*rate)));
        let busy = rates.busy.iter().map(|(worker, share)| format!("{worker}: {:.0} %", share * 100.0));
        let second = self.trouble.clone().unwrap_or_else(|| joined(interfaces, "   "));
        let third = format!("dropped/s: {}   busy: {}", joined(drops, ", "), joined(busy, ", "));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Text::from(vec![Line::styled(title, bold), second.into(), third.into()])
    }
}

fn joined(parts: impl Iterator<Item = String>, by: &str) -> String {
    parts.collect::<Vec<_>>().join(by)
}

/// 2 d 03:04:05
fn age(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = if days > 0 { format!("{days} d ") } else { String::new() };
    format!("{days}{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}
