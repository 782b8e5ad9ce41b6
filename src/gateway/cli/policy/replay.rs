//! `tidegate policy replay`: recorded requests, decided again by another policy.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};
use tidegate_model::printable;
use tidegate_traffic::plan::OpenWindows;
use tidegate_traffic::receipt::{Receipt, RecordedDecision, Verdict};
use tidegate_traffic::schedule::Schedule;

use super::file::{compiled, print, print_json};
use crate::gateway::cli::Exit;

/// Most differences that are printed; all are counted.
const SHOWN_MAX: usize = 100;

/// Longest line that is read; a receipt of a request with heads of 64 KiB is shorter.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What a replay has found.
#[derive(Default)]
struct Replayed {
    json: bool,
    receipts: u64,
    differing: usize,
    not_judged: usize,
    /// Those that lack what the policy asks for.
    lacking: usize,
    /// For JSON: the first ones that differ and that lack something.
    shown: [Vec<Value>; 2],
}

/// Decides recorded requests again, and prints what differs.
pub(super) fn replay(receipts: &str, file: &str, json: bool) -> Result<(), Exit> {
    let plan = compiled(file)?;
    let schedule = Schedule::new(plan.windows());
    let unreadable = |error| Exit::unusable(format_args!("{receipts}: {error}"));
    let mut lines = BufReader::new(File::open(receipts).map_err(unreadable)?);
    let mut replayed = Replayed {
        json,
        ..Replayed::default()
    };
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
        replayed.receipts += 1;
        let number = replayed.receipts;
        let bad =
            |error: &dyn Display| Exit::unusable(format_args!("{receipts}:{number}: {error}"));
        let text = str::from_utf8(&line).map_err(|error| bad(&error))?;
        let receipt = Receipt::read(text.trim_end()).map_err(|error| bad(&error))?;
        // Windows of the receipt's own policy have the names under which they were recorded.
        let OpenWindows(by_name) = receipt.windows_by_name(&plan);
        let OpenWindows(by_time) = schedule.open(receipt.time_ms);
        let open = OpenWindows(by_name | by_time);
        let decision = receipt.replay(&plan, open).map_err(|error| bad(&error))?;
        let missing = receipt.missing(&plan, open).map_err(|error| bad(&error))?;
        match (receipt.decision.verdict(&decision), missing) {
            (Verdict::NotJudged, _) => replayed.not_judged += 1,
            (Verdict::Same | Verdict::Differs, Some(field)) => replayed.lacks(&field)?,
            (Verdict::Differs, None) => replayed.differs(&receipt.decision, &decision)?,
            (Verdict::Same, None) => {}
        }
    }
    replayed.end()?;
    match replayed.differing {
        0 => Ok(()),
        differing => Err(Exit::failed(format_args!(
            "{differing} of {} receipts are decided differently by {file}",
            replayed.receipts
        ))
        .shown_in_json()),
    }
}

impl Replayed {
    /// Counts a receipt that is decided differently.
    fn differs(&mut self, was: &RecordedDecision, is: &RecordedDecision) -> Result<(), Exit> {
        self.differing += 1;
        if self.differing > SHOWN_MAX {
            return Ok(());
        }
        let line = self.receipts;
        let [differences, _] = &mut self.shown;
        match self.json {
            true => differences.push(json!({ "line": line, "was": fields(was), "is": fields(is) })),
            false => print(&format!("{line}: {} -> {}\n", words(was), words(is)))?,
        }
        Ok(())
    }

    /// Counts a receipt that does not tell what the policy asks for.
    fn lacks(&mut self, field: &str) -> Result<(), Exit> {
        self.not_judged += 1;
        self.lacking += 1;
        if self.lacking > SHOWN_MAX {
            return Ok(());
        }
        let (line, field) = (self.receipts, printable(field));
        let [_, lacking] = &mut self.shown;
        match self.json {
            true => lacking.push(json!({ "line": line, "field": field })),
            false => print(&format!(
                "{line}: not judged: its {field} is not recorded\n"
            ))?,
        }
        Ok(())
    }

    /// Prints the counts.
    fn end(&self) -> Result<(), Exit> {
        let Self {
            receipts,
            differing,
            not_judged,
            lacking,
            ..
        } = self;
        if self.json {
            let [differences, not_recorded] = &self.shown;
            return print_json(&json!({
                "receipts": receipts,
                "differ": differing,
                "not_judged": not_judged,
                "differences": differences,
                "not_recorded": not_recorded,
            }));
        }
        for (count, what) in [(differing, "differ"), (lacking, "not judged")] {
            if *count > SHOWN_MAX {
                print(&format!("and {} more {what}\n", count - SHOWN_MAX))?;
            }
        }
        print(&format!(
            "{receipts} receipts: {differing} differ, {not_judged} not judged\n"
        ))
    }
}

/// A decision for JSON.
fn fields(decision: &RecordedDecision) -> Value {
    let clean = |text: &String| printable(text);
    json!({
        "region": decision.region.as_ref().map(clean),
        "status": decision.status,
        "policy": printable(&decision.policy),
        "reason": printable(&decision.reason),
        "proposed": decision.proposed.as_ref().map(clean),
        "standbys": decision.standbys.iter().map(clean).collect::<Vec<_>>(),
    })
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
