//! `docs/start.md` carried out: its SQL, files and commands in the order of the page, on a real pair. What a
//! command prints must be what the page shows, but for numbers and tokens.

pub(super) mod session;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use tidegate::testkit::{Cluster, until};

use super::file;
use session::Session;

/// What the page uses beyond Tidegate and PostgreSQL.
const TOOLS: [&str; 5] = ["bash", "curl", "openssl", "psql", "python3"];

/// The application's database driver, which the standard library lacks, in terms of `psql`.
const PSYCOPG: &str = r#"
import subprocess


class connect:
    def __init__(self, url):
        self.url = url

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def execute(self, sql):
        told = subprocess.run(["psql", self.url, "-AtF", "\t", "-c", sql], capture_output=True, text=True, check=True)
        self.rows = [[int(id), text] for id, text in (line.split("\t") for line in told.stdout.splitlines())]
        return self

    def fetchall(self):
        return self.rows
"#;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_page_can_be_carried_out_as_it_stands() {
    let there = |tool: &&str| Command::new(tool).arg("--version").output().is_ok();
    if let Some(absent) = TOOLS.iter().find(|tool| !there(tool)) {
        println!("SKIPPED: {absent} is not installed, which docs/start.md needs");
        return;
    }
    let cluster = Cluster::start(1).await.unwrap();
    let mut reader = Reader::new(&cluster).await;
    for (language, text) in blocks(&file("docs/start.md")) {
        reader.follow(&language, &text).await;
    }
    assert!(
        reader.compared > 15,
        "{} lines were compared",
        reader.compared
    );
    reader.session.end().await;
}

/// The fenced blocks of a page with their languages.
pub(super) fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for event in Parser::new(page) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                inside = true;
                blocks.push((language.into_string(), String::new()));
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(text) if inside => blocks.last_mut().unwrap().1.push_str(&text),
            _ => {}
        }
    }
    blocks
}

/// Does what the page says.
struct Reader<'a> {
    cluster: &'a Cluster,
    session: Session,
    folder: tempfile::TempDir,
    /// The gateway's port, its admin port, and the application's.
    ports: [u16; 3],
    /// The token that was printed last.
    token: String,
    /// Lines of output that were compared with the page.
    compared: usize,
}

impl<'a> Reader<'a> {
    async fn new(cluster: &'a Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        std::os::unix::fs::symlink(crate::world::BINARY, path("tidegate")).unwrap();
        fs::write(path("psycopg.py"), PSYCOPG).unwrap();
        // Without it curl reports progress when nobody looks at a terminal.
        fs::write(path(".curlrc"), "silent\n").unwrap();
        let [listen, admin, app] = free_ports();
        let mut session = Session::start(folder.path()).await;
        for variable in [
            format!("HOME={}", folder.path().display()),
            "PATH=$HOME:$PATH".to_owned(),
            "PYTHONPATH=$HOME NO_PROXY=127.0.0.1".to_owned(),
            format!("LISTEN_ADDR=127.0.0.1:{listen}"),
            format!("ADMIN_ADDR=127.0.0.1:{admin}"),
            format!("REPLICA_AS_SUPERUSER='{}'", cluster.replicas[0].url()),
        ] {
            session.run(&format!("export {variable}")).await;
        }
        Self {
            cluster,
            session,
            folder,
            ports: [listen, admin, app],
            token: String::new(),
            compared: 0,
        }
    }

    async fn follow(&mut self, language: &str, text: &str) {
        let text = self.with_addresses(text);
        match language {
            "sql" => {
                self.cluster.primary.execute(&text).await.unwrap();
                self.cluster.wait_for_replicas().await.unwrap();
            }
            "toml" => self.configure(&text).await,
            "sh" => self.shell(&text).await,
            "python" => {
                fs::write(self.folder.path().join("app.py"), text).unwrap();
                self.session.run("python3 app.py 2>app.log &").await;
                self.listens(self.ports[2]).await;
            }
            "console" => self.console(&text).await,
            _ => panic!("what is to be done with {language}?"),
        }
    }

