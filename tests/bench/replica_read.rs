//! Reads by primary key through the gateway, compared with `pgbench` on the same replica with the
//! same statement: 64 clients each, all cores shared by all.

use anyhow::{Result, ensure};

use super::contest::{Contender, Pace, hold};
use super::load::{Wrk, client};
use super::process::file;
use super::report::{Report, say};
use super::scene::{ACCOUNTS, READ, Scene, Setting};

const RANDOM_AID: &str = "\\set aid random(1, 100000)\n";

/// Ten thousand requests made in advance, so that Lua does not dominate the measurement.
const RANDOM_ACCOUNTS: &str = "
local requests, last = {}, 0
init = function(arguments)
    math.randomseed(tonumber(tostring({}):sub(8), 16))
    for number = 1, 10000 do
        requests[number] = wrk.format('GET', '/accounts/' .. math.random(1, ACCOUNTS))
    end
end
request = function()
    last = last % 10000 + 1
    return requests[last]
end
";

/// The script of `wrk` that reads accounts at random.
pub(crate) fn random_accounts() -> String {
    RANDOM_ACCOUNTS.replace("ACCOUNTS", &ACCOUNTS.to_string())
}

pub(crate) async fn measure(scene: &Scene, pace: &Pace, report: &mut Report) -> Result<()> {
    say("replica read by primary key, all cores shared");
    // The connections of `pgbench` are new in every round, and so are their caches.
    let pace = &pace.slower();
    let gateway = scene.gateway(&Setting::default()).await?;
    let url = gateway.url("/accounts/7");
    let read = client()?.get(&url).send().await?;
    let status = read.headers()["consistency-status"].to_str()?.to_owned();
    ensure!(status.contains("node=replica"), "{status}");
    let body = read.text().await?;
    ensure!(body == r#"{"aid":7,"bid":1,"abalance":0}"#, "{body}");
    let file = |name: &str, text: &str| file(&scene.directory, name, text);
    let wrk = Wrk {
        url,
        seconds: pace.seconds,
        core: None,
        script: Some(file("accounts.lua", &random_accounts())?),
    };
    let same = file("same.sql", &format!("{RANDOM_AID}{READ};\n"))?;
    let plain = "select abalance from accounts where aid = :aid;\n";
    let plain = file("plain.sql", &format!("{RANDOM_AID}{plain}"))?;
    let replica = || scene.cluster.replicas[0].url();
    let direct = |name, script| Contender::postgres(name, script, pace, replica());
    let contenders = [
        Contender::server("tidegate", wrk),
        direct("pgbench -M prepared, same statement", same),
        direct("pgbench -M prepared, select abalance alone", plain),
    ];
    let rounds = hold(pace, &contenders).await?;
    let [through, same, _plain] = &rounds[..] else {
        unreachable!("as many as contenders")
    };
    let ratio = through.against(same);
    report.row(
        "replica read by primary key, 64 connections, cores shared, against `pgbench -M prepared` \
         directly, same statement",
        format!(
            "{:.0}/s to {:.0}/s: **{ratio:.2} ×**",
            through.per_second, same.per_second
        ),
        "≥ 1.0 ×",
        ratio >= 1.0,
    );
    report.detail(
        &format!(
            "Replica read by primary key: all cores shared by all, {} rounds of {} s",
            pace.rounds, pace.seconds
        ),
        &rounds,
    );
    Ok(())
}
