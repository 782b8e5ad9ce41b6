//! The whole configuration of one process, merged and validated.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

use super::Overrides;
use super::address::Address;
use super::file::ConfigFile;
use super::fleet::fleet;
use super::listeners::check_listeners;
use super::merge::Merge;
use super::parts::{auth_config, check_cache, operator_file, token_keys};
use super::storage::storage;
use super::topology::{PRIMARY_REGION, ReplicaConfig};
use crate::auth::AuthConfig;
use crate::cache::CacheSettings;
use crate::endpoint::RouteTables;
use crate::http::{
    ADMIN, ADMIN_DEFAULT, CertificateFiles, CompressionSettings, LISTEN, LISTEN_DEFAULT,
    ServerSettings, TLS_CERT, TLS_KEY,
};
use crate::peers::{FLEET_LISTEN, FleetConfig};
use crate::policy_store::{STATE_DIR, StoreSettings};
use crate::postgres::Server;
use crate::postgres::monitor::{HealthSettings, ReplicationSettings};
use crate::postgres::pool::{PoolSettings, SpillSettings};
use crate::regions::ObserveSettings;
use crate::storage::{STORAGE_API_LISTEN, STORAGE_LISTEN, StorageConfig};
use tidegate_model::Environment;
use tidegate_model::RegionId;
use tidegate_model::TokenKeys;
use tidegate_model::settings::Setting;
use tidegate_model::{ConfigError, Place};
use tidegate_policy::ConsistencySettings;
use tidegate_steering::SteeringSettings;
use tidegate_telemetry::LogFormat;
use tidegate_telemetry::trace::TraceSettings;

/// The whole configuration of one process.
#[derive(Debug)]
pub struct Settings {
    /// The region this process runs in.
    pub region: RegionId,
    /// The primary.
    pub primary: Server,
    /// The region of the primary, if the file sets it.
    pub primary_region: Option<RegionId>,
    /// Every replica, the local one first; at most one per region.
    pub replicas: Vec<ReplicaConfig>,
    /// The public listener.
    pub listen: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// The token required for writes over the admin listener; absent without `ADMIN_TOKEN`.
    pub admin_token: Option<SecretString>,
    /// `[admin] hosts`: the names that the admin listener answers for.
    pub admin_hosts: Vec<String>,
    /// The certificate of the public listener; absent for cleartext.
    pub tls: Option<CertificateFiles>,
    /// `[fleet]`; absent without `FLEET_ADDR`.
    pub fleet: Option<FleetConfig>,
    /// What a gateway needs to know of the policy store.
    pub store: StoreSettings,
    /// Object storage; absent without `STORAGE_ADDR`.
    pub storage: Option<StorageConfig>,
    /// Keys of consistency tokens; absent without `TOKEN_SECRET`.
    pub token_keys: Option<TokenKeys>,
    /// How bearer tokens are verified.
    pub auth: AuthConfig,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// `[server]`.
    pub server: ServerSettings,
    /// `[pool]`.
    pub pool: PoolSettings,
    /// `[replication]`.
    pub replication: ReplicationSettings,
    /// `[health]`.
    pub health: HealthSettings,
    /// `[consistency]`.
    pub consistency: ConsistencySettings,
    /// `[cache]`.
    pub cache: CacheSettings,
    /// `[compression]`.
    pub compression: CompressionSettings,
    /// `[steering]`.
    pub steering: SteeringSettings,
    /// `[spill]`.
    pub spill: SpillSettings,
    /// `[observe]`.
    pub observe: ObserveSettings,
    /// Where traces are sent; absent without a collector.
    pub traces: Option<TraceSettings>,
    /// What of OpenTelemetry's variables cannot be used.
    pub trace_warnings: Vec<String>,
    /// Policies and endpoints.
    pub routes: RouteTables,
}

impl Settings {
    /// Merges flags, variables, file and defaults.
    ///
    /// # Errors
    /// The first value that is missing or cannot be used, with the name of its variable or with
    /// file, line and key.
    pub fn resolve(overrides: &Overrides, environment: &Environment) -> Result<Self, ConfigError> {
        let file = operator_file(overrides, environment)?;
        let region = region(overrides, environment, file.as_ref())?;
        let routes = RouteTables::of((overrides, file.as_ref()), environment, region.as_ref())?;
        let file = file.map_or_else(ConfigFile::built_in, Ok)?;
        let merge = Merge {
            overrides,
            environment,
            file: &file,
        };
        let content = &file.content;

        let region = region
            .ok_or_else(|| missing("REGION", "the region this process runs in, e.g. eu-west-1"))?;
        let primary = merge.value(&Server::PRIMARY)?;
        let primary = primary.ok_or_else(|| missing("DATABASE_URL", "the URL of the primary"))?;
        let replicas = merge.replicas(&region)?;
        check_pool(&file)?;
        check_cache(&file)?;
        let token_keys = token_keys(environment)?;
        let version = env!("CARGO_PKG_VERSION");
        let (traces, trace_warnings) = TraceSettings::of(environment, &region, version)?;
        let listener = |setting, default| {
            let address = merge.value(setting)?;
            Ok(address.map_or(default, |Address(address)| address))
        };
        let settings = Self {
            primary_region: merge.value(&PRIMARY_REGION)?,
            listen: listener(&LISTEN, LISTEN_DEFAULT)?,
            admin: listener(&ADMIN, ADMIN_DEFAULT)?,
            admin_token: admin_token(environment)?,
            admin_hosts: file.admin_hosts()?,
            tls: certificate_files(&merge)?,
            fleet: fleet(&merge, token_keys.is_some())?,
            store: StoreSettings {
                state_dir: merge.value(&STATE_DIR)?.map(|FilePath(path)| path),
            },
            storage: storage(&merge)?,
            token_keys,
            auth: auth_config(environment)?,
            log_format: merge
                .value(&LogFormat::SETTING)?
                .unwrap_or_else(LogFormat::of_terminal),
            server: content.server.clone(),
            pool: content.pool.clone(),
            replication: content.replication.clone(),
            health: content.health.clone(),
            consistency: content.consistency.clone(),
            cache: content.cache.clone(),
            compression: content.compression.clone(),
            steering: content.steering.clone(),
            spill: content.spill.clone(),
            observe: content.observe.clone(),
            traces,
            trace_warnings,
            region,
            primary,
            replicas,
            routes,
        };
        check_listeners(&merge, &settings.listeners())?;
        Ok(settings)
    }

