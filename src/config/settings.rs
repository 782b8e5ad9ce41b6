//! The whole configuration of one process, merged and validated.

use std::net::SocketAddr;
use std::str::FromStr;

use secrecy::SecretString;

use super::file::ConfigFile;
use super::limits::{
    CacheSettings, ConsistencySettings, HealthSettings, ReplicationSettings, ServerSettings,
    SpillSettings, SteeringSettings,
};
use super::{AuthConfig, Environment, RouteTables};
use crate::postgres::Server;
use crate::postgres::pool::PoolSettings;
use tidegate_model::RegionId;
use tidegate_model::TokenKeys;
use tidegate_model::{ConfigError, Place};
use tidegate_telemetry::LogFormat;

const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8080);
const ADMIN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

/// Values given as flags; they win over everything else.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// `--region`.
    pub region: Option<String>,
    /// `--database-url`.
    pub database_url: Option<String>,
    /// `--read-replica-url`.
    pub read_replica_url: Option<String>,
    /// `--config`.
    pub config: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--admin`.
    pub admin: Option<String>,
}

/// The whole configuration of one process.
#[derive(Debug)]
pub struct Settings {
    /// The region this process runs in.
    pub region: RegionId,
    /// The primary.
    pub primary: Server,
    /// Where the primary is, if the file says so.
    pub primary_region: Option<RegionId>,
    /// Every replica, the local one first; at most one per region.
    pub replicas: Vec<ReplicaConfig>,
    /// The public listener.
    pub listen: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// What writes over the admin listener need; absent without `ADMIN_TOKEN`.
    pub admin_token: Option<SecretString>,
    /// `[admin] hosts`: the names that the admin listener answers for.
    pub admin_hosts: Vec<String>,
    /// Keys of consistency tokens; absent without `TOKEN_SECRET`.
    pub token_keys: Option<TokenKeys>,
    /// How bearers are recognised.
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
    /// `[steering]`.
    pub steering: SteeringSettings,
    /// `[spill]`.
    pub spill: SpillSettings,
    /// Policies and endpoints.
    pub routes: RouteTables,
}

/// One replica of the topology.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// Where it is.
    pub region: RegionId,
    /// How to reach it.
    pub server: Server,
}

impl CacheSettings {
    /// Reads `[cache]` of the operator's file alone.
    ///
    /// # Errors
    /// Names the file, line and key that cannot be used.
    pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Self, ConfigError> {
        let Some(file) = operator_file(overrides, environment)? else {
            return Ok(Self::default());
        };
        check_cache(&file)?;
        Ok(file.content.cache)
    }
}

impl Settings {
    /// Merges flags, variables, file and defaults.
    ///
    /// # Errors
    /// The first value that is missing or cannot be used, by the name of its variable or by file,
    /// line and key.
    pub fn resolve(overrides: &Overrides, environment: &Environment) -> Result<Self, ConfigError> {
        let file = operator_file(overrides, environment)?;
        let region = region(overrides, environment, file.as_ref())?;
        let routes = RouteTables::of(file.as_ref(), environment, region.as_ref())?;
        let file = file.map_or_else(ConfigFile::built_in, Ok)?;
        let merge = Merge {
            file: &file,
            environment,
        };
        let content = &file.content;

        let region = region
            .ok_or_else(|| missing("REGION", "the region this process runs in, e.g. eu-west-1"))?;
        let primary = merge
            .value(
                ("--database-url", &overrides.database_url),
                "DATABASE_URL",
                ("database_url", content.database_url.as_ref()),
            )?
            .ok_or_else(|| missing("DATABASE_URL", "the URL of the primary"))?;
        let replicas = merge.replicas(overrides, &region)?;
        check_pool(&file)?;
        check_cache(&file)?;
        let primary_region = content.topology.primary_region.as_ref();
        let (admin_key, admin) = content.admin.listen();
        Ok(Self {
            primary_region: primary_region
                .map(|value| merge.file_value(value, "topology.primary_region"))
                .transpose()?,
            listen: merge
                .value(
                    ("--listen", &overrides.listen),
                    "LISTEN_ADDR",
                    ("listen", content.listen.as_ref()),
                )?
                .map_or(LISTEN_DEFAULT, |Address(address)| address),
            admin: merge
                .value(
                    ("--admin", &overrides.admin),
                    "ADMIN_ADDR",
                    (admin_key, admin.as_ref()),
                )?
                .map_or(ADMIN_DEFAULT, |Address(address)| address),
            admin_token: admin_token(environment)?,
            admin_hosts: file.admin_hosts()?,
            token_keys: token_keys(environment)?,
            auth: AuthConfig::resolve(environment)?,
            log_format: merge
                .value(("", &None), "LOG_FORMAT", ("log_format", None))?
                .unwrap_or_else(LogFormat::of_terminal),
            server: content.server.clone(),
            pool: content.pool.clone(),
            replication: content.replication.clone(),
            health: content.health.clone(),
            consistency: content.consistency.clone(),
            cache: content.cache.clone(),
            steering: content.steering.clone(),
            spill: content.spill.clone(),
            region,
            primary,
            replicas,
            routes,
        })
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

    /// How many reads the primary serves at the same time in place of a replica: half of its
    /// connections at most, so that the others are there for those whom nobody else can serve.
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

/// The operator's file, if one is named.
pub(super) fn operator_file(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Option<ConfigFile>, ConfigError> {
    let path = overrides
        .config
        .as_deref()
        .or_else(|| environment.get("TIDEGATE_CONFIG"));
    path.map(ConfigFile::read).transpose()
}

/// The region of this process, if it is named anywhere.
pub(super) fn region(
    overrides: &Overrides,
    environment: &Environment,
    file: Option<&ConfigFile>,
) -> Result<Option<RegionId>, ConfigError> {
    let built_in = ConfigFile::built_in()?;
    let file = file.unwrap_or(&built_in);
    let merge = Merge { file, environment };
    let in_file = ("region", file.content.region.as_ref());
    merge.value(("--region", &overrides.region), "REGION", in_file)
}

/// One file and one environment, to look values up in.
struct Merge<'a> {
    file: &'a ConfigFile,
    environment: &'a Environment,
}

impl Merge<'_> {
    /// The value of the flag, else of the variable, else of the file's key.
    fn value<T: FromStr<Err: std::fmt::Display>>(
        &self,
        (flag, overriding): (&'static str, &Option<String>),
        name: &'static str,
        (key, file): (&str, Option<&toml::Spanned<String>>),
    ) -> Result<Option<T>, ConfigError> {
        let flag = overriding.as_deref().map(|text| (flag, text));
        let variable = || Some((name, self.environment.get(name)?));
        if let Some((name, text)) = flag.or_else(variable) {
            let parsed = text.parse();
            return parsed
                .map_err(|why| ConfigError::variable(name, text, why))
                .map(Some);
        }
        file.map(|value| self.file_value(value, key)).transpose()
    }

    /// A value of the file, with its `${NAME}`s replaced.
    fn file_value<T: FromStr<Err: std::fmt::Display>>(
        &self,
        value: &toml::Spanned<String>,
        key: &str,
    ) -> Result<T, ConfigError> {
        let text = self.file.expanded(value, key, self.environment)?;
        self.file.parsed(value, key, |_| text.parse())
    }

    /// The replicas of the topology; the local one comes first and a flag or variable replaces it.
    fn replicas(
        &self,
        overrides: &Overrides,
        local: &RegionId,
    ) -> Result<Vec<ReplicaConfig>, ConfigError> {
        let content = &self.file.content;
        let in_file = ("read_replica_url", content.read_replica_url.as_ref());
        let flag = ("--read-replica-url", &overrides.read_replica_url);
        let own = self.value(flag, "DATABASE_READ_REPLICA_URL", in_file)?;
        let own = own.map(|server| ReplicaConfig {
            region: local.clone(),
            server,
        });
        let overridden = own.is_some();
        let mut replicas: Vec<_> = own.into_iter().collect();
        let mut seen = Vec::new();
        for section in &content.topology.replica {
            let region: RegionId = self.file_value(&section.region, "topology.replica.region")?;
            if seen.contains(&region) {
                let key = "topology.replica.region";
                return Err(self
                    .file
                    .refused(&section.region, key, "it is listed twice"));
            }
            seen.push(region.clone());
            let server = self.file_value(&section.url, "topology.replica.url")?;
            if !(overridden && region == *local) {
                replicas.push(ReplicaConfig { region, server });
            }
        }
        replicas.sort_by_key(|replica| replica.region != *local);
        Ok(replicas)
    }
}

/// The value of `ADMIN_TOKEN`, if it is set. An empty one is no token that anybody could have meant.
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

/// The keys of `TOKEN_SECRET`, if it is set.
///
/// # Errors
/// When a key is too short or there are too many.
pub fn token_keys(environment: &Environment) -> Result<Option<TokenKeys>, ConfigError> {
    let keys = environment
        .get("TOKEN_SECRET")
        .map(TokenKeys::parse)
        .transpose();
    keys.map_err(|error| ConfigError::new(&Place::Name("TOKEN_SECRET"), error))
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
    match file.refused_in("pool", keys.into_iter()) {
        Some(error) if min > max => Err(error),
        _ => Ok(()),
    }
}

/// Nor can one answer be larger than all of them.
fn check_cache(file: &ConfigFile) -> Result<(), ConfigError> {
    let CacheSettings {
        bytes_max: all,
        entry_bytes_max: one,
    } = file.content.cache;
    let keys = [
        (
            "entry_bytes_max",
            format!("it must not be above bytes_max, which is {all} bytes"),
        ),
        (
            "bytes_max",
            format!("it must not be below entry_bytes_max, which is {one} bytes, or 0"),
        ),
    ];
    match file.refused_in("cache", keys.into_iter()) {
        Some(error) if all > 0 && one > all => Err(error),
        _ => Ok(()),
    }
}

/// The address of a listener.
struct Address(SocketAddr);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an IP address and a port, such as 127.0.0.1:8080";
        text.parse().map(Self).map_err(|_unparsable| expected)
    }
}

fn missing(name: &'static str, what: &str) -> ConfigError {
    ConfigError::new(&Place::Name(name), format!("is required: {what}"))
}
