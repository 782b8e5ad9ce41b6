//! The clients of the guides, as they are written there, and others that people have.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::tool;

const IN_PYTHON: &str = include_str!("clients.py");
const IN_GO: &str = include_str!("clients.go");
const IN_NODE: &str = include_str!("clients.cjs");

/// Runs the steps of a client with the variables of the guides, while a bucket is dead for one of them.
async fn run_steps(program: &PathBuf, arguments: &[&str]) {
    let world = StorageWorld::start(&[], &["--write", "copies:2"]).await;
    let run = async |step: &str| {
        let mut command = Command::new(program);
        command.args(arguments).arg(step);
        command.env("FB_S3_ENDPOINT", &world.s3.base);
        command.env("FB_KEY_ID", &world.s3.key_id);
        command.env("FB_KEY_SECRET", &world.s3.secret);
        command.env("BUCKET", REPOSITORY).stdin(Stdio::null());
        succeeds(command, step).await;
    };
    run("write").await;
    world.buckets[0].fail_all(&BucketFault::Reset);
    run("read").await;
    world.buckets[0].heal();
    run("rest").await;
}

async fn succeeds(mut command: Command, step: &str) -> String {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{step}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn boto3_stores_reads_lists_copies_and_deletes_while_a_bucket_dies() {
    let Some(python) = tool("boto3-python") else {
        eprintln!("SKIPPED: boto3 is not installed, and it cannot be installed from PyPI");
        return;
    };
    run_steps(&python, &["-c", IN_PYTHON]).await;
}

#[tokio::test]
async fn aws_sdk_of_node_stores_reads_lists_copies_and_deletes_while_a_bucket_dies() {
    let Some(node) = tool("aws-sdk-node") else {
        eprintln!("SKIPPED: @aws-sdk/client-s3 is not installed, and it cannot be had from npm");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("clients.cjs");
    std::fs::write(&script, IN_NODE).unwrap();
    run_steps(&node, &[script.to_str().unwrap()]).await;
}

#[tokio::test]
async fn aws_sdk_of_go_stores_reads_lists_copies_and_deletes_while_a_bucket_dies() {
    let Some(go) = tool("go-aws-sdk") else {
        eprintln!(
            "SKIPPED: the AWS SDK of Go is not installed, and Debian's packages cannot be had"
        );
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let [script, client] = ["clients.go", "client"].map(|name| directory.path().join(name));
    std::fs::write(&script, IN_GO).unwrap();
    let mut build = Command::new(go);
    build.arg("build").arg("-o").arg(&client).arg(&script);
    succeeds(build, "go build").await;
    run_steps(&client, &[]).await;
}

#[tokio::test]
async fn s3cmd_stores_reads_lists_copies_and_deletes() {
    let Some(s3cmd) = tool("s3cmd") else {
        eprintln!("SKIPPED: s3cmd is not installed, and it cannot be installed from PyPI");
        return;
    };
    let world = StorageWorld::start(&[], &[]).await;
    let address = world.s3.base.trim_start_matches("http://").to_owned();
    let directory = tempfile::tempdir().unwrap();
    let [config, from, to] = ["config", "from", "to"].map(|name| directory.path().join(name));
    let written = format!(
        "[default]\naccess_key = {}\nsecret_key = {}\nhost_base = {address}\nhost_bucket = {address}\n\
         use_https = False\nsignature_v2 = False\nmultipart_chunk_size_mb = 5\n",
        world.s3.key_id, world.s3.secret
    );
    std::fs::write(&config, written).unwrap();
    let body = vec![7; 6 << 20];
    std::fs::write(&from, &body).unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(&s3cmd);
        command.arg("--config").arg(&config).args(arguments);
        succeeds(command, &arguments.join(" ")).await
    };
    let [from, to] = [&from, &to].map(|path| path.to_str().unwrap());
    run(&["put", from, "s3://app-data/a/large"]).await;
    run(&["cp", "s3://app-data/a/large", "s3://app-data/b/copied"]).await;
    let listed = run(&["ls", "--recursive", "s3://app-data/"]).await;
    assert!(listed.contains("s3://app-data/a/large") && listed.contains("s3://app-data/b/copied"));
    run(&["get", "s3://app-data/b/copied", to]).await;
    assert!(std::fs::read(to).unwrap() == body);
    run(&["rm", "s3://app-data/a/large", "s3://app-data/b/copied"]).await;
    assert_eq!(run(&["ls", "--recursive", "s3://app-data/"]).await, "");
}

#[tokio::test]
async fn rclone_synchronises_a_directory_both_ways() {
    let Some(rclone) = tool("rclone") else {
        eprintln!("SKIPPED: rclone is not installed, and Debian's package cannot be had");
        return;
    };
    let world = StorageWorld::start(&[], &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
    std::fs::create_dir_all(from.join("below")).unwrap();
    let large = vec![7; 12 << 20];
    for (name, body) in [
        ("small", &b"bytes"[..]),
        ("below/é +", b"x"),
        ("large", &large),
    ] {
        std::fs::write(from.join(name), body).unwrap();
    }
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(&rclone);
        command.args([
            "--config",
            "/dev/null",
            "--s3-upload-cutoff",
            "6M",
            "--s3-chunk-size",
            "5M",
        ]);
        command
            .args(arguments)
            .env("RCLONE_CONFIG_TG_TYPE", "s3")
            .env("RCLONE_CONFIG_TG_PROVIDER", "Other")
            .env("RCLONE_CONFIG_TG_ENDPOINT", &world.s3.base)
            .env("RCLONE_CONFIG_TG_ACCESS_KEY_ID", &world.s3.key_id)
            .env("RCLONE_CONFIG_TG_SECRET_ACCESS_KEY", &world.s3.secret)
            .env("RCLONE_S3_NO_CHECK_BUCKET", "true")
            // The machine's, which this client cannot use.
            .env_remove("AWS_CA_BUNDLE");
        succeeds(command, &arguments.join(" ")).await
    };
    let [from_path, to_path] = [&from, &to].map(|path| path.to_str().unwrap());
    run(&["sync", from_path, "tg:app-data/backup"]).await;
    run(&["check", from_path, "tg:app-data/backup"]).await;
    // As it is installed, it makes the bucket first.
    let checked = "--s3-no-check-bucket=false";
    let file = format!("{from_path}/small");
    run(&["copyto", checked, &file, "tg:app-data/copied"]).await;
    assert_eq!(world.s3.read(REPOSITORY, "copied").await, b"bytes");
    run(&["sync", "tg:app-data/backup", to_path]).await;
    assert_eq!(std::fs::read(to.join("below/é +")).unwrap(), b"x");
    assert!(std::fs::read(to.join("large")).unwrap() == large);
    run(&["purge", "tg:app-data/backup"]).await;
    run(&["deletefile", "tg:app-data/copied"]).await;
    assert!(!world.s3.list(REPOSITORY, &[]).await.contains("<Key>"));
}

#[tokio::test]
async fn dist_test_puts_lists_gets_and_deletes_an_object_at_the_listener_of_a_region() {
    let world = StorageWorld::start(&[], &[]).await;
    let gateway = &world.gateways[0];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dist-test.sh");
    let run = async |secret: &str| {
        let mut command = Command::new(script);
        command
            .args([
                "--storage",
                "-n",
                "1",
                &format!("http://{}", gateway.listen()),
            ])
            .env("EU_WEST_1_IP", gateway.listen().to_string())
            .env("STORAGE_URL", &world.s3.base)
            .env("STORAGE_REPOSITORY", REPOSITORY)
            .env("STORAGE_KEY_ID", &world.s3.key_id)
            .env("STORAGE_KEY_SECRET", secret)
            .kill_on_drop(true);
        String::from_utf8(command.output().await.unwrap().stdout).unwrap()
    };
    let said = run(&world.s3.secret).await;
    assert!(said.contains("put, listed, got and deleted"), "{said}");
    let said = run("another").await;
    assert!(said.contains("PUT of") && said.contains("403"), "{said}");
}
