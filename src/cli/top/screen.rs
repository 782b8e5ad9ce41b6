//! Looks on a terminal, one after the other.

use std::io;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};
use tokio::time::{Instant, sleep};

use super::look::{Gateway, Look};
use super::table::{COLUMNS, HEADER, counters, rows, title, widths};

/// How soon a key takes effect.
const TICK: Duration = Duration::from_millis(50);

/// What is on the screen.
#[derive(Default)]
struct Shown {
    before: Option<Look>,
    look: Option<Look>,
    trouble: Option<String>,
}

/// Shows the gateway until `q`, Escape or Ctrl-C; a gateway that does not answer is waited for.
///
/// # Errors
/// When there is no terminal.
pub(super) async fn show(gateway: &Gateway, interval: Duration) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let mut shown = Shown::default();
    let mut due = Instant::now();
    let ended = loop {
        if Instant::now() >= due {
            due = Instant::now() + interval;
            shown.take(gateway.look().await);
        }
        if let Err(error) = terminal.draw(|frame| shown.draw(frame)) {
            break Err(error);
        }
        match is_enough() {
            Ok(false) => sleep(TICK).await,
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    ratatui::try_restore()?;
    ended
}

/// Whether somebody has pressed a key to end it.
fn is_enough() -> io::Result<bool> {
    while event::poll(Duration::ZERO)? {
        let Event::Key(key) = event::read()? else {
            continue;
        };
        let interrupt =
            key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        let quit = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
        if key.kind == KeyEventKind::Press && (quit || interrupt) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Shown {
    fn take(&mut self, look: Result<Look, String>) {
        match look {
            Ok(look) => {
                self.before = self.look.replace(look);
                self.trouble = None;
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let lines = [
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
        ];
        let layout =
            Layout::vertical([&lines[..], &[Constraint::Min(0), Constraint::Length(1)]].concat());
        let [first, second, _, middle, last] = layout.areas(frame.area());
        if let Some(look) = &self.look {
            frame.render_widget(Line::from(title(look)).style(Modifier::BOLD), first);
            frame.render_widget(Line::from(counters(look)), second);
            frame.render_widget(table(look, self.before.as_ref()), middle);
        }
        let footer = match &self.trouble {
            Some(trouble) => Line::from(trouble.as_str()).style(Color::Red),
            None => Line::from("q ends it").style(Modifier::DIM),
        };
        frame.render_widget(footer, last);
    }
}

fn table(look: &Look, before: Option<&Look>) -> Table<'static> {
    let rows = rows(look, before);
    let widths = widths(&rows);
    let widths: [_; COLUMNS] = std::array::from_fn(|column| {
        // The last one takes what is left.
        match column + 1 == COLUMNS {
            true => Constraint::Min(0),
            false => Constraint::Length(u16::try_from(widths[column]).unwrap_or(u16::MAX)),
        }
    });
    let styled = rows.into_iter().map(|row| {
        let style = style(&row[2]);
        Row::new(row).style(style)
    });
    let header = Row::new(HEADER).style(Modifier::DIM);
    Table::new(styled, widths).header(header).column_spacing(2)
}

fn style(standing: &str) -> Style {
    let colour = match standing {
        "trusted" => Color::Green,
        "on-probation" => Color::Yellow,
        "drained" => Color::Blue,
        _ => Color::Red,
    };
    Style::new().fg(colour)
}
