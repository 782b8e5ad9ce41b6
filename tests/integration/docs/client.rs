//! The requests of `docs/api.md`, in the order of the page: each prints what the page shows, but for numbers and
//! tokens.

use std::process::Command;

use axum::Router;
use axum::extract::Request;

use super::file;
use super::start::{blocks, comparable, session::Session};
use crate::upstream::kit::App;
use crate::world::World;

/// Where the page ends its examples of the API at its beginning.
const END: &str = "## Rows of their own for every user";

#[tokio::test]
async fn the_requests_of_the_page_for_clients_print_what_it_shows() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("SKIPPED: curl is not installed, which docs/api.md needs");
        return;
    }
    let answer = |request: Request| async move {
        let role = request.headers()["x-database-role"]
            .to_str()
            .unwrap()
            .to_owned();
        format!("I read from the {role}\n")
    };
    let app = App::serve(Router::new().fallback(answer)).await;
    let page = file("docs/api.md");
    let blocks = blocks(page.split_once(END).unwrap().0);
    let of = |wanted: &'static str| {
        blocks
            .iter()
            .filter(move |(it, _)| it == wanted)
            .map(|(_, text)| text)
    };
    let toml = of("toml").next().unwrap();
    let toml = toml.replace("http://127.0.0.1:3000", &app.url());
    let toml = format!("{toml}\n[consistency]\nsession_wait = \"5s\"\n");
    let world = World::with_file(of("sql").next().unwrap(), &toml).await;
    world.health_turns(200).await;

    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::start(folder.path()).await;
    let address = world.gateway.listen().to_string();
    let (mut token, mut compared) = (String::new(), 0);
    for text in of("console") {
        for step in text.split("$ ").filter(|step| !step.is_empty()) {
            let (command, expected) = step.split_once('\n').unwrap_or((step, ""));
            let command = match command.starts_with("TOKEN=") {
                true => format!("TOKEN={token}"),
                false => command.replace("localhost:8080", &address),
            };
            let told = session.run(&command).await;
            let said = told
                .lines()
                .find_map(|line| line.strip_prefix("x-consistency-token: "));
            if let Some(said) = said {
                said.trim().clone_into(&mut token);
            }
            let lines: Vec<_> = told.lines().map(comparable).collect();
            for line in expected.lines().filter(|line| !line.is_empty()) {
                assert!(
                    lines.contains(&comparable(line)),
                    "$ {command}\n{told}\nlacks {line}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 14, "{compared} lines were compared");
    session.end().await;
}
