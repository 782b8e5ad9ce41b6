//! Cached hits, compared with nginx, Varnish and a bare handler: 1 KB of JSON, 64 kept-alive
//! connections, the server on one core.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::bare::{self, Role};
use super::contest::{Contender, Pace, Rounds, hold};
use super::cores::watched;
use super::load::{Wrk, client};
use super::machine::Machine;
use super::nginx::Nginx;
use super::process::{Server, command, free_address};
use super::report::{Report, say};
use super::scene::{BODY_BYTES, Gateway, Scene, Setting};

const PATH: &str = "/cached/1";

/// A server that takes less of its core waits for its load, which is the slower side then.
const FULL_CORES: f64 = 0.95;

pub(crate) async fn measure(
    scene: &Scene,
    machine: &Machine,
    pace: &Pace,
    report: &mut Report,
) -> Result<()> {
    say("cached hit, server on one core");
    let core = machine.server_core();
    let quiet = Setting {
        core,
        ..Setting::default()
    };
    let tidegate = scene.gateway(&quiet).await?;
    let (body, answer) = answer(&tidegate).await?;
    ensure!(
        body.len() == BODY_BYTES,
        "the body has {} bytes",
        body.len()
    );
    let talkative = Setting {
        access_lines: true,
        ..quiet
    };
    let tidegate_logged = scene.gateway(&talkative).await?;
    let bare = bare::start(Role::Axum, core, &body).await?;
    let socket = bare::start(Role::Socket, core, &answer).await?;
    let origin = bare::start(Role::Axum, None, &body).await?;
    let nginx = nginx(scene, core, &origin, "off").await?;
    let nginx_logged = nginx_with_lines(scene, core, &origin).await?;
    let varnish = varnish(scene, core, &origin).await?;
    let contenders = [
        ("tidegate", &tidegate.server),
        ("nginx proxy_cache", &nginx),
        ("varnish", &varnish),
        ("bare axum handler", &bare),
        ("receive and send, nothing else", &socket),
        ("tidegate, access lines", &tidegate_logged.server),
        ("nginx proxy_cache, access lines", &nginx_logged),
    ];
    for (name, server) in contenders {
        is_cached(name, server, &body).await?;
    }
    let loaded = contenders.map(|(name, server)| {
        let wrk = Wrk {
            url: server.url(PATH),
            seconds: pace.seconds,
            core: machine.load_core(),
            script: None,
        };
        // The others are not compared by CPU time.
        match name.starts_with("tidegate") || name.starts_with("nginx") {
            true => watched(name, wrk, server),
            false => Contender::server(name, wrk),
        }
    });
    conclude(&hold(pace, &loaded).await?, report);
    Ok(())
}

/// The body of the stored answer, and the whole answer as it is sent.
async fn answer(tidegate: &Gateway) -> Result<(String, String)> {
    let client = client()?;
    let _stored = client.get(tidegate.url(PATH)).send().await?;
    let response = client.get(tidegate.url(PATH)).send().await?;
    let mut answer = "HTTP/1.1 200 OK\r\n".to_owned();
    for (name, value) in response.headers() {
        let _infallible = write!(answer, "{name}: {}\r\n", value.to_str()?);
    }
    let body = response.text().await?;
    let _infallible = write!(answer, "\r\n{body}");
    Ok((body, answer))
}

/// Every contender must serve the same bytes, from the second request on from memory.
async fn is_cached(name: &str, server: &Server, expected: &str) -> Result<()> {
    let client = client()?;
    for _ in 0..2 {
        let response = client.get(server.url(PATH)).send().await?;
        let body = response.error_for_status()?.text().await?;
        ensure!(body == expected, "{name} serves a different body");
    }
    Ok(())
}

