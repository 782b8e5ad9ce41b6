//! `tidegate policy diff`: how two policies differ in meaning.

use serde_json::{Value, json};
use tidegate_model::Environment;
use tidegate_traffic::syntax::Source;
use tidegate_traffic::{compile, show};

use super::file::{accepted, print_either};
use super::store::content;
use crate::gateway::cli::Exit;

/// Prints how two policies differ.
pub(super) async fn diff(
    environment: &Environment,
    (old, new): (&str, &str),
    json: bool,
) -> Result<(), Exit> {
    let meaning = async |policy: &str| {
        let (name, bytes) = content(environment, policy).await?;
        let source = Source::new(&name, &bytes);
        let compiled = compile(&source);
        accepted(&compiled, &source)?;
        let shown = compiled
            .plan
            .as_ref()
            .map(|plan| show::show(plan).to_string());
        Ok::<_, Exit>(shown.unwrap_or_default())
    };
    let (before, after) = (meaning(old).await?, meaning(new).await?);
    let changes = differing(&before, &after);
    let (differ, text) = (!changes.is_empty(), text(&changes));
    let lines: Vec<_> = text.lines().collect();
    let shown: Vec<_> = changes.iter().map(ChangedLine::json).collect();
    let json_value = json!({ "differ": differ, "lines": lines, "changes": shown });
    print_either(json, &json_value, &text)?;
    match differ {
        true => Err(Exit::failed(format_args!("{old} and {new} differ")).shown_in_json()),
        false => Ok(()),
    }
}

/// A line that only one of two texts has.
#[derive(Debug, PartialEq)]
struct ChangedLine<'a> {
    sign: char,
    line: &'a str,
    /// The first line of the policy or window that it is part of, or that it begins.
    block: Option<&'a str>,
}

impl ChangedLine<'_> {
    fn json(&self) -> Value {
        let name = |kind: &str| self.block.and_then(|block| block.strip_prefix(kind));
        json!({
            "policy": name("policy "),
            "window": name("window "),
            "line": format!("{} {}", self.sign, self.line),
        })
    }
}

/// The changes as lines, each block's after its first line.
fn text(changes: &[ChangedLine<'_>]) -> String {
    let (mut text, mut told) = (String::new(), None);
    for ChangedLine { sign, line, block } in changes {
        if let Some(head) = block
            && told != *block
            && head != line
        {
            text += &format!("  {head}\n");
        }
        told = *block;
        text += &format!("{sign} {line}\n");
    }
    text
}

/// The lines of a text, each with the first one of its block.
fn in_blocks(text: &str) -> Vec<(&str, Option<&str>)> {
    let mut block = None;
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines = lines.map(|line| {
        if !line.starts_with(' ') {
            let is_block = line.starts_with("policy ") || line.starts_with("window ");
            block = is_block.then_some(line);
        }
        (line, block)
    });
    lines.collect()
}

/// The lines that only one of two texts has, in order.
fn differing<'a>(before: &'a str, after: &'a str) -> Vec<ChangedLine<'a>> {
    let (old, new) = (in_blocks(before), in_blocks(after));
    // By suffixes: the length of the longest common subsequence.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] = match line == other {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut changes) = (0, 0, Vec::new());
    let change = |sign, (line, block)| ChangedLine { sign, line, block };
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            changes.push(change('-', old[i]));
            i += 1;
        } else {
            changes.push(change('+', new[j]));
            j += 1;
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> String {
        text(&differing(before, after))
    }

    #[test]
    fn a_difference_is_the_lines_of_either_in_their_order() {
        assert_eq!(shown("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(shown("a\nb\nc\n", "a\nx\nc\nd\n"), "- b\n+ x\n+ d\n");
        assert_eq!(shown("", "a\n"), "+ a\n");
        assert_eq!(shown("a\n", ""), "- a\n");
    }

    #[test]
    fn a_changed_line_comes_after_the_head_of_its_policy() {
        let before = "region a\n\npolicy a\n  else 503\n\npolicy b\n  prefer a\n  else 503\n\nwindow w\n  else 503\n";
        let after = before
            .replace("prefer a\n  else 503", "prefer b\n  else 504")
            .replace("window w\n  else 503\n", "policy c\n  else 503\n");
        let expected = "  policy b\n- \u{20} prefer a\n- \u{20} else 503\n- window w\n- \u{20} else 503\n\
                        \u{20} policy b\n+ \u{20} prefer b\n+ \u{20} else 504\n+ policy c\n+ \u{20} else 503\n";
        assert_eq!(shown(before, &after), expected);
        let changes = differing(before, &after);
        let json = changes[0].json();
        assert_eq!(json["policy"], "b");
        assert_eq!(json["window"], Value::Null);
        assert_eq!(json["line"], "-   prefer a");
        assert_eq!(changes[3].json()["window"], "w");
    }
}
