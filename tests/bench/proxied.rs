//! Proxying to an application, compared with nginx in front of the same one: 900 bytes over 64 kept-alive
//! connections, and a large body; the server on one core.

use anyhow::{Context, Result, ensure};

use super::contest::{Contender, Pace, Rounds, hold, median, sorted};
use super::load::{Wrk, client};
use super::machine::Machine;
use super::nginx::Nginx;
use super::process::Server;
use super::report::{Report, say};
use super::scene::{Scene, Setting};
use super::tls::cpu_seconds;

const SMALL: &str = "/app/small";
const SMALL_BYTES: usize = 900;
const LARGE: &str = "/app/large";
const LARGE_BYTES: u64 = 200 << 20;
/// Of a large body, for each side.
const TRANSFERS: usize = 5;

pub(crate) async fn measure(
    scene: &Scene,
    machine: &Machine,
    pace: &Pace,
    report: &mut Report,
) -> Result<()> {
    say("proxied to an application, server on one core");
    let (core, load_core) = (machine.server_core(), machine.load_core());
    let application = application(scene, load_core).await?;
    let setting = Setting {
        core,
        sections: sections(&application),
        ..Setting::default()
    };
    let tidegate = scene.gateway(&setting).await?;
    let nginx = proxy(scene, core, &application).await?;
    let contenders = [
        ("tidegate", &tidegate.server),
        ("nginx proxy_pass", &nginx),
        ("the application itself", &application),
    ];
    for (name, server) in contenders {
        let response = client()?.get(server.url(SMALL)).send().await?;
        let body = response.error_for_status()?.bytes().await?;
        ensure!(
            body.len() == SMALL_BYTES,
            "{name} serves {} bytes",
            body.len()
        );
    }
    let loaded = contenders.map(|(name, server)| {
        let wrk = Wrk {
            url: server.url(SMALL),
            seconds: pace.seconds,
            core: load_core,
            script: None,
        };
        Contender::server(name, wrk)
    });
    conclude(&hold(pace, &loaded).await?, report);
    stream(&tidegate.server, &nginx, report).await
}

fn conclude(rounds: &[Rounds], report: &mut Report) {
    let [tidegate, nginx, _application] = rounds else {
        unreachable!("as many as contenders")
    };
    let ratio = tidegate.against(nginx);
    report.row(
        "proxied GET, 900 bytes, 64 connections, server on one core, against nginx `proxy_pass` with keep-alive",
        format!(
            "{:.0}/s to {:.0}/s: **{ratio:.2} ×**",
            tidegate.per_second, nginx.per_second
        ),
        "≥ 1.0 ×",
        ratio >= 1.0,
    );
    report.row(
        "its p99 against nginx's",
        format!("{:.2} ms to {:.2} ms", tidegate.p99_ms, nginx.p99_ms),
        "≤ nginx's",
        tidegate.p99_ms <= nginx.p99_ms,
    );
    report.detail("Proxied GET: server on one core, load on another", rounds);
}

/// CPU time for a large body, in turn.
async fn stream(tidegate: &Server, nginx: &Server, report: &mut Report) -> Result<()> {
    let (mut own, mut of_nginx) = (Vec::new(), Vec::new());
    for _ in 0..TRANSFERS {
        own.push(transfer(tidegate).await?);
        of_nginx.push(transfer(nginx).await?);
    }
    let (own, of_nginx) = (
        median(&sorted(own.into_iter())),
        median(&sorted(of_nginx.into_iter())),
    );
    let ratio = own / of_nginx;
    report.row(
        "body of 200 MiB from an application: CPU time against nginx's",
        format!("{own:.2} s to {of_nginx:.2} s: **{ratio:.2} ×**"),
        "≤ 0.3 ×",
        ratio <= 0.3,
    );
    Ok(())
}

/// Reads the large body once; returns the CPU time that its server took.
async fn transfer(server: &Server) -> Result<f64> {
    let pid = server.pid().context("the server has ended")?;
    let before = cpu_seconds(pid)?;
    let response = client()?.get(server.url(LARGE)).send().await?;
    let mut response = response.error_for_status()?;
    let mut bytes = 0;
    while let Some(piece) = response.chunk().await? {
        bytes += piece.len() as u64;
    }
    ensure!(bytes == LARGE_BYTES, "{bytes} bytes have arrived");
    Ok(cpu_seconds(pid)? - before)
}

fn sections(application: &Server) -> String {
    format!(
        "[[policy]]\npath = \"/app/*\"\nconsistency = \"eventual\"\n\
         [[upstream]]\nname = \"app\"\n\
         nodes = [{{ region = \"eu-west-1\", url = \"http://{}\" }}]\n\
         [[endpoint]]\nmethod = \"*\"\npath = \"/app/{{*rest}}\"\nupstream = \"app\"\n",
        application.address
    )
}

/// An application that costs next to nothing: nginx with two files.
async fn application(scene: &Scene, core: Option<usize>) -> Result<Server> {
    let root = scene.directory.path().join("files");
    std::fs::create_dir_all(root.join("app"))?;
    std::fs::write(root.join("app/small"), "x".repeat(SMALL_BYTES))?;
    std::fs::File::create(root.join("app/large"))?.set_len(LARGE_BYTES)?;
    let nginx = Nginx {
        core,
        http: "access_log off;",
        location: &format!("root {};", root.display()),
        ..Nginx::default()
    };
    nginx.start(scene).await
}

/// nginx in front of it, with as many kept connections as there are clients and more.
async fn proxy(scene: &Scene, core: Option<usize>, application: &Server) -> Result<Server> {
    let nginx = Nginx {
        core,
        http: &format!(
            "access_log off;\n\
             upstream application {{\nserver {};\nkeepalive 128;\nkeepalive_requests 1000000000;\n}}",
            application.address
        ),
        location: "proxy_pass http://application;\nproxy_http_version 1.1;\n\
                   proxy_set_header Connection \"\";",
        ..Nginx::default()
    };
    nginx.start(scene).await
}
