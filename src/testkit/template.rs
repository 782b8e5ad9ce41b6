//! New clusters in a tenth of the time that `initdb` takes: copies of one that was made once, each with a
//! system identifier of its own.

use std::fs::{self, File};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::postgres_binaries::{PostgresBinaries, cache_directory};
use super::postgres_server::USER;
use super::workspace::Workspace;
use tidegate_model::Environment;

/// WAL segments of 1 MB rather than 16, because each server starts with a copy of one.
const INITDB: &str = "--no-sync --auth=trust --encoding=UTF8 --locale=C --wal-segsize=1";

/// It begins with the system identifier, a number of eight bytes.
const CONTROL: &str = "global/pg_control";

/// Creates a cluster in a directory of the workspace.
///
/// # Errors
/// Fails if one of PostgreSQL's programs does.
pub(super) fn create_cluster(
    workspace: &Workspace,
    binaries: &PostgresBinaries,
    name: &str,
) -> Result<()> {
    let reset = binaries.program("pg_resetwal");
    // The cache may be read-only, and some packages of PostgreSQL leave programs out.
    let template = match reset.is_file() {
        true => template(workspace, binaries).ok(),
        false => None,
    };
    let Some(template) = template else {
        return initdb(workspace, binaries, name);
    };
    let template = template.to_str().context("the cache is not UTF-8")?;
    workspace.run(Path::new("cp"), ["-a", template, name])?;
    identify(&workspace.path().join(name).join(CONTROL))?;
    // Forced, because the checksum of the file no longer holds. Writes the identifier into the WAL, too.
    workspace.run(&reset, ["--force", "-D", name])?;
    // A standby refuses a copy of what was reset, until a server has run that says what is in its WAL.
    let once = ["--single", "-F", "-D", name, "template1"];
    workspace.run(&binaries.program("postgres"), once)
}

fn initdb(workspace: &Workspace, binaries: &PostgresBinaries, name: &str) -> Result<()> {
    let options = INITDB.split(' ').chain(["--username", USER, "-D", name]);
    workspace.run(&binaries.program("initdb"), options)
}

/// Gives a cluster a new system identifier. It is positive, since SQL shows it as a signed number.
fn identify(control: &Path) -> Result<()> {
    let identifier = RandomState::new().hash_one(control) >> 1;
    let file = File::options().write(true).open(control);
    let file = file.with_context(|| format!("cannot open {}", control.display()))?;
    Ok(file.write_all_at(&identifier.to_ne_bytes(), 0)?)
}

/// The cluster to copy, which is made by the first caller; the others wait for it.
fn template(workspace: &Workspace, binaries: &PostgresBinaries) -> Result<PathBuf> {
    let cache = cache_directory(&Environment::of_process())?;
    let template = cache.join(format!("cluster-{:016x}", version(binaries)?));
    if template.is_dir() {
        return Ok(template);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("cluster.lock"))?;
    lock.lock().context("cannot lock the cache")?;
    if !template.is_dir() {
        initdb(workspace, binaries, "template")?;
        // Renamed at the end, so that an incomplete one is never found.
        let partial = cache.join("cluster.partial");
        let _ = fs::remove_dir_all(&partial);
        let made = workspace.path().join("template");
        let copied = Command::new("cp")
            .arg("-a")
            .args([&made, &partial])
            .status()?;
        ensure!(copied.success(), "cp: {copied}");
        fs::rename(&partial, &template)?;
        fs::remove_dir_all(made)?;
    }
    Ok(template)
}

/// Changes with PostgreSQL and with the options of `initdb`.
fn version(binaries: &PostgresBinaries) -> Result<u64> {
    let server = fs::metadata(binaries.program("postgres"))?;
    let mut hasher = DefaultHasher::new();
    (binaries.dir(), server.len(), server.modified()?).hash(&mut hasher);
    (INITDB, USER).hash(&mut hasher);
    Ok(hasher.finish())
}
