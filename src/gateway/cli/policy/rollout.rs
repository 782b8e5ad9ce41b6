//! `tidegate policy rollout`, `pause`, `resume` and `abort`.

use std::fmt::Display;
use std::time::SystemTime;

use serde_json::{Value, json};
use tidegate_model::{Environment, printable};
use tidegate_rollout::{
    ArmCounts, Course, FinishedRollout, GatewayReport, RolloutStage, StopReason, Told,
};
use tidegate_traffic::plan::Plan;

use super::arguments::RolloutCommand;
use super::file::{print, print_either, print_json};
use super::followed::{Followed, all_follow, in_words};
use super::interrupts::interrupts;
use super::operator::operator;
use super::store::{open, usable};
use crate::gateway::cli::Exit;
use crate::policy_store::{
    InForceRow, LeadEvent, Leadership, NewRollout, OpenRow, StoreError, StoreSession, lead,
};

/// Exit codes of a rollout.
const STOPPED: u8 = 4;
const ABORTED: u8 = 5;
const LEASE_LOST: u8 = 6;

/// Rolls a revision out, and leads it until it ends.
pub(super) async fn rollout(
    environment: &Environment,
    command: &RolloutCommand,
) -> Result<(), Exit> {
    let mut store = open(environment).await?;
    let revision = command.revision;
    let (stored, plan) = usable(&store, revision).await?;
    let known = store.in_force().await?;
    let in_force = known.by.revision;
    if revision < in_force {
        return Err(StoreError::Below { revision, in_force }.into());
    }
    let gateways = store.gateways().await?;
    let regions = order(&plan, &gateways, command)?;
    if revision == in_force {
        return is_in_force(&store, known, command.json).await;
    }
    refuse_old_gateways(&gateways, stored.language)?;
    let leader = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let new = NewRollout {
        revision,
        regions: &regions,
        bake: command.bake,
        blast_radius: command.blast_radius,
        judge: &command.judge,
        leader: &leader,
        by: &operator(environment),
    };
    let (rollout, started) = store.begin(&new).await?;
    let course = Course {
        rollout,
        started,
        regions,
        bake: command.bake,
        wait: command.wait,
        blast_radius: command.blast_radius,
        latency: command.judge.contains("latency"),
        min_samples: command.min_samples,
    };
    let told = |event: LeadEvent| {
        // Whoever reads may have gone; the rollout goes on.
        let _unread = match command.json {
            true => print_json(&json_line((rollout, revision), &event)),
            false => print(&text_line(&event)),
        };
    };
    let ended = lead(&mut store, (course, &leader), interrupts()?, told).await?;
    let new = InForceRow {
        by: FinishedRollout {
            rollout,
            started,
            revision,
        },
        base: in_force,
    };
    end(&store, ended, new).await
}

/// Answers that there is nothing to do: once no other rollout is open, and all living gateways decide by it.
async fn is_in_force(store: &StoreSession, known: InForceRow, json: bool) -> Result<(), Exit> {
    match store.expire_if_left().await {
        // Whoever may only read is answered, too.
        Ok(()) | Err(StoreError::Rights(_) | StoreError::ReadOnly) => {}
        Err(error) => return Err(error.into()),
    }
    store.refuse_open().await?;
    let revision = known.by.revision;
    if let Followed::RolledBack(later) = all_follow(store, known).await? {
        return Err(taken_back(revision, &later));
    }
    let done = LeadEvent {
        stage: RolloutStage::Share,
        region: None,
        share: 10_000,
        state: "done",
        told: Told::default(),
        reason: Some("it is in force already".to_owned()),
    };
    let text = format!("revision {revision} is in force already\n");
    print_either(json, &json_line((known.by.rollout, revision), &done), &text)
}

async fn end(store: &StoreSession, ended: Leadership, new: InForceRow) -> Result<(), Exit> {
    let revision = new.by.revision;
    let why = |why: &dyn Display| format!("revision {revision} was taken back: {why}");
    match ended {
        Leadership::Done => match all_follow(store, new).await? {
            Followed::All => Ok(()),
            Followed::RolledBack(later) => Err(taken_back(revision, &later)),
        },
        // Its last event says so.
        Leadership::Stopped(reason @ StopReason::Stalled { .. }) => {
            Err(Exit::failed(why(&reason)).shown_in_json())
        }
        Leadership::Stopped(reason) => Err(Exit::with_code(STOPPED, why(&reason)).shown_in_json()),
        Leadership::Aborted(reason) => Err(Exit::with_code(ABORTED, why(&reason)).shown_in_json()),
        Leadership::Lost(reason) => Err(Exit::with_code(
            LEASE_LOST,
            format_args!("this process does not lead the rollout any more: {reason}"),
        )),
    }
}

/// What was put in force was rolled back before all gateways had followed.
pub(super) fn taken_back(revision: u32, later: &OpenRow) -> Exit {
    let what = in_words(revision);
    let OpenRow { rollout, by, .. } = later;
    Exit::with_code(
        ABORTED,
        format_args!(
            "{what} was in force, and {by} has gone back to revision {} by rollout {rollout}",
            later.revision
        ),
    )
}

