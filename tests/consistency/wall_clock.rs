//! Wall clocks that can be put off, one for each process that is started to live by one.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/consistency/wall_clock.c"
);

/// The library that puts clocks off, made for this machine; dropping it removes it.
pub(super) struct WallClocks {
    directory: TempDir,
    library: PathBuf,
}

/// One process's clock, with all processes that it starts.
pub(super) struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClocks {
    /// Compiles the library.
    ///
    /// # Errors
    ///
    /// Fails where there is no C compiler, or nothing can be put before the C library.
    pub(super) fn make() -> Result<Self> {
        ensure!(
            cfg!(target_os = "linux"),
            "clocks are put off on Linux only"
        );
        let directory = tempfile::tempdir()?;
        // Servers run as another user.
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        let library = directory.path().join("wall_clock.so");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]);
        let output = compile.args([SOURCE, "-o"]).arg(&library).output();
        let output = output.context("cannot run cc")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cc: {told}");
        Ok(Self { directory, library })
    }

    /// A clock of a name that is right so far.
    pub(super) fn clock(&self, name: &str) -> Result<WallClock> {
        fs::write(self.file(name), 0_i64.to_ne_bytes())?;
        Ok(WallClock {
            library: self.library.clone(),
            file: self.file(name),
        })
    }

    /// Makes a clock be wrong by as many seconds from now on. Its file keeps its length, since it
    /// is read meanwhile.
    pub(super) fn put_off(&self, name: &str, seconds: i64) -> Result<()> {
        let mut file = File::options().write(true).open(self.file(name))?;
        Ok(file.write_all(&seconds.to_ne_bytes())?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl WallClock {
    /// What a process is told that is to live by this clock.
    pub(super) fn variables(&self) -> [(&'static str, OsString); 2] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("WALL_CLOCK", self.file.clone().into()),
        ]
    }
}

/// Seconds since 1970 by this process's own clock, which nobody puts off.
pub(super) fn true_time() -> f64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0.0, |since| since.as_secs_f64())
}
