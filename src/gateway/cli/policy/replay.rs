//! `tidegate policy replay`: recorded requests, decided again by another policy.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use tidegate_model::printable;
use tidegate_traffic::plan::OpenWindows;
use tidegate_traffic::receipt::{Receipt, RecordedDecision, Verdict};
use tidegate_traffic::schedule::Schedule;

use super::file::{compiled, print};
use crate::gateway::cli::Exit;

/// Most differences that are printed; all are counted.
const SHOWN_MAX: usize = 100;

/// Longest line that is read; a receipt of a request with heads of 64 KiB is shorter.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Decides recorded requests again, and prints what differs.
pub(super) fn replay(receipts: &str, file: &str) -> Result<(), Exit> {
    let plan = compiled(file)?;
    let schedule = Schedule::new(plan.windows());
    let unreadable = |error| Exit::unusable(format_args!("{receipts}: {error}"));
    let mut lines = BufReader::new(File::open(receipts).map_err(unreadable)?);
    let (mut number, mut differing, mut not_judged, mut untold) = (0_u64, 0, 0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        if read.map_err(unreadable)? == 0 {
            break;
        }
        number += 1;
        let bad =
            |error: &dyn Display| Exit::unusable(format_args!("{receipts}:{number}: {error}"));
        let text = str::from_utf8(&line).map_err(|error| bad(&error))?;
        let receipt = Receipt::read(text.trim_end()).map_err(|error| bad(&error))?;
        // Windows of the receipt's own policy have the names under which they were recorded.
        let OpenWindows(by_name) = receipt.windows_by_name(&plan);
        let OpenWindows(by_time) = schedule.open(receipt.time_ms);
        let open = OpenWindows(by_name | by_time);
        let replayed = receipt.replay(&plan, open).map_err(|error| bad(&error))?;
        let missing = receipt.missing(&plan, open).map_err(|error| bad(&error))?;
        let verdict = receipt.decision.verdict(&replayed);
        if let Some(field) = missing.filter(|_| verdict != Verdict::NotJudged) {
            not_judged += 1;
            untold += 1;
            if untold <= SHOWN_MAX {
                let field = printable(&field);
                print(&format!(
                    "{number}: not judged: its {field} is not recorded\n"
                ))?;
            }
            continue;
        }
        match verdict {
            Verdict::Same => {}
            Verdict::NotJudged => not_judged += 1,
            Verdict::Differs => {
                differing += 1;
                if differing <= SHOWN_MAX {
                    let (was, is) = (words(&receipt.decision), words(&replayed));
                    print(&format!("{number}: {was} -> {is}\n"))?;
                }
            }
        }
    }
    for (count, what) in [(differing, "differ"), (untold, "not judged")] {
        if count > SHOWN_MAX {
            print(&format!("and {} more {what}\n", count - SHOWN_MAX))?;
        }
    }
    print(&format!(
        "{number} receipts: {differing} differ, {not_judged} not judged\n"
    ))?;
    match differing {
        0 => Ok(()),
        _ => Err(Exit::failed(format_args!(
            "{differing} of {number} receipts are decided differently by {file}"
        ))),
    }
}

/// A decision in one line: names are what anyone may have written into the file.
fn words(decision: &RecordedDecision) -> String {
    let region = match (&decision.region, decision.status) {
        (Some(region), _) => region.clone(),
        (None, Some(status)) => format!("status {status}"),
        (None, None) => "here".to_owned(),
    };
    let (policy, reason) = (&decision.policy, &decision.reason);
    let proposed = decision.proposed.as_deref().unwrap_or("none");
    let standbys = decision.standbys.join(", ");
    printable(&format!(
        "{region} by {policy} because {reason} (proposed {proposed}; standbys {standbys})"
    ))
}
