//! A cluster, buckets, a repository over them, and gateways that serve it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidegate::testkit::{Cluster, GatewayCommand, GatewayProcess, until};

use super::bucket_server::BucketServer;
use super::s3_client::S3Client;
use super::vendor::{ACCESS_KEY, SECRET_KEY};
use crate::world::{BINARY, DEADLINE, client, configured, gateway_from, printed, printed_within};

pub(crate) const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The repository of the tests.
pub(crate) const REPOSITORY: &str = "app-data";
/// That of a world that is [mirrored](StorageWorld::mirrored).
pub(crate) const MIRRORED: &str = "app-mirrored";

/// Object storage over some buckets, `bucket-0`, `bucket-1`, ….
pub(crate) struct StorageWorld {
    pub(crate) cluster: Cluster,
    pub(crate) gateways: Vec<GatewayProcess>,
    pub(crate) buckets: Vec<BucketServer>,
    /// With a key that may write.
    pub(crate) s3: S3Client,
}

impl StorageWorld {
    /// Starts two buckets, a repository and a gateway; the arguments are for every bucket, and for the
    /// repository.
    pub(crate) async fn start(bucket: &[&str], repository: &[&str]) -> Self {
        Self::with(2, bucket, repository, "", 0).await
    }

    /// The same with a number of buckets, a `[storage]` section, and replicas.
    pub(crate) async fn with(
        buckets: usize,
        bucket: &[&str],
        repository: &[&str],
        settings: &str,
        replicas: usize,
    ) -> Self {
        let mut servers = Vec::new();
        for _ in 0..buckets {
            servers.push(BucketServer::start().await);
        }
        Self::over(servers, bucket, repository, settings, replicas).await
    }

    /// The same with servers that are there already.
    pub(crate) async fn over(
        servers: Vec<BucketServer>,
        bucket: &[&str],
        repository: &[&str],
        settings: &str,
        replicas: usize,
    ) -> Self {
        let cluster = Cluster::start(replicas).await.unwrap();
        let migrate = GatewayCommand::new(BINARY, "migrate")
            .arg("--only")
            .arg("api,storage");
        printed(migrate.env("DATABASE_URL", cluster.primary.url())).await;
        cluster.wait_for_replicas().await.unwrap();
        for (index, server) in servers.iter().enumerate() {
            add_bucket(&cluster, &format!("bucket-{index}"), server, bucket).await;
        }
        let names: Vec<_> = (0..servers.len())
            .map(|index| format!("bucket-{index}"))
            .collect();
        let mut arguments = vec!["repository", "add", REPOSITORY];
        for name in &names {
            arguments.extend(["--member", name.as_str()]);
        }
        arguments.extend(repository);
        storage(&cluster, &arguments).await;
        let mut world = Self {
            s3: S3Client::new(String::new(), "", ""),
            gateways: Vec::new(),
            buckets: servers,
            cluster,
        };
        world.s3 = world.add_gateway(settings).await;
        world
    }

    /// Adds a repository over the same buckets with a mirror in another one, `cold`, which is returned; the
    /// client of this world has a key of it from now on.
    pub(crate) async fn mirrored(&mut self, mirror: &str, repository: &[&str]) -> BucketServer {
        let cold = BucketServer::start().await;
        add_bucket(&self.cluster, "cold", &cold, &[]).await;
        let members: Vec<_> = (0..self.buckets.len())
            .map(|index| format!("bucket-{index}"))
            .collect();
        let mut arguments = vec!["repository", "add", MIRRORED, "--mirror", mirror];
        for member in &members {
            arguments.extend(["--member", member]);
        }
        arguments.extend(repository);
        self.storage(&arguments).await;
        self.s3 = self.key_of(MIRRORED, "write").await;
        cold
    }

    /// Starts another gateway; returns a client of it with a key that may write.
    pub(crate) async fn add_gateway(&mut self, settings: &str) -> S3Client {
        self.add_gateway_with(settings, &[]).await
    }

    /// The same where it listens at another address for S3.
    pub(crate) async fn add_gateway_at(&mut self, address: &str, settings: &str) -> S3Client {
        let variables = [("STORAGE_ADDR", address.to_owned())];
        self.add_gateway_with(settings, &variables).await
    }

    /// The same with more variables.
    pub(crate) async fn add_gateway_with(
        &mut self,
        settings: &str,
        variables: &[(&str, String)],
    ) -> S3Client {
        self.add_gateway_from(Path::new(BINARY), settings, variables)
            .await
    }

