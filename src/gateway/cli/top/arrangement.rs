//! Which nodes are shown, and in which order: pure, moved by keys.

use std::cmp::Ordering;

use ratatui::crossterm::event::KeyCode;

use super::table::Table;

/// Longest filter: longer than a name.
const FILTER_MAX: usize = 64;

/// The order and the filter of the nodes' table.
#[derive(Default)]
pub(super) struct Arrangement {
    /// The column that is sorted by; none: the order in which nodes are tried.
    column: Option<usize>,
    reversed: bool,
    filter: String,
    /// Whether keys go into the filter.
    typing: bool,
}

impl Arrangement {
    /// Takes a key; returns whether it ends the program.
    pub(super) fn press(&mut self, key: KeyCode, columns: usize) -> bool {
        match key {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc if self.typing => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace if self.typing => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.typing => self.add(c),
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char('s') => {
                let next = self.column.map_or(0, |column| column + 1);
                self.column = (next < columns).then_some(next);
            }
            _ => {}
        }
        false
    }

    fn add(&mut self, c: char) {
        if self.filter.len() < FILTER_MAX {
            self.filter.push(c);
        }
    }

    /// Sorts and filters the rows.
    pub(super) fn arrange<const COLUMNS: usize>(
        &self,
        mut table: Table<COLUMNS>,
    ) -> Table<COLUMNS> {
        table.rows.retain(|row| row[0].contains(&self.filter));
        if let Some(column) = self.column.filter(|column| *column < COLUMNS) {
            table.rows.sort_by(|a, b| compare(&a[column], &b[column]));
        }
        if self.reversed {
            table.rows.reverse();
        }
        table
    }

    /// What the keys do, and what they have done.
    pub(super) fn line(&self, header: &[&str]) -> String {
        if self.typing {
            return format!("/{}▏  Enter keeps it, Esc clears it", self.filter);
        }
        let order = self.column.and_then(|column| header.get(column));
        let order = order.copied().unwrap_or("order of tries");
        let reversed = if self.reversed { ", reversed" } else { "" };
        let filter = match &*self.filter {
            "" => String::new(),
            filter => format!(": {filter}"),
        };
        format!("s sort ({order}{reversed})   r reverse   / filter{filter}   q quit")
    }
}

/// Numbers by their value, whatever unit follows; unknown ones last.
fn compare(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.split(' ').next().and_then(|it| it.parse::<f64>().ok());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arrangement: &Arrangement) -> Vec<String> {
        let rows = [["b", "9.0 ms"], ["a", "10.0 ms"], ["ab", "-"]];
        let table = Table {
            header: ["NODE", "LATENCY"],
            standing: None,
            rows: rows.map(|row| row.map(str::to_owned)).to_vec(),
        };
        let rows = arrangement.arrange(table).rows;
        rows.into_iter().map(|[name, _]| name).collect()
    }

    #[test]
    fn s_sorts_by_the_next_column_and_r_turns_the_order() {
        let mut arrangement = Arrangement::default();
        assert_eq!(names(&arrangement), ["b", "a", "ab"]);
        let press = |arrangement: &mut Arrangement, key| {
            assert!(!arrangement.press(KeyCode::Char(key), 2));
            names(arrangement)
        };
        assert_eq!(press(&mut arrangement, 's'), ["a", "ab", "b"]);
        assert_eq!(press(&mut arrangement, 's'), ["b", "a", "ab"]);
        assert_eq!(press(&mut arrangement, 'r'), ["ab", "a", "b"]);
        assert!(
            arrangement
                .line(&["NODE", "LATENCY"])
                .contains("LATENCY, reversed")
        );
        assert_eq!(press(&mut arrangement, 's'), ["ab", "a", "b"]);
    }

    #[test]
    fn a_slash_filters_by_name_until_escape_and_q_is_a_letter_meanwhile() {
        let mut arrangement = Arrangement::default();
        arrangement.press(KeyCode::Char('/'), 2);
        arrangement.press(KeyCode::Char('a'), 2);
        assert_eq!(names(&arrangement), ["a", "ab"]);
        assert!(!arrangement.press(KeyCode::Char('q'), 2));
        assert!(names(&arrangement).is_empty());
        arrangement.press(KeyCode::Backspace, 2);
        arrangement.press(KeyCode::Enter, 2);
        assert_eq!(names(&arrangement), ["a", "ab"]);
        assert!(arrangement.press(KeyCode::Char('q'), 2));
        arrangement.press(KeyCode::Char('/'), 2);
        arrangement.press(KeyCode::Esc, 2);
        assert_eq!(names(&arrangement).len(), 3);
    }
}
