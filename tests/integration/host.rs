//! A request says which host it is for, or nothing is done.

use http::header::HOST;

use crate::world::{DEADLINE, World, problem, rows};

const FILE: &str = r#"
[[policy]]
path = "/kept"
consistency = "eventual"
cache_control = "public, max-age=3600"
[[endpoint]]
method = "GET"
path = "/kept"
sql = "select 1 as one"
"#;

#[tokio::test]
async fn a_request_for_no_certain_host_is_400_before_anything_else() {
    let world = World::alone(FILE).await;
    // From here on the answer comes from memory, on the shortest way.
    assert_eq!(world.get("/kept").await.status(), 200);
    let cases = "
        1.1 |             | 400
        1.0 |             | 200
        1.1 | a           | 200
        1.0 | a           | 200
        1.1 | a;a         | 400
        1.1 | a;b         | 400
        1.0 | a;b         | 400
        1.1 | a b         | 400
        1.1 | u@a         | 400
        1.1 | [::1        | 400
        1.1 | [::1]:8080  | 200
        1.1 | a:99999     | 400
        1.1 | :80         | 400
        1.1 | [v1.a]      | 400
        1.0 | a/b         | 400
    ";
    for [version, hosts, status] in rows(cases.trim_end()) {
        let hosts = hosts.split(';').filter(|host| !host.is_empty());
        let hosts: String = hosts.map(|host| format!("Host: {host}\r\n")).collect();
        for path in ["/kept", "/health/live", "/health/edge", "/nowhere"] {
            let request = format!("GET {path} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
            let answer = world.send_raw(request.as_bytes()).await;
            match status {
                "200" => assert_eq!(answer.status, if path == "/nowhere" { 404 } else { 200 }),
                _ => assert!(answer.is_problem(400, "invalid-parameter"), "{request}"),
            }
        }
    }
    let target = "GET http://a/kept HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
    assert_eq!(world.send_raw(target.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_host_beside_an_authority_must_be_the_same() {
    let world = World::alone(FILE).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .timeout(DEADLINE)
        .build()
        .unwrap();
    let request = || client.get(world.gateway.url("/kept"));
    let listen = world.gateway.listen().to_string();
    assert_eq!(request().send().await.unwrap().status(), 200);
    let same = request().header(HOST, listen).send().await.unwrap();
    assert_eq!(same.status(), 200);
    for other in ["127.0.0.1", "elsewhere", "u@a"] {
        let answer = request().header(HOST, other).send().await.unwrap();
        problem(answer, 400, "invalid-parameter").await;
    }
}
