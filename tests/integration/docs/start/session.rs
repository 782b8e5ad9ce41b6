//! One shell that runs one command after another, as a reader's terminal does.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Ends what is in the background when the shell ends, which it does when its input does: also after a test
/// that failed.
const TRAP: &str = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n";

/// What is printed when a command has ended.
const END: &str = "-- the command has ended --";

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Session {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Session {
    /// Starts a shell in a folder.
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut child = Command::new("bash")
            .arg("-s")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(TRAP.as_bytes()).await.unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            input,
            output,
        }
    }

    /// Runs commands and returns what they print, errors included.
    pub(crate) async fn run(&mut self, commands: &str) -> String {
        let script = format!("{{ {commands}\n}} 2>&1 </dev/null\necho; echo '{END}'\n");
        self.input.write_all(script.as_bytes()).await.unwrap();
        let mut told = String::new();
        loop {
            let line = timeout(DEADLINE, self.output.next_line()).await;
            match line.expect(commands).unwrap() {
                Some(line) if line == END => return told,
                Some(line) => told.push_str(&format!("{line}\n")),
                None => panic!("$ {commands}\nended the shell:\n{told}"),
            }
        }
    }

    /// Ends the shell and what it left in the background.
    pub(crate) async fn end(mut self) {
        drop(self.input);
        self.child.wait().await.unwrap();
    }
}
