//! ceph/s3-tests, from a checkout that `S3_TESTS` names: `make check-s3 S3_TESTS=DIR`.

use std::path::Path;
use std::process::Stdio;

use tidegate_model::Environment;
use tokio::process::Command;

use super::s3_client::S3Client;
use super::world::StorageWorld;

const NAMES: &str = include_str!("../../s3/names.txt");

#[tokio::test]
async fn as_many_tests_of_ceph_pass_as_the_bar_asks_for() {
    let environment = Environment::of_process();
    let Some(checkout) = environment.get("S3_TESTS") else {
        // CI does without: the suite is in no registry.
        return;
    };
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/check-s3/bin/python");
    let world = StorageWorld::start(&[], &[]).await;
    let main = world.key("admin").await;
    let names = ["alternative", "tenant"];
    let mut others = Vec::new();
    for name in names {
        world
            .storage(&["repository", "add", name, "--member", "bucket-0"])
            .await;
        others.push(world.key_of(name, "admin").await);
    }
    let config = config(&main, &others[0], &others[1]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s3tests.conf");
    std::fs::write(&file, config).unwrap();
    let report = directory.path().join("report.txt");
    let names: Vec<_> = NAMES
        .lines()
        .filter(|line| line.starts_with("test_"))
        .collect();
    let mut command = Command::new(tools);
    command.args([
        "-m",
        "pytest",
        "-q",
        "--tb=line",
        "-rA",
        "-p",
        "no:cacheprovider",
    ]);
    command
        .arg("-k")
        .arg(names.join(" or "))
        .arg("s3tests/functional");
    command
        .env("S3TEST_CONF", &file)
        .current_dir(checkout)
        .stdin(Stdio::null());
    command.stdout(std::fs::File::create(&report).unwrap());
    command.status().await.unwrap();
    let report = std::fs::read_to_string(report).unwrap();
    let has = |outcome: &str, name: &str| {
        let end = format!("::{name}");
        let mut lines = report.lines().filter(|line| line.starts_with(outcome));
        lines.any(|line| line.split(' ').any(|word| word.ends_with(&end)))
    };
    let passed = names.iter().filter(|name| has("PASSED", name)).count();
    for line in report.lines().filter(|line| line.starts_with("FAILED")) {
        println!("{line}");
    }
    println!("s3-tests: {passed} of {} passed", names.len());
    assert!(
        passed >= 260,
        "{}",
        &report[report.len().saturating_sub(4_000)..]
    );
}

fn config(main: &S3Client, alternative: &S3Client, tenant: &S3Client) -> String {
    let (_, address) = main.base.split_once("://").unwrap();
    let (host, port) = address.split_once(':').unwrap();
    let user = |section: &str, name: &str, key: &S3Client| {
        format!(
            "[{section}]\ndisplay_name = {name}\nuser_id = {name}\nemail = {name}@example.com\n\
             access_key = {}\nsecret_key = {}\napi_name = default\ntenant = {name}\n",
            key.key_id, key.secret
        )
    };
    [
        format!("[DEFAULT]\nhost = {host}\nport = {port}\nis_secure = False\nssl_verify = False\n"),
        "[fixtures]\nbucket prefix = tidegate-{random}-\niam name prefix = s3-tests-\niam path prefix = /s3-tests/\n".to_owned(),
        user("s3 main", "main", main),
        user("s3 alt", "alternative", alternative),
        user("s3 tenant", "tenant", tenant),
        user("iam", "iam", main),
        user("iam root", "root", main),
        user("iam alt root", "altroot", alternative),
    ]
    .join("\n")
}