fn refuse_old_gateways(gateways: &[GatewayReport], language: u32) -> Result<(), Exit> {
    let old = |it: &&GatewayReport| it.follows() && it.language < language;
    match gateways.iter().find(old) {
        None => Ok(()),
        Some(it) => Err(Exit::unusable(format_args!(
            "gateway {} in {} (version {}) reads version {} of the language, and this revision needs {language}: \
             upgrade it first",
            it.gateway, it.region, it.version, it.language
        ))),
    }
}

/// The regions in their order: as given, then by load, capacity and name.
fn order(
    plan: &Plan,
    gateways: &[GatewayReport],
    command: &RolloutCommand,
) -> Result<Vec<String>, Exit> {
    let declared = plan.regions().iter();
    let mut declared: Vec<_> = declared.collect();
    declared.sort_by_key(|it| {
        let least = |rps: Option<u32>| rps.unwrap_or(u32::MAX);
        (least(it.load), least(it.capacity), it.id.clone())
    });
    let mut regions: Vec<_> = declared.iter().map(|it| it.id.to_string()).collect();
    // Gateways of regions that the policy does not name follow too.
    for gateway in gateways.iter().filter(|it| it.follows()) {
        if !regions.contains(&gateway.region) {
            regions.push(gateway.region.clone());
        }
    }
    let first = command.canary.iter().chain(&command.order);
    let first: Vec<_> = first.cloned().collect();
    for (place, region) in first.iter().enumerate() {
        if first[..place].contains(region) {
            return Err(Exit::unusable(format_args!(
                "\"{region}\" is named twice: each region comes once"
            )));
        }
        if !regions.contains(region) {
            let known = regions.join(", ");
            let region = printable(region);
            return Err(Exit::unusable(format_args!(
                "\"{region}\" is no region of this rollout: expected one of {known}"
            )));
        }
    }
    regions.retain(|it| !first.contains(it));
    Ok([first, regions].concat())
}

fn json_line((rollout, revision): (u64, u32), event: &LeadEvent) -> Value {
    let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let [new_late, old_late] = event.told.arms.late();
    let arm = |arm: &ArmCounts, late: u64| json!({ "requests": arm.requests, "errors": arm.errors, "late": late });
    json!({
        "at": at,
        "rollout": rollout,
        "revision": revision,
        "stage": event.stage,
        "region": event.region,
        "share": f64::from(event.share) / 10_000.0,
        "state": event.state,
        "decided": event.told.decided,
        "changed": event.told.changed,
        "exposed": event.told.exposed,
        "new": arm(&event.told.arms.new, new_late),
        "old": arm(&event.told.arms.old, old_late),
        "reason": event.reason,
    })
}

/// A line for a stage that has ended; nothing for what comes between.
fn text_line(event: &LeadEvent) -> String {
    if matches!(event.state, "entered" | "baking") {
        return String::new();
    }
    let is_passed_over = event.state == "passed-over";
    let place = match &event.region {
        Some(region) if is_passed_over => region.clone(),
        Some(region) => format!("{region} {} %", f64::from(event.share) / 100.0),
        None => "shadow".to_owned(),
    };
    let state = event.state.replace('-', " ");
    let told = &event.told;
    let unjudged = match event.region.is_some() && told.unjudged && !is_passed_over {
        true => ", unjudged",
        false => "",
    };
    let reason = event
        .reason
        .as_ref()
        .map(|it| format!(": {it}"))
        .unwrap_or_default();
    format!(
        "{place:<24} {state}{unjudged}  {} of {} decisions changed{reason}\n",
        told.changed, told.decided
    )
}

/// Lets the open rollout stand still, or bake again.
pub(super) async fn pause(environment: &Environment, paused: bool, json: bool) -> Result<(), Exit> {
    let open = open(environment).await?.pause(paused).await?;
    let what = if paused {
        "is paused"
    } else {
        "bakes its stage again"
    };
    let OpenRow {
        rollout, revision, ..
    } = open;
    let text = format!("rollout {rollout} of revision {revision} {what}\n");
    let shown = json!({ "rollout": rollout, "revision": revision, "paused": paused });
    print_either(json, &shown, &text)
}

/// Ends the open rollout.
pub(super) async fn abort(environment: &Environment, json: bool) -> Result<(), Exit> {
    let store = open(environment).await?;
    let ended = store.abort(&operator(environment)).await?;
    let in_force = store.in_force().await?;
    let OpenRow {
        rollout, revision, ..
    } = ended;
    let text = format!("rollout {rollout} of revision {revision} is aborted\n");
    let shown = json!({ "rollout": rollout, "revision": revision, "in_force": in_force });
    print_either(json, &shown, &text)?;
    // What has followed it since is another command's.
    all_follow(&store, in_force).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_region_in_which_nothing_was_tried_does_not_say_that_it_has_passed() {
        let event = LeadEvent {
            stage: RolloutStage::Share,
            region: Some("us-east-1".to_owned()),
            share: 500,
            state: "passed-over",
            told: Told {
                unjudged: true,
                ..Told::default()
            },
            reason: Some("no living gateway".to_owned()),
        };
        let said = "passed over  0 of 0 decisions changed: no living gateway";
        assert_eq!(text_line(&event), format!("{:<24} {said}\n", "us-east-1"));
        let line = json_line((7, 2), &event);
        assert_eq!(
            (&line["state"], &line["region"]),
            (&"passed-over".into(), &"us-east-1".into())
        );
    }
}
