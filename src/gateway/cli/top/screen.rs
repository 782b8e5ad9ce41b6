//! Shows the state on a terminal and updates it.

use std::io;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{self, Row};
use tokio::time::{Instant, sleep};

use super::arrangement::Arrangement;
use super::look::{Gateway, Look};
use super::table::{Table, buckets, counters, levels, nodes, regions, title, upstreams};

/// How soon a key takes effect.
const TICK: Duration = Duration::from_millis(50);

/// The contents of the screen.
#[derive(Default)]
struct Shown {
    before: Option<Look>,
    look: Option<Look>,
    trouble: Option<String>,
    arrangement: Arrangement,
}

/// Shows the gateway until `q`, Escape or Ctrl-C; keeps trying a gateway that does not answer.
///
/// # Errors
/// If there is no terminal.
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
        match is_enough(&mut shown.arrangement) {
            Ok(false) => sleep(TICK).await,
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    ratatui::try_restore()?;
    ended
}

/// The number of columns of the nodes' table, which are sorted by.
const NODE_COLUMNS: usize = 10;

/// Takes the keys that were pressed; returns whether one of them quits.
fn is_enough(arrangement: &mut Arrangement) -> io::Result<bool> {
    while event::poll(Duration::ZERO)? {
        let Event::Key(key) = event::read()? else {
            continue;
        };
        let interrupt =
            key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        let is_press = key.kind == KeyEventKind::Press;
        if is_press && (interrupt || arrangement.press(key.code, NODE_COLUMNS)) {
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
        let [head, middle, last] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        if let Some(look) = &self.look {
            let title = Line::from(title(look)).style(Modifier::BOLD);
            frame.render_widget(Text::from(vec![title, counters(look).into()]), head);
            self.draw_tables(frame, middle, look);
        }
        let footer = match &self.trouble {
            Some(trouble) => Line::from(trouble.as_str()).style(Color::Red),
            None => Line::from(self.keys()).style(Modifier::DIM),
        };
        frame.render_widget(footer, last);
    }

    /// The line that says what the keys do.
    fn keys(&self) -> String {
        let header = self.look.as_ref().map(|look| nodes(look, None).header);
        self.arrangement.line(&header.unwrap_or_default())
    }

    /// Draws the tables one below the other, with a line between them.
    fn draw_tables(&self, frame: &mut Frame<'_>, area: Rect, look: &Look) {
        let before = self.before.as_ref();
        let nodes = self.arrangement.arrange(nodes(look, before));
        let (levels, upstreams) = (levels(look, before), upstreams(look, before));
        let (regions, buckets) = (regions(look), buckets(look));
        // The header, and a line below the last row; nothing where there is no row.
        let height = |rows: usize| match rows {
            0 => Constraint::Length(0),
            rows => Constraint::Length(u16::try_from(rows + 2).unwrap_or(u16::MAX)),
        };
        let [first, second, third, fourth, fifth] = Layout::vertical([
            height(nodes.rows.len()),
            height(levels.rows.len()),
            height(upstreams.rows.len()),
            height(regions.rows.len()),
            height(buckets.rows.len()),
        ])
        .areas(area);
        frame.render_widget(table(nodes), first);
        frame.render_widget(table(levels), second);
        frame.render_widget(table(upstreams), third);
        frame.render_widget(table(regions), fourth);
        frame.render_widget(table(buckets), fifth);
    }
}

fn table<const COLUMNS: usize>(table: Table<COLUMNS>) -> widgets::Table<'static> {
    let widths = table.widths();
    let widths: [_; COLUMNS] = std::array::from_fn(|column| {
        // The last one takes the remaining space.
        match column + 1 == COLUMNS {
            true => Constraint::Min(0),
            false => Constraint::Length(u16::try_from(widths[column]).unwrap_or(u16::MAX)),
        }
    });
    let styled = table.rows.into_iter().map(|row| {
        let style = table.standing.map(|column| style(&row[column]));
        Row::new(row).style(style.unwrap_or_default())
    });
    let header = Row::new(table.header).style(Modifier::DIM);
    widgets::Table::new(styled, widths)
        .header(header)
        .column_spacing(2)
}

fn style(standing: &str) -> Style {
    let colour = match standing {
        "trusted" | "well" | "ONLINE" => Color::Green,
        "on-probation" | "ramping" | "DISCONNECTED" => Color::Yellow,
        "drained" | "draining" => Color::Blue,
        "unknown" => Color::Gray,
        _ => Color::Red,
    };
    Style::new().fg(colour)
}
