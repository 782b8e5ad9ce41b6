//! Eventual reads by primary key, compared with `pgbench` on the same replica through `pgbouncer` in
//! transaction pooling: 64 clients each, all cores shared by all.
//!
//! Prepared statements do not outlive a transaction there, so that every read is parsed: `-M extended`.

use anyhow::{Result, ensure};
use nix::unistd::geteuid;

use super::contest::{Contender, Pace, hold};
use super::load::{CLIENTS, Pgbench, Wrk, client};
use super::peers::is_there;
use super::process::{Server, command, file, free_address};
use super::replica_read::{ACCOUNT, ACCOUNT_BODY, Statements, compared, random_accounts};
use super::report::{Report, say};
use super::scene::{Scene, Setting};

const MEASURE: &str = "eventual read by primary key, 64 connections, cores shared, against `pgbench -M extended` \
    through `pgbouncer` (transaction pooling), same statement";
const TARGET: f64 = 2.5;

const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// It refuses to run as root.
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

pub(crate) async fn measure(scene: &Scene, pace: &Pace, report: &mut Report) -> Result<()> {
    say("eventual read by primary key beside pgbouncer, all cores shared");
    let target = format!("≥ {TARGET:.1} ×");
    if !is_there(PGBOUNCER) {
        say("  skipped: pgbouncer is not installed");
        report.row(MEASURE, "not measured: no `pgbouncer`", target, false);
        return Ok(());
    }
    // The connections of `pgbench` are new in every round, and so are their caches.
    let pace = &pace.slower();
    let gateway = scene.gateway(&Setting::default()).await?;
    let url = gateway.url(ACCOUNT);
    let read = client()?.get(&url).send().await?;
    let body = read.error_for_status()?.text().await?;
    ensure!(body == ACCOUNT_BODY, "{body}");
    let pgbouncer = start(scene).await?;
    let wrk = Wrk {
        url,
        seconds: pace.seconds,
        core: None,
        script: Some(file(&scene.directory, "accounts.lua", &random_accounts())?),
    };
    let Statements { same, plain } = Statements::write(&scene.directory)?;
    let pooled = |what: &str, script| {
        let load = Pgbench {
            script,
            seconds: pace.seconds,
            url: scene.cluster.replicas[0].url_at(pgbouncer.address),
            protocol: "extended",
            clients: CLIENTS,
        };
        Contender::pgbench(format!("pgbench -M extended, pgbouncer, {what}"), load)
    };
    let contenders = [
        Contender::server("tidegate", wrk),
        pooled("same statement", same),
        pooled("select abalance alone", plain),
    ];
    let rounds = hold(pace, &contenders).await?;
    let [through, same, plain] = &rounds[..] else {
        unreachable!("as many as contenders")
    };
    report.row(
        MEASURE,
        compared(through, same, plain),
        target,
        through.against(same) >= TARGET,
    );
    report.detail(
        &format!(
            "Replica read beside `pgbouncer` with its default pool of 20: all cores shared by all, {} rounds \
             of {} s",
            pace.rounds, pace.seconds
        ),
        &rounds,
    );
    Ok(())
}

/// In front of the replica; what can have its default has it.
async fn start(scene: &Scene) -> Result<Server> {
    let address = free_address()?;
    let configuration = format!(
        "[databases]\n* = host=127.0.0.1 port={replica} user=tidegate\n\
         [pgbouncer]\nlisten_addr = {ip}\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\npool_mode = transaction\n\
         log_connections = 0\nlog_disconnections = 0\n",
        replica = scene.cluster.replicas[0].port(),
        ip = address.ip(),
        port = address.port(),
    );
    let file = file(&scene.directory, "pgbouncer.ini", &configuration)?;
    let mut pgbouncer = match geteuid().is_root() {
        true => {
            // A change of the user clears the signal that `command` asks for.
            let mut other = command("setpriv", None);
            other.args(NOBODY).args(["--pdeathsig", "TERM", PGBOUNCER]);
            other
        }
        false => command(PGBOUNCER, None),
    };
    pgbouncer.arg(file).stderr(std::process::Stdio::null());
    Server::start(pgbouncer, address).await
}
