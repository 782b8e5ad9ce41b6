//! Reads the part of the configuration that a running process can swap.

use super::Overrides;
use super::file::ConfigFile;
use super::merge::Merge;
use super::region_tables::regions;
use crate::endpoint::{EndpointConfig, RouteTables, TargetConfig, UpstreamTarget};
use crate::upstream::UpstreamConfig;
use tidegate_model::ConfigError;
use tidegate_model::Environment;
use tidegate_model::RegionId;
use tidegate_model::quoted;

impl RouteTables {
    /// Reads the tables of the operator's file; for a table that it does not contain, the built-in
    /// one is used.
    ///
    /// # Errors
    /// Names the file, line and key that cannot be used.
    pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Self, ConfigError> {
        let file = super::parts::operator_file(overrides, environment)?;
        let region = super::settings::region(overrides, environment, file.as_ref())?;
        Self::of((overrides, file.as_ref()), environment, region.as_ref())
    }

    /// The tables of a configuration file's text.
    ///
    /// # Errors
    /// Names the line and key that cannot be used; the file by the given name.
    pub fn of_text(name: &str, text: &str) -> Result<Self, ConfigError> {
        let file = ConfigFile::parse(name, text.to_owned())?;
        let overrides = Overrides::default();
        Self::of((&overrides, Some(&file)), &Environment::default(), None)
    }

    /// The tables compiled into the binary.
    ///
    /// # Errors
    /// Only when the built-in file is broken, which a test rules out.
    pub fn built_in() -> Result<Self, ConfigError> {
        Self::of((&Overrides::default(), None), &Environment::default(), None)
    }

    /// Nodes of the `local` region come first in every upstream.
    pub(super) fn of(
        (overrides, file): (&Overrides, Option<&ConfigFile>),
        environment: &Environment,
        local: Option<&RegionId>,
    ) -> Result<Self, ConfigError> {
        let built_in = ConfigFile::built_in()?;
        let policies = file.map(ConfigFile::policies).transpose()?.flatten();
        let mut upstreams = match file {
            Some(file) => file.upstreams(environment, local)?,
            None => Vec::new(),
        };
        check_names(&upstreams)?;
        let endpoints = match file {
            Some(file) => file.endpoints(environment, &mut upstreams)?,
            None => None,
        };
        let endpoints = match endpoints {
            Some(endpoints) => endpoints,
            None => built_in
                .endpoints(environment, &mut upstreams)?
                .unwrap_or_default(),
        };
        check_used(&upstreams, &endpoints)?;
        let merge = Merge {
            overrides,
            environment,
            file: file.unwrap_or(&built_in),
        };
        Ok(Self {
            regions: regions(&merge, local)?,
            policies: policies.or(built_in.policies()?).unwrap_or_default(),
            endpoints,
            upstreams,
        })
    }
}

fn check_names(upstreams: &[UpstreamConfig]) -> Result<(), ConfigError> {
    for (index, upstream) in upstreams.iter().enumerate() {
        let mut before = upstreams[..index].iter();
        if let Some(known) = before.find(|known| known.name == upstream.name) {
            let (name, place) = (&upstream.name, &known.place);
            let why = format!("the name is taken at {place}");
            return Err(ConfigError::refused(
                &upstream.place,
                "upstream.name",
                &quoted(name),
                why,
            ));
        }
    }
    Ok(())
}

/// An upstream that no endpoint uses is most likely a mistake.
fn check_used(
    upstreams: &[UpstreamConfig],
    endpoints: &[EndpointConfig],
) -> Result<(), ConfigError> {
    for upstream in upstreams {
        let is_named = |target: &UpstreamTarget| target.name == upstream.name;
        let uses = |endpoint: &EndpointConfig| matches!(&endpoint.target, TargetConfig::Upstream(target) if is_named(target));
        if !endpoints.iter().any(uses) {
            let name = quoted(&upstream.name);
            let why = "no endpoint uses it";
            return Err(ConfigError::refused(
                &upstream.place,
                "upstream.name",
                &name,
                why,
            ));
        }
    }
    Ok(())
}