    /// The listeners, in the order in which they are bound.
    fn listeners(&self) -> [(&'static Setting, Option<SocketAddr>); 5] {
        let (fleet, storage) = (self.fleet.as_ref(), self.storage.as_ref());
        [
            (&LISTEN, Some(self.listen)),
            (&ADMIN, Some(self.admin)),
            (&FLEET_LISTEN, fleet.map(|it| it.listen)),
            (&STORAGE_LISTEN, storage.map(|it| it.listen)),
            (&STORAGE_API_LISTEN, storage.and_then(|it| it.api)),
        ]
    }
}

impl Settings {
    /// The replica in the region of this process.
    #[must_use]
    pub fn local_replica(&self) -> Option<&ReplicaConfig> {
        self.replicas
            .first()
            .filter(|replica| replica.region == self.region)
    }

    /// How many reads are at work at the primary at the same time in place of a replica: half of its
    /// connections at most, so that the others are there for requests that no other node can serve.
    #[must_use]
    pub fn spill_concurrency(&self) -> usize {
        let half = (self.pool.connections_max / 2).max(1);
        self.spill.concurrency_max.min(half)
    }

    /// Every server, the primary first.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        let replicas = self.replicas.iter().map(|replica| &replica.server);
        std::iter::once(&self.primary)
            .chain(replicas)
            .cloned()
            .collect()
    }
}

/// The region of this process, if it is named anywhere.
pub(super) fn region(
    overrides: &Overrides,
    environment: &Environment,
    file: Option<&ConfigFile>,
) -> Result<Option<RegionId>, ConfigError> {
    let built_in = ConfigFile::built_in()?;
    let merge = Merge {
        overrides,
        environment,
        file: file.unwrap_or(&built_in),
    };
    merge.value(&RegionId::SETTING)
}

/// The value of `ADMIN_TOKEN`, if it is set. An empty one cannot be intended.
fn admin_token(environment: &Environment) -> Result<Option<SecretString>, ConfigError> {
    let refused = |why| Err(ConfigError::new(&Place::Name("ADMIN_TOKEN"), why));
    match environment.get("ADMIN_TOKEN") {
        None if environment.is_empty("ADMIN_TOKEN") => refused("must not be empty"),
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            refused("must be visible ASCII characters without spaces")
        }
        token => Ok(token.map(SecretString::from)),
    }
}

/// Where the certificate of the public listener is: both of its files, or neither.
fn certificate_files(merge: &Merge<'_>) -> Result<Option<CertificateFiles>, ConfigError> {
    let path = |setting| {
        let path = merge.value(setting)?;
        Ok(path.map(|FilePath(path)| path))
    };
    let (certificate, key) = (path(&TLS_CERT)?, path(&TLS_KEY)?);
    let alone = |set, other| {
        let why = format!("is required where {set} is set");
        Err(ConfigError::new(&Place::Name(other), why))
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => alone("TLS_CERT", "TLS_KEY"),
        (None, Some(_)) => alone("TLS_KEY", "TLS_CERT"),
    }
}

/// More connections kept open than allowed is a contradiction.
fn check_pool(file: &ConfigFile) -> Result<(), ConfigError> {
    let PoolSettings {
        connections_min: min,
        connections_max: max,
        ..
    } = file.content.pool;
    let keys = [
        (
            "connections_min",
            format!("it must not be above connections_max, which is {max}"),
        ),
        (
            "connections_max",
            format!("it must not be below connections_min, which is {min}"),
        ),
    ];
    match file.source.refused_in("pool", keys.into_iter()) {
        Some(error) if min > max => Err(error),
        _ => Ok(()),
    }
}

/// The path of a file.
struct FilePath(PathBuf);

impl FromStr for FilePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected the path of a file"),
            path => Ok(Self(path.into())),
        }
    }
}

fn missing(name: &'static str, what: &str) -> ConfigError {
    ConfigError::new(&Place::Name(name), format!("is required: {what}"))
}
