//! A policy file of a command: read, judged, and its errors printed.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};

use serde::Serialize;
use tidegate_model::{Environment, open_file, printable};
use tidegate_traffic::plan::Plan;
use tidegate_traffic::syntax::{BYTES_MAX, Diagnostics, Source};
use tidegate_traffic::{Compiled, compile};

use crate::gateway::cli::Exit;

/// Returns the file to use: the one given, else the one that a gateway with this environment reads.
pub(super) fn policy_file(given: Option<&str>, environment: &Environment) -> Result<String, Exit> {
    let given = given.or_else(|| environment.get("TIDEGATE_TRAFFIC_POLICY"));
    let missing =
        || Exit::unusable("--policy or TIDEGATE_TRAFFIC_POLICY is required: a policy file");
    given.map(str::to_owned).ok_or_else(missing)
}

/// Compiles a file whose tests pass.
pub(super) fn compiled(file: &str) -> Result<Plan, Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    refuse(&compiled.diagnostics, &source)?;
    let no_plan = || Exit::unusable(format_args!("{file}: it cannot be used"));
    compiled.plan.ok_or_else(no_plan)
}

/// Reads a file, or as much of it as shows that it is too large.
pub(super) fn read(file: &str) -> Result<Vec<u8>, Exit> {
    let mut bytes = Vec::new();
    let limit = BYTES_MAX as u64 + 1;
    let outcome = open_input(file).and_then(|open| open.take(limit).read_to_end(&mut bytes));
    outcome.map_err(|error| Exit::unusable(format_args!("{file}: {error}")))?;
    Ok(bytes)
}

/// Opens a regular file, or what a shell passes: that has its writer, while a pipe with a name of its own may never have one.
pub(super) fn open_input(file: &str) -> io::Result<File> {
    let folders = ["/dev/fd/", "/proc/self/fd/"];
    let is_passed = file == "/dev/stdin" || folders.iter().any(|it| file.starts_with(it));
    match is_passed {
        true => File::open(file),
        false => open_file(file),
    }
}

/// Prints what is wrong; returns a summary if that is nothing but warnings.
pub(super) fn accepted(compiled: &Compiled, source: &Source<'_>) -> Result<String, Exit> {
    refuse(&compiled.diagnostics, source)?;
    report(&compiled.diagnostics, source);
    Ok(compiled.summary())
}

pub(super) fn refuse(diagnostics: &Diagnostics, source: &Source<'_>) -> Result<(), Exit> {
    if diagnostics.errors() == 0 {
        return Ok(());
    }
    report(diagnostics, source);
    Err(Exit::unusable(format_args!(
        "{}: {}",
        source.name(),
        diagnostics.summary()
    )))
}

pub(super) fn report(diagnostics: &Diagnostics, source: &Source<'_>) {
    let mut stderr = std::io::stderr();
    let text = diagnostics.render(source, stderr.is_terminal());
    let _unwritable = stderr.write_all(text.as_bytes());
}

/// Prints a line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Exit> {
    print_as_is(&(serde_json::to_string(value).map_err(Exit::failed)? + "\n"))
}

/// Prints JSON that people read, too.
pub(super) fn print_pretty(value: &impl Serialize) -> Result<(), Exit> {
    print_as_is(&(serde_json::to_string_pretty(value).map_err(Exit::failed)? + "\n"))
}

/// Prints JSON or a text.
pub(super) fn print_either(json: bool, value: &impl Serialize, text: &str) -> Result<(), Exit> {
    match json {
        true => print_json(value),
        false => print(text),
    }
}

/// Prints lines for a terminal: whatever policies, receipts and names are of, others may have written it.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let lines = text.split_inclusive('\n');
    let shown = |line: &str| match line.strip_suffix('\n') {
        Some(line) => printable(line) + "\n",
        None => printable(line),
    };
    print_as_is(&lines.map(shown).collect::<String>())
}

/// Prints what a program reads.
pub(super) fn print_as_is(text: &str) -> Result<(), Exit> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Exit::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_a_writer_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("traffic.policy");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = read(pipe.to_str().unwrap()).unwrap_err();
        assert_eq!(refused.code, 2);
        let expected = ": it is not a regular file";
        assert!(refused.message.ends_with(expected), "{}", refused.message);
    }

    #[test]
    fn a_pipe_that_a_shell_passes_is_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"region here\n").unwrap();
        drop(writer);
        let passed = std::os::fd::AsRawFd::as_raw_fd(&reader);
        assert_eq!(
            read(&format!("/dev/fd/{passed}")).unwrap(),
            b"region here\n"
        );
    }
}
