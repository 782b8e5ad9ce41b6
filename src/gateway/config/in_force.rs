//! The values in force, and where each came from.

use super::Overrides;
use super::file::ConfigFile;
use super::merge::Merge;
use super::parts::operator_file;
use super::reference::PROCESS;
use super::topology::PRIMARY_REGION;
use crate::upstream::{UpstreamConfig, UpstreamLimits};
use tidegate_model::Environment;
use tidegate_model::settings::{Section, Setting};
use tidegate_model::{ConfigError, Place};

/// One value in force.
#[derive(Debug)]
pub struct InForce {
    /// The setting's name, after that of its section.
    pub name: String,
    /// The value as the file would write it; of a secret, only whether it is set.
    pub value: String,
    /// Where it was set; `None` if the default applies.
    pub place: Option<Place>,
}

/// All values of the process, the file's sections and the limits of its upstreams.
///
/// # Errors
/// Names the file, line and key that cannot be used.
pub fn in_force(
    overrides: &Overrides,
    environment: &Environment,
    upstreams: &[UpstreamConfig],
) -> Result<Vec<InForce>, ConfigError> {
    let file = operator_file(overrides, environment)?.map_or_else(ConfigFile::built_in, Ok)?;
    let merge = Merge {
        overrides,
        environment,
        file: &file,
    };
    let mut all = Vec::new();
    for setting in &PROCESS {
        all.push(named(&merge, setting, setting.name().to_owned())?);
    }
    let name = format!("topology.{}", PRIMARY_REGION.key);
    all.push(named(&merge, &PRIMARY_REGION, name)?);
    let content = &file.content;
    section(&file, "server", &content.server, &mut all);
    section(&file, "pool", &content.pool, &mut all);
    section(&file, "replication", &content.replication, &mut all);
    section(&file, "health", &content.health, &mut all);
    section(&file, "consistency", &content.consistency, &mut all);
    section(&file, "cache", &content.cache, &mut all);
    section(&file, "compression", &content.compression, &mut all);
    section(&file, "steering", &content.steering, &mut all);
    section(&file, "spill", &content.spill, &mut all);
    section(&file, "observe", &content.observe, &mut all);
    section(&file, "storage", &content.storage, &mut all);
    all.extend(upstreams.iter().flat_map(limits));
    Ok(all)
}

fn named(merge: &Merge<'_>, setting: &Setting, name: String) -> Result<InForce, ConfigError> {
    let shown = merge.shown(setting)?;
    let (value, place) = match shown {
        Some((value, place)) => (value, Some(place)),
        None => ((setting.default)(), None),
    };
    Ok(InForce { name, value, place })
}

fn section<S: Section>(file: &ConfigFile, section: &str, values: &S, all: &mut Vec<InForce>) {
    for (key, value) in S::KEYS.iter().zip(values.written()) {
        all.push(InForce {
            name: format!("{section}.{key}"),
            value,
            place: file.source.place_in(section, key),
        });
    }
}

/// The limits of an upstream.
fn limits(upstream: &UpstreamConfig) -> impl Iterator<Item = InForce> {
    let written = upstream.settings.limits.written();
    let values = UpstreamLimits::KEYS.iter().zip(written);
    values.map(|(key, value)| InForce {
        name: format!("upstream.{}.{key}", upstream.name),
        value,
        place: upstream.place.key(key),
    })
}