    /// The same from another binary.
    pub(crate) async fn add_gateway_from(
        &mut self,
        binary: &Path,
        settings: &str,
        variables: &[(&str, String)],
    ) -> S3Client {
        let command = gateway_from(binary, &self.cluster)
            .env("STORAGE_ADDR", "127.0.0.1:0")
            .env("STORAGE_API_ADDR", "127.0.0.1:0")
            .env("STORAGE_MASTER_KEY", MASTER_KEY);
        let set =
            |command: GatewayCommand, (name, value): &(&str, String)| command.env(name, value);
        let command = variables.iter().fold(command, set);
        let toml = format!("[storage]\n{settings}\n");
        let command = self.surrounded(command);
        let gateway = configured(&self.cluster, command, &toml)
            .start()
            .await
            .unwrap();
        let base = address(&gateway).await;
        // Until it knows its nodes, it answers 503.
        let ready = gateway.admin_url("/readyz");
        until("the gateway is ready", DEADLINE, async || {
            let answer = client().get(&ready).send().await?;
            Ok((answer.status() == 200).then_some(()))
        })
        .await
        .unwrap();
        self.gateways.push(gateway);
        match self.s3.key_id.as_str() {
            "" => {
                let key = self.key("write").await;
                S3Client { base, ..key }
            }
            _ => S3Client {
                base,
                ..self.s3.clone()
            },
        }
    }

    /// Makes a key; returns a client with it.
    pub(crate) async fn key(&self, mode: &str) -> S3Client {
        self.key_of(REPOSITORY, mode).await
    }

    /// Makes a key of another repository.
    pub(crate) async fn key_of(&self, repository: &str, mode: &str) -> S3Client {
        let key = self
            .storage(&["key", "add", repository, "--mode", mode])
            .await;
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        S3Client::new(self.s3.base.clone(), &text("keyId"), &text("secret"))
    }

    /// Runs `tidegate storage … --json`.
    pub(crate) async fn storage(&self, arguments: &[&str]) -> Value {
        self.storage_within(arguments, 2 * DEADLINE).await
    }

    /// The same of a command that may take longer.
    pub(crate) async fn storage_within(&self, arguments: &[&str], deadline: Duration) -> Value {
        let command = self.surrounded(storage_command(&self.cluster, arguments));
        let printed = printed_within(command.arg("--json"), deadline).await;
        serde_json::from_str(&printed).unwrap()
    }

    fn surrounded(&self, command: GatewayCommand) -> GatewayCommand {
        let vendors = self.buckets.iter().map(BucketServer::vendor);
        vendors.fold(command, |command, vendor| vendor.surrounding(command))
    }

    /// What the database says about a bucket.
    pub(crate) async fn bucket(&self, index: usize) -> Value {
        let all = self.storage(&["bucket", "list"]).await;
        let name = format!("bucket-{index}");
        let mut all = all.as_array().unwrap().iter();
        all.find(|it| it["name"] == *name).unwrap().clone()
    }

    /// The metrics of the first gateway.
    pub(crate) async fn metrics(&self) -> String {
        let page = self.s3.client.get(self.gateways[0].admin_url("/metrics"));
        page.send().await.unwrap().text().await.unwrap()
    }

    /// How the database runs a query.
    pub(crate) async fn explained(&self, sql: &str) -> String {
        let client = self.cluster.primary.client().await.unwrap();
        let rows = client.query(&format!("explain {sql}"), &[]).await.unwrap();
        let lines = rows.iter().map(|row| row.get::<_, String>(0));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The first value of the first row of a query.
    pub(crate) async fn value(&self, sql: &str) -> String {
        self.cluster
            .primary
            .value(sql)
            .await
            .unwrap()
            .unwrap_or_default()
    }
}

pub(crate) async fn add_bucket(
    cluster: &Cluster,
    name: &str,
    server: &BucketServer,
    more: &[&str],
) {
    let url = server.url();
    let mut arguments = vec!["bucket", "add", name, "--region", "here", "--url", &url];
    arguments.extend(["--provider", server.vendor().provider()]);
    arguments.extend(more);
    let vendor = server.vendor();
    let command = vendor.surrounding(storage_command(cluster, &arguments));
    let text = printed(vendor.opened(command).arg("--json")).await;
    let _added: Value = serde_json::from_str(&text).unwrap();
}

/// Where a gateway listens for S3.
pub(crate) async fn address(gateway: &GatewayProcess) -> String {
    listener(gateway, "listening for S3", "storage").await
}

/// Where a gateway listens for the API.
pub(crate) async fn api_address(gateway: &GatewayProcess) -> String {
    listener(gateway, "listening for the storage API", "storage_api").await
}

async fn listener(gateway: &GatewayProcess, message: &str, field: &str) -> String {
    let line = gateway.wait_for_log(message).await.unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let fields = line.get("fields").unwrap_or(&line);
    format!("http://{}", fields[field].as_str().unwrap())
}

pub(crate) fn storage_command(cluster: &Cluster, arguments: &[&str]) -> GatewayCommand {
    let command = GatewayCommand::new(BINARY, "storage")
        .env("DATABASE_URL", cluster.primary.url())
        .env("STORAGE_MASTER_KEY", MASTER_KEY)
        .env("STORAGE_BUCKET_ACCESS_KEY_ID", ACCESS_KEY)
        .env("STORAGE_BUCKET_SECRET_ACCESS_KEY", SECRET_KEY);
    arguments
        .iter()
        .fold(command, |command, argument| command.arg(argument))
}

async fn storage(cluster: &Cluster, arguments: &[&str]) -> Value {
    let text = printed(storage_command(cluster, arguments).arg("--json")).await;
    serde_json::from_str(&text).unwrap()
}
