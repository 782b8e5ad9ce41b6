//! The decision by itself, from divan's table.

use anyhow::{Context, Result};
use tokio::process::Command;

use super::process::output;
use super::report::{Report, say};

/// A line of divan's table, its description, and the greatest allowed median in nanoseconds.
const ROWS: [(&str, &str, f64); 4] = [
    (
        "decision",
        "decision over 1,000 policy rows: level, node order, cache rule, reason",
        150.0,
    ),
    (
        "region_nearest",
        "region by the last of 64 traffic policies, the nearest of 30",
        100.0,
    ),
    (
        "region_spread",
        "region by the last of 64 traffic policies, by key over 30",
        600.0,
    ),
    (
        "region_by_64_headers",
        "region by the last of 64 traffic policies with a header each",
        1_000.0,
    ),
];

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    say("decisions");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "bench", "--locked", "-q", "--bench", "decision", "--", "--color", "never",
    ]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Set for this program, and build scripts look at them: everything above would be compiled anew.
    let of_package =
        |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _value) in std::env::vars().filter(|(name, _value)| of_package(name)) {
        cargo.env_remove(name);
    }
    let told = output(cargo).await?;
    for (bench, what, median_max) in ROWS {
        row(report, &told, bench, (what, median_max))?;
    }
    Ok(())
}

fn row(report: &mut Report, told: &str, bench: &str, (what, max): (&str, f64)) -> Result<()> {
    let mut lines = told.lines();
    let is_bench = |line: &&str| line.split_whitespace().any(|word| word == bench);
    let line = lines.find(|line| line.contains('─') && is_bench(line) && line.contains("ns"));
    let line = line.with_context(|| format!("divan reports nothing about {bench}"))?;
    let nanoseconds = nanoseconds(median(line)?)?;
    // A line with `alloc:`, then the number; both are missing if there were no allocations.
    let mut lines = lines.take_while(|line| !line.contains('─'));
    let allocations = match lines.find(|line| line.contains("alloc:")) {
        Some(_) => median(lines.next().context("divan reports how many")?)?,
        None => "0",
    };
    say(&format!(
        "  {bench}: median {nanoseconds:.0} ns, {allocations} allocations"
    ));
    report.row(
        what,
        format!("median {nanoseconds:.0} ns, {allocations} allocations"),
        format!("≤ {max:.0} ns, 0 allocations"),
        nanoseconds <= max && allocations == "0",
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
        _ => anyhow::bail!("{text} is not a time"),
    };
    Ok(number.parse::<f64>()? * factor)
}