    /// The servers and ports of this test in place of the page's.
    fn with_addresses(&self, text: &str) -> String {
        let [listen, _, app] = self.ports;
        let replica = &self.cluster.replicas[0];
        let database = |name: &str| format!("{name}:5432/DATABASE");
        // The kit's superuser has the name of the page's role.
        let text = ["role ", "to ", "//"]
            .iter()
            .fold(text.to_owned(), |text, before| {
                text.replace(&format!("{before}tidegate"), &format!("{before}page"))
            });
        text.replace(
            &database("PRIMARY"),
            &format!("{}/postgres", self.cluster.primary.address()),
        )
        .replace(
            &database("REPLICA"),
            &format!("{}/postgres", replica.address()),
        )
        .replace("localhost:8080", &format!("127.0.0.1:{listen}"))
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{listen}"))
        .replace("127.0.0.1:3000", &format!("127.0.0.1:{app}"))
        .replace("(\"127.0.0.1\", 3000)", &format!("(\"127.0.0.1\", {app})"))
    }

    /// A file that `init` has written contains the block; what is not in it is added.
    async fn configure(&mut self, block: &str) {
        let path = self.folder.path().join("tidegate.toml");
        let written = fs::read_to_string(&path).unwrap();
        let code = |line: &str| {
            line.split(" #")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let lines: Vec<_> = written.lines().map(code).collect();
        let mut shown = block.lines().map(code).filter(|line| !line.is_empty());
        if shown.all(|line| lines.contains(&line)) {
            return;
        }
        assert!(
            block.contains("upstream"),
            "init does not write this:\n{block}\nbut\n{written}"
        );
        fs::write(&path, format!("{written}\n{block}")).unwrap();
        self.session.run("kill -HUP $SERVE").await;
        let log = self.folder.path().join("serve.log");
        let reloaded = async || {
            Ok(fs::read_to_string(&log)?
                .contains("were swapped")
                .then_some(()))
        };
        until("the gateway reloads", DEADLINE, reloaded)
            .await
            .unwrap();
    }

    async fn shell(&mut self, text: &str) {
        let (before, serves) = match text.strip_suffix("tidegate serve\n") {
            Some(before) => (before, true),
            None => (text, false),
        };
        let told = self.session.run(&format!("set -e\n{before}\nset +e")).await;
        assert!(!told.contains("tidegate: "), "{text}\n{told}");
        if serves {
            self.session
                .run("tidegate serve 2>serve.log & SERVE=$!")
                .await;
            self.listens(self.ports[0]).await;
        }
    }

    async fn listens(&self, port: u16) {
        let connects = async || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        until("a server listens", DEADLINE, connects).await.unwrap();
    }

    /// Runs what stands behind `$ ` and compares the lines that follow.
    async fn console(&mut self, text: &str) {
        for step in text.split("\n$ ") {
            let step = step.trim_start_matches("$ ");
            let mut lines = step.lines();
            let mut command = lines.next().unwrap().to_owned();
            while command.ends_with(['\\', '|']) {
                command = format!("{command}\n{}", lines.next().unwrap());
            }
            let command = self.with_token(&command);
            let expected: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
            self.step(&command, &expected).await;
        }
    }

    /// The token that was printed here in place of the page's.
    fn with_token(&self, command: &str) -> String {
        match command
            .strip_prefix("TOKEN=")
            .filter(|token| !token.starts_with('$'))
        {
            Some(_) => format!("TOKEN={}", self.token),
            None => command.to_owned(),
        }
    }

    /// A request that changes nothing is repeated until its answer is the page's: the gateway learns within
    /// a sample what a replica has.
    async fn step(&mut self, command: &str, expected: &[&str]) {
        let started = tokio::time::Instant::now();
        loop {
            let told = self.session.run(command).await;
            let token = told
                .lines()
                .find_map(|line| line.strip_prefix("x-consistency-token: "));
            if let Some(token) = token {
                token.trim().clone_into(&mut self.token);
            }
            let lines: Vec<_> = told.lines().map(comparable).collect();
            let absent = |line: &&&str| !lines.contains(&comparable(line));
            match expected.iter().find(absent) {
                None => break,
                Some(missing) => assert!(
                    !command.contains(" -d ") && started.elapsed() < DEADLINE,
                    "$ {command}\n{told}\nlacks {missing}"
                ),
            }
        }
        self.compared += expected.len();
    }
}

/// A line without what differs from run to run: numbers, tokens, the width of columns.
pub(super) fn comparable(line: &str) -> String {
    let line = match line.split_once(": ") {
        Some((name @ "x-consistency-token", _)) => name,
        _ => line,
    };
    let words: Vec<_> = line.split_whitespace().collect();
    let mut text = String::new();
    for c in words.join(" ").chars() {
        match c {
            '0'..='9' | '.' if text.ends_with('0') => {}
            '0'..='9' => text.push('0'),
            c => text.push(c),
        }
    }
    text
}

/// Ports that were free a moment ago.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
