//! A gateway whose instructions callgrind counts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidegate::testkit::GatewayProcess;

use crate::world::BINARY;

/// What a listener's request does between its head and that of its answer.
pub(super) const REQUEST: &str =
    "<tidegate::http::tracked::TrackedFuture<F> as core::future::future::Future>::poll";

/// The sum of one dump of callgrind.
pub(super) fn total(dump: &Path) -> u64 {
    let text = fs::read_to_string(dump).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.expect("callgrind reports a total").parse().unwrap()
}

/// What is started in place of the gateway, and runs it under callgrind.
pub(super) struct Script {
    place: TempDir,
}

impl Script {
    /// Counts all of the gateway.
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// Counts what a function does, with what it calls.
    pub(super) fn only(function: &str) -> Self {
        Self::with(&format!("'--toggle-collect={function}'"))
    }

    fn with(option: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let script = Self { place };
        let valgrind = format!(
            "#!/bin/sh\nexec valgrind -q --tool=callgrind --instr-atstart=no {option} \
             --callgrind-out-file={} {BINARY} \"$@\"\n",
            dumps(&script.place).display()
        );
        fs::write(script.path(), valgrind).unwrap();
        fs::set_permissions(script.path(), fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    pub(super) fn path(&self) -> PathBuf {
        self.place.path().join("counted")
    }

    /// What counts in a gateway that it has started; nothing yet.
    pub(super) fn counting(self, gateway: &GatewayProcess) -> Callgrind {
        Callgrind {
            pid: gateway.pid().unwrap(),
            place: self.place,
            written: 0,
        }
    }
}

/// Where callgrind writes, with the number of the dump as extension.
fn dumps(place: &TempDir) -> PathBuf {
    place.path().join("counts")
}

/// The callgrind that runs a gateway.
pub(super) struct Callgrind {
    pid: u32,
    place: TempDir,
    written: u32,
}

impl Callgrind {
    /// Counts from now on. What runs next is slow, as all code is prepared anew.
    pub(super) fn begin(&self) {
        self.control("-i", &["on"]);
    }

    pub(super) fn reset(&self) {
        self.control("-z", &[]);
    }

    /// Returns the instructions since the reset.
    pub(super) fn read(&mut self) -> u64 {
        self.control("-d", &[]);
        self.written += 1;
        total(&dumps(&self.place).with_extension(self.written.to_string()))
    }

    pub(super) fn end(&self) {
        self.control("-i", &["off"]);
    }

    fn control(&self, option: &str, values: &[&str]) {
        let mut control = Command::new("callgrind_control");
        // It looks for the process where that, which has no environment, has put its pipes.
        control.env_remove("TMPDIR");
        control.arg(option).args(values).arg(self.pid.to_string());
        let output = control.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
