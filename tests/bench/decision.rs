//! The decision by itself, from divan's table.

use anyhow::{Context, Result};
use tokio::process::Command;

use super::process::output;
use super::report::{Report, say};

const MEDIAN_MAX_NS: f64 = 150.0;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    say("decision over 1,000 policy rows");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "bench", "--locked", "-q", "--bench", "decision", "--", "--color", "never",
    ]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let told = output(cargo).await?;
    let mut lines = told.lines();
    let line = lines.find(|line| line.contains("─ decision"));
    let nanoseconds = nanoseconds(median(line.context("divan tells no decision")?)?)?;
    // A line that says `alloc:`, then how many; neither when there were none at all.
    let mut lines = lines.skip_while(|line| !line.trim_start().starts_with("alloc:"));
    let allocations = lines.nth(1).map_or(Ok("0"), median)?;
    say(&format!(
        "  median {nanoseconds:.0} ns, {allocations} allocations"
    ));
    report.row(
        "decision over 1,000 policy rows: level, node order, cache rule, reason",
        format!("median {nanoseconds:.0} ns, {allocations} allocations"),
        "≤ 150 ns, 0 allocations",
        nanoseconds <= MEDIAN_MAX_NS && allocations == "0",
    );
    Ok(())
}

/// The cell of the medians: fastest │ slowest │ median │ mean │ …
fn median(line: &str) -> Result<&str> {
    let cell = line.split('│').nth(2);
    Ok(cell.context("divan's table has a median")?.trim())
}

fn nanoseconds(text: &str) -> Result<f64> {
    let (number, unit) = text.split_once(' ').context("a number and a unit")?;
    let factor = match unit {
        "ns" => 1.0,
        "µs" => 1_000.0,
        _ => anyhow::bail!("{text} is no time"),
    };
    Ok(number.parse::<f64>()? * factor)
}