fn conclude(rounds: &[Rounds], report: &mut Report) {
    let [tidegate, nginx, varnish, bare, socket, logged, nginx_logged] = rounds else {
        unreachable!("as many as contenders")
    };
    let rate = |rounds: &Rounds| format!("{:.0}/s", rounds.per_second);
    without_lines(tidegate, nginx, report);
    let against_varnish = tidegate.against(varnish);
    report.row(
        "cached hit against varnish",
        format!(
            "{} to {}: **{against_varnish:.2} ×**",
            rate(tidegate),
            rate(varnish)
        ),
        "≥ 3 ×",
        against_varnish >= 3.0,
    );
    let against_bare = tidegate.against(bare);
    report.row(
        "middleware: cached hit against a bare axum handler of the same bytes",
        format!(
            "{} to {}: **{against_bare:.2} ×**",
            rate(tidegate),
            rate(bare)
        ),
        "≥ 0.8 ×",
        against_bare >= 0.8,
    );
    let against_socket = tidegate.against(socket);
    report.row(
        "cached hit against a loop that receives and sends the same bytes and does nothing else",
        format!(
            "{} to {}: {against_socket:.2} ×",
            rate(tidegate),
            rate(socket)
        ),
        "–",
        true,
    );
    let with_lines = logged.against(nginx_logged);
    report.row(
        "cached hit with access lines (the default), against nginx with a buffered `access_log`",
        beside(logged, nginx_logged),
        "≥ 1.3 ×",
        with_lines >= 1.3,
    );
    report.detail("Cached hit: server on one core, load on another", rounds);
}

fn without_lines(tidegate: &Rounds, nginx: &Rounds, report: &mut Report) {
    let full = [tidegate, nginx]
        .iter()
        .all(|rounds| rounds.cores() >= FULL_CORES);
    let (ratio, target) = match full {
        true => (tidegate.against(nginx), "≥ 1.5 ×"),
        false => (tidegate.against_by_cpu(nginx), "≥ 1.5 × per CPU second"),
    };
    report.row(
        "cached hit, 1 KB, 64 connections, server on one core, against nginx `proxy_cache`, no access lines",
        beside(tidegate, nginx),
        target,
        ratio >= 1.5,
    );
    report.row(
        "its p99 against nginx's",
        format!("{:.2} ms to {:.2} ms", tidegate.p99_ms, nginx.p99_ms),
        "≤ nginx's",
        tidegate.p99_ms <= nginx.p99_ms,
    );
}

/// Rates, cores, and the ratio by either.
fn beside(own: &Rounds, other: &Rounds) -> String {
    format!(
        "{:.0}/s to {:.0}/s: **{:.2} ×**; at {:.2} and {:.2} cores, {:.2} × per CPU second",
        own.per_second,
        other.per_second,
        own.against(other),
        own.cores(),
        other.cores(),
        own.against_by_cpu(other),
    )
}

async fn nginx_with_lines(scene: &Scene, core: Option<usize>, origin: &Server) -> Result<Server> {
    nginx(scene, core, origin, "/dev/null combined buffer=64k").await
}

async fn nginx(
    scene: &Scene,
    core: Option<usize>,
    origin: &Server,
    access_log: &str,
) -> Result<Server> {
    nginx_of(scene, core, origin, access_log, "").await
}

/// nginx in front of a server, with a cache.
pub(crate) async fn nginx_of(
    scene: &Scene,
    core: Option<usize>,
    origin: &Server,
    access_log: &str,
    after_listen: &str,
) -> Result<Server> {
    let nginx = Nginx {
        core,
        http: &format!("access_log {access_log};\nproxy_cache_path cache keys_zone=all:10m;"),
        after_listen,
        location: &format!("proxy_pass http://{};\nproxy_cache all;", origin.address),
    };
    nginx.start(scene).await
}

async fn varnish(scene: &Scene, core: Option<usize>, origin: &Server) -> Result<Server> {
    let address = free_address()?;
    let mut varnish = command("/usr/sbin/varnishd", core);
    varnish
        .arg("-F")
        .args(["-a", &address.to_string()])
        .args(["-b", &origin.address.to_string()])
        .args(["-s", "malloc,64m", "-T", "none"])
        .arg("-n")
        .arg(scene.directory.path().join("varnish"));
    varnish.stderr(std::process::Stdio::null());
    Server::start(varnish, address).await
}
