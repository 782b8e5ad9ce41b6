//! Wall clocks that can be set wrong, one for each process that is started with one.

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

/// The library that changes clocks, compiled for this machine; dropping it removes it.
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
    /// Fails if there is no C compiler, or if libraries cannot be preloaded.
    pub(super) fn make() -> Result<Self> {
        ensure!(
            cfg!(target_os = "linux"),
            "clocks can be changed on Linux only"
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

    /// A clock with a name, which is right initially.
    pub(super) fn clock(&self, name: &str) -> Result<WallClock> {
        fs::write(self.file(name), 0_i64.to_ne_bytes())?;
        Ok(WallClock {
            library: self.library.clone(),
            file: self.file(name),
        })
    }

    /// Makes a clock wrong by a number of seconds from now on. Its file keeps its length, because
    /// it is read meanwhile.
    pub(super) fn put_off(&self, name: &str, seconds: i64) -> Result<()> {
        let mut file = File::options().write(true).open(self.file(name))?;
        Ok(file.write_all(&seconds.to_ne_bytes())?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl WallClock {
    /// The environment of a process that uses this clock.
    pub(super) fn variables(&self) -> [(&'static str, OsString); 2] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("WALL_CLOCK", self.file.clone().into()),
        ]
    }
}

/// Seconds since 1970 by this process's own clock, which is never changed.
pub(super) fn true_time() -> f64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0.0, |since| since.as_secs_f64())
}
