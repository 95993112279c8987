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

/// A sort order of the rows: its name, and the sort key; larger comes first.
type Order = (&'static str, fn(&Row) -> f64);

const ORDERS: [Order; 5] = [
    ("address", |_| 0.0),
    ("requests", |row| row.reads + row.writes),
    ("MB/s", |row| row.bytes_read + row.bytes_written),
    ("p99", |row| row.percentiles.map_or(0.0, |[_, p99, _]| p99.as_secs_f64())),
    ("in flight", |row| row.in_flight as f64),
];

/// The state of the display.
#[derive(Debug)]
pub struct View {
    rates: Rates,
    /// An error, shown above the last rates.
    pub trouble: Option<String>,
    /// The number of times that the next column was asked for.
    order: usize,
    first: usize,
    page: usize,
    /// Whether updates are paused.
    pub paused: bool,
}

impl View {
    /// A view of these rates.
    pub fn new(rates: Rates) -> Self {
        Self { rates, trouble: None, order: 0, first: 0, page: 0, paused: false }
    }

    /// Shows these rates.
    pub fn update(&mut self, rates: Rates) {
        (self.rates, self.trouble) = (rates, None);
    }

    /// Sorts by the next column.
    pub fn sort(&mut self) {
        (self.order, self.first) = (self.order + 1, 0);
    }

    fn order(&self) -> Order {
        let [first, ..] = ORDERS;
        ORDERS.get(self.order % ORDERS.len()).copied().unwrap_or(first)
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
        let rates = &self.rates;
        self.page = usize::from(middle.height.saturating_sub(1));
        self.first = self.first.min(rates.exports.len().saturating_sub(self.page));
        let mut rows: Vec<&Row> = rates.exports.iter().collect();
        // The sort is stable: equal rows stay ordered by address.
        let (_, weight) = self.order();
        rows.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        let shown = rows.into_iter().skip(self.first).take(self.page);
        let heading = format!("{:<1$}", heading(), usize::from(middle.width));
        let heading = Line::styled(heading, Style::new().add_modifier(Modifier::REVERSED));
        let lines = shown.map(|row| Line::from(line(&cells(row))));
        frame.render_widget(Paragraph::new(Text::from_iter([heading].into_iter().chain(lines))), middle);
    }

    fn head(&self) -> Text<'_> {
        let rates = &self.rates;
        let paused = if self.paused { "   PAUSED" } else { "" };
        let title = format!(
            "xblade   up {}   {} exports, sorted by {}   of the last {:.1} s{paused}",
            age(rates.up.as_secs()),
            rates.exports.len(),
            self.order().0,
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
    Vec::from_iter(parts).join(by)
}

/// 2 d 03:04:05
fn age(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = if days > 0 { format!("{days} d ") } else { String::new() };
    format!("{days}{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}
