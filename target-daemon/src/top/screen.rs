//! The event loop of the terminal: keys and timer.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::rates::between;
use super::view::View;
use crate::control::{CallError, Snapshot};

/// Draws until the user quits. Restores the terminal on success and on failure.
pub fn run(
    mut sample: impl FnMut() -> Result<Snapshot, CallError>,
    interval: Duration,
) -> Result<(), CallError> {
    // Before the terminal is taken over, so that an error such as a wrong path stays
    // readable.
    let mut before = sample()?;
    let mut view = View::new(between(None, &before));
    let mut terminal = ratatui::try_init()?;
    let outcome = (|| {
        let mut next = Instant::now() + interval;
        loop {
            terminal.draw(|frame| view.draw(frame))?;
            if event::poll(next.saturating_duration_since(Instant::now()))?
                && let Event::Key(key) = event::read()?
                && !obey(&mut view, key)
            {
                return Ok(());
            }
            if Instant::now() >= next {
                next = Instant::now() + interval;
                if !view.paused {
                    refresh(&mut view, sample(), &mut before);
                }
            }
        }
    })();
    ratatui::restore();
    outcome
}

fn refresh(view: &mut View, now: Result<Snapshot, CallError>, before: &mut Snapshot) {
    match now {
        Ok(now) => {
            view.update(between(Some(before), &now));
            *before = now;
        }
        Err(e) => view.trouble = Some(e.to_string()),
    }
}

/// Handles a key; returns false to quit.
pub fn obey(view: &mut View, key: KeyEvent) -> bool {
    if key.kind == KeyEventKind::Release {
        return true;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('s') => view.sort(),
        KeyCode::Char('p') => view.paused ^= true,
        KeyCode::Up => view.scroll(-1),
        KeyCode::Down => view.scroll(1),
        KeyCode::PageUp => view.turn(-1),
        KeyCode::PageDown => view.turn(1),
        _ => {}
    }
    true
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
