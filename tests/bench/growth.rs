//! The same requests with increasingly long tables: 1, 10, 100 and 1,000 additional rows and
//! endpoints.

use anyhow::Result;

use super::contest::{Contender, Pace, Rounds, hold};
use super::load::Wrk;
use super::machine::Machine;
use super::process::file;
use super::replica_read::random_accounts;
use super::report::{Report, say};
use super::scene::{Gateway, Scene, Setting};

const ROWS: [usize; 4] = [1, 10, 100, 1_000];
/// How far the slowest may be below the fastest.
const SPREAD_MAX: f64 = 0.03;

pub(crate) async fn measure(
    scene: &Scene,
    machine: &Machine,
    pace: &Pace,
    report: &mut Report,
) -> Result<()> {
    let requests = file(&scene.directory, "growth.lua", &random_accounts())?;
    for (what, path, script) in [
        ("cached hit", "/cached/1", None),
        ("replica read", "/accounts/1", Some(requests)),
    ] {
        say(&format!("growth: {what}"));
        let mut gateways = Vec::new();
        for rows in ROWS {
            let setting = Setting {
                core: machine.server_core(),
                more_rows: rows,
                ..Setting::default()
            };
            gateways.push((rows, scene.gateway(&setting).await?));
        }
        let loaded = |(rows, gateway): &(usize, Gateway)| {
            let wrk = Wrk {
                url: gateway.url(path),
                seconds: pace.seconds,
                core: machine.load_core(),
                script: script.clone(),
            };
            Contender::server(format!("{rows} rows and endpoints"), wrk)
        };
        let contenders: Vec<_> = gateways.iter().map(loaded).collect();
        let rounds = hold(pace, &contenders).await?;
        conclude(what, &rounds, report);
    }
    Ok(())
}

fn conclude(what: &str, rounds: &[Rounds], report: &mut Report) {
    let ratios = || rounds.iter().map(|it| it.against(&rounds[0]));
    let (slowest, fastest) = (
        ratios().fold(f64::MAX, f64::min),
        ratios().fold(0.0, f64::max),
    );
    let spread = 1.0 - slowest / fastest;
    report.row(
        format!("growth: {what} with 1, 10, 100, 1,000 policy rows and endpoints more"),
        format!("within {:.1} % of one another", spread * 100.0),
        "within 3 %",
        spread <= SPREAD_MAX,
    );
    report.detail(&format!("Growth: {what}, server on one core"), rounds);
}
