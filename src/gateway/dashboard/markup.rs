//! Text as HTML, and numbers as text.

use std::fmt::{self, Display, Write as _};

/// Most characters of a text: names come from configurations and from other regions.
const TEXT_MAX: usize = 200;

/// Text that has no markup in it, whatever it says, and no line break.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, c) in self.0.chars().enumerate() {
            match c {
                _ if index == TEXT_MAX => return f.write_char('…'),
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A number of seconds as the value of an attribute; empty while unknown.
pub(super) fn attribute(seconds: Option<f64>) -> String {
    seconds.map_or_else(String::new, |it| format!("{it:.3}"))
}

/// A time in words: `12 ms`, `3.4 s`, `2 min 5 s`, `15 min`; a dash while unknown.
pub(super) fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(it) if it < 0.000_5 => "0 ms".to_owned(),
        Some(it) if it < 0.01 => format!("{:.1} ms", it * 1e3),
        Some(it) if it < 1.0 => format!("{:.0} ms", it * 1e3),
        Some(it) if it < 100.0 => format!("{it:.1} s"),
        Some(it) if it < 600.0 => {
            let whole = it.round();
            format!("{:.0} min {:.0} s", (whole / 60.0).floor(), whole % 60.0)
        }
        Some(it) => format!("{:.0} min", it / 60.0),
    }
}

/// An upper bound of a time in words: rounded up, because rounding must not lower a bound.
pub(super) fn at_most(seconds: f64) -> String {
    let step = match seconds {
        it if it < 0.01 => 0.000_1,
        it if it < 1.0 => 0.001,
        it if it < 100.0 => 0.1,
        it if it < 600.0 => 1.0,
        _ => 60.0,
    };
    let mut up = (seconds / step).ceil() * step;
    if up > 0.0 {
        // Less is written as 0.
        up = up.max(0.000_5);
    }
    format!("≤ {}", time(Some(up)))
}

/// Requests per second.
pub(super) fn rate(rps: f64) -> String {
    match rps {
        it if it <= 0.0 => "0/s".to_owned(),
        it if it < 10.0 => format!("{it:.1}/s"),
        it => format!("{it:.0}/s"),
    }
}

/// A share from 0 to 1.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |it| format!("{:.0} %", it * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_line_breaks_in_a_text_stay_text() {
        let text = Text("<img src=x onerror='alert(1)'>&\"\n\rdata: x").to_string();
        let escaped =
            "&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;&quot;\u{fffd}\u{fffd}data: x";
        assert_eq!(text, escaped);
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = Text(&"x".repeat(1_000)).to_string();
        assert_eq!(text.chars().count(), TEXT_MAX + 1);
    }

    #[test]
    fn what_is_unknown_is_a_dash_and_never_zero() {
        assert_eq!(
            (time(None), percent(None)),
            ("–".to_owned(), "–".to_owned())
        );
        assert_eq!(attribute(None), "");
        assert_eq!(attribute(Some(0.0)), "0.000");
        let shown = [0.000_1, 0.002_5, 0.5, 7.25, 300.0].map(|it| time(Some(it)));
        assert_eq!(shown, ["0 ms", "2.5 ms", "500 ms", "7.2 s", "5 min 0 s"]);
        let shown = [149.0, 599.7, 900.0].map(|it| time(Some(it)));
        assert_eq!(shown, ["2 min 29 s", "10 min 0 s", "15 min"]);
    }

    #[test]
    fn an_upper_bound_is_rounded_up() {
        let shown = [0.0, 0.000_1, 0.050_2, 1.04, 119.2, 621.0].map(at_most);
        let bounds = [
            "≤ 0 ms",
            "≤ 0.5 ms",
            "≤ 51 ms",
            "≤ 1.1 s",
            "≤ 2 min 0 s",
            "≤ 11 min",
        ];
        assert_eq!(shown, bounds);
    }
}
