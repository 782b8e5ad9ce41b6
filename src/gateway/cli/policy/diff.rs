//! `tidegate policy diff`: how two policies differ in meaning.

use serde_json::json;
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
    let lines = differing(&before, &after);
    let differ = !lines.is_empty();
    let listed: Vec<_> = lines.lines().collect();
    print_either(json, &json!({ "differ": differ, "lines": listed }), &lines)?;
    match differ {
        true => Err(Exit::failed(format_args!("{old} and {new} differ")).shown_in_json()),
        false => Ok(()),
    }
}

/// The lines that only one of two texts has, in order.
fn differing(before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
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
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            text += &format!("- {}\n", old[i]);
            i += 1;
        } else {
            text += &format!("+ {}\n", new[j]);
            j += 1;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_the_lines_of_either_in_their_order() {
        assert_eq!(differing("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(differing("a\nb\nc\n", "a\nx\nc\nd\n"), "- b\n+ x\n+ d\n");
        assert_eq!(differing("", "a\n"), "+ a\n");
        assert_eq!(differing("a\n", ""), "- a\n");
    }
}
