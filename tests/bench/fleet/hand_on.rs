//! What it costs to hand on a request for an answer that the second gateway has stored.

use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;

use super::paced::{Load, Stretch};
use super::pair::Pair;
use crate::contest::{Pace, median, sorted};
use crate::report::{Report, say};
use crate::tls::cpu_seconds;

const PATH: &str = "/cached/1";
const PER_SECOND: u32 = 2_000;
const CONNECTIONS: u32 = 16;
/// More than can be served: each connection asks again at once.
const WITHOUT_PAUSE: u32 = 1_000_000;

/// One round: both gateways' CPU time for a request that is handed on, and what that adds to its time.
struct Round {
    cpu_micros: f64,
    /// The same where both gateways always have something to do, so that fewer are woken for each.
    busy_cpu_micros: f64,
    p50_ms: f64,
    p99_ms: f64,
    is_sound: bool,
}

pub(super) async fn measure(pace: &Pace, report: &mut Report) -> Result<()> {
    let app = Router::new().fallback(|| async { "x".repeat(1_024) });
    let pair = Pair::start(["[cache]\nbytes_max = 0\n", ""], app).await?;
    let load = |at: usize| Load {
        address: pair.gateways[at].address,
        path: PATH,
        per_second: PER_SECOND,
        connections: CONNECTIONS,
    };
    let busy = Load {
        per_second: WITHOUT_PAUSE,
        ..load(0)
    };
    let time = Duration::from_secs((3 * pace.seconds).into());
    // Stored there, and everything warm.
    let _warm = load(0).run(time).await?;
    let idle = idle_cpu(&pair, time).await?;
    let mut rounds = Vec::new();
    for number in 1..=pace.rounds.min(5) {
        let direct = load(1).run(time).await?;
        let before = cpu(&pair)?;
        let handed = load(0).run(time).await?;
        let between = cpu(&pair)?;
        let without_pause = busy.run(time).await?;
        let spent = [between - before, cpu(&pair)? - between];
        for stretch in [&direct, &handed, &without_pause] {
            ensure!(
                stretch.count(200) == stretch.answers.len(),
                "all are served"
            );
        }
        let round = Round {
            cpu_micros: each(spent[0] - idle, &handed),
            busy_cpu_micros: each(spent[1] - idle, &without_pause),
            p50_ms: added(&handed, &direct, 50),
            p99_ms: added(&handed, &direct, 99),
            is_sound: direct.is_sound && handed.is_sound,
        };
        say(&format!(
            "  {number:>2}  {:>6.1} µs CPU, {:>6.1} without pause, p50 + {:.3} ms, p99 + {:.3} ms{}",
            round.cpu_micros,
            round.busy_cpu_micros,
            round.p50_ms,
            round.p99_ms,
            if round.is_sound { "" } else { "  (void)" }
        ));
        rounds.push(round);
    }
    conclude(&rounds, report);
    Ok(())
}

fn conclude(rounds: &[Round], report: &mut Report) {
    let middle = |of: fn(&Round) -> f64| median(&sorted(rounds.iter().map(of)));
    let (cpu, busy) = (middle(|it| it.cpu_micros), middle(|it| it.busy_cpu_micros));
    report.row(
        format!(
            "handing on a request for a stored answer, CPU time of both gateways together: at {PER_SECOND}/s; \
             without pause"
        ),
        format!("**{cpu:.1} µs**; {busy:.1} µs"),
        "≤ 30 µs",
        cpu <= 30.0,
    );
    let sound = || rounds.iter().filter(|it| it.is_sound);
    let void = rounds.len() - sound().count();
    let best = |of: fn(&Round) -> f64| sound().map(of).fold(f64::NAN, f64::min);
    let (p50, p99) = (best(|it| it.p50_ms), best(|it| it.p99_ms));
    report.row(
        format!(
            "what handing on adds at {PER_SECOND} requests/s, best of {} rounds, {void} of them void",
            rounds.len()
        ),
        format!("p50 **{p50:.2} ms**, p99 **{p99:.2} ms**"),
        "p50 ≤ 0.3 ms, p99 ≤ 2 ms",
        p50 <= 0.3 && p99 <= 2.0,
    );
}

/// Returns the share of each request in some CPU seconds, in microseconds.
fn each(seconds: f64, stretch: &Stretch) -> f64 {
    seconds * 1e6 / stretch.answers.len() as f64
}

fn added(handed: &Stretch, direct: &Stretch, percent: usize) -> f64 {
    handed.percentile_ms(200, percent) - direct.percentile_ms(200, percent)
}

fn cpu(pair: &Pair) -> Result<f64> {
    let [first, second] = pair.pids()?;
    Ok(cpu_seconds(first)? + cpu_seconds(second)?)
}

/// What both take without requests: pings, health, and looking for the database.
async fn idle_cpu(pair: &Pair, time: Duration) -> Result<f64> {
    let before = cpu(pair)?;
    tokio::time::sleep(time).await;
    Ok(cpu(pair)? - before)
}
