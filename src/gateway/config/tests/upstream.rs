//! Endpoints backed by upstreams, and the upstreams themselves.

use super::*;

/// An endpoint on lines 1 to 4, and then an upstream.
fn with_upstream(target: &str, upstream: &str) -> String {
    let endpoint = format!("[[endpoint]]\nmethod = '*'\npath = '/x'\nupstream = '{target}'\n");
    format!("{endpoint}{upstream}")
}

/// The same with an upstream that is used; its keys begin on line 7.
fn named(keys: &str) -> String {
    with_upstream("app", &format!("[[upstream]]\nname = 'app'\n{keys}"))
}

const NODES: &str = "nodes = [{ region = 'a', url = 'http://a' }]\n";

#[track_caller]
fn refused(text: &str, expected: &str) {
    let message = error(text);
    assert!(message.starts_with(expected), "{message}\nnot {expected}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn an_endpoint_that_leads_to_no_upstream_is_named_with_line_and_key() {
    for (target, expected) in [
        (
            "app",
            "4: upstream = 'app': there is no [[upstream]] named `app`",
        ),
        (
            "app:3000",
            "4: upstream = 'app:3000': it must begin with http:// or",
        ),
        (
            "http://a:hunter2@b",
            "4: upstream = \"http://…\": it must not carry",
        ),
        (
            "${APP}",
            "4: upstream = '${APP}': the variable APP is not set",
        ),
    ] {
        refused(&with_upstream(target, ""), &format!("file:{expected}"));
    }
    for (key, expected) in [
        (
            "sql = 'select 1'",
            "4: upstream = 'http://a': an endpoint has either",
        ),
        (
            "position = 'commit'",
            "5: position = 'commit': expected `header`, `ask` or `none`",
        ),
        ("status = 201", "5: status = 201: it goes with `sql`"),
        ("single = true", "5: single = true: it goes with `sql`"),
        (
            "body_strings = []",
            "5: body_strings = []: it goes with `sql`",
        ),
    ] {
        refused(&with_upstream("http://a", key), &format!("file:{expected}"));
    }
    let stored_post =
        "[[endpoint]]\nmethod = 'POST'\npath = '/x'\nupstream = 'http://a'\ncache = true\n";
    refused(stored_post, "file:5: cache = true: it goes with `GET`");
    for (keys, expected) in [
        (
            "sql = 'select 1'",
            "5: cache = true: it goes with `upstream`",
        ),
        (
            "upstream = 'http://a'\nauth = 'jwt'",
            "6: cache = true: a bearer's",
        ),
    ] {
        let text = format!("[[endpoint]]\nmethod = 'GET'\npath = '/x'\n{keys}\ncache = true\n");
        refused(&text, &format!("file:{expected}"));
    }
}

#[test]
fn a_node_that_cannot_be_used_is_named_with_line_and_key() {
    for (url, expected) in [
        ("ftp://a", "\"ftp://…\": it must begin with"),
        (
            "http://a:hunter2@b",
            "\"http://…\": it must not carry credentials",
        ),
        (
            "http://a/?x=hunter2",
            "\"http://…\": it must end with its path",
        ),
        ("${APP}", "'${APP}': the variable APP is not set"),
    ] {
        let text = named(&NODES.replace("http://a", url));
        let expected = format!("file:7: upstream.nodes.url = {expected}");
        refused(&text, &expected);
    }
    for (nodes, expected) in [
        ("", "5: missing field `nodes`"),
        (
            "nodes = []",
            "7: upstream.nodes = []: expected 1 to 32 nodes",
        ),
        (
            "nodes = [{ url = 'http://a' }]",
            "7: nodes: missing field `region`",
        ),
        (
            "nodes = [{ region = 'A', url = 'http://a' }]",
            "7: upstream.nodes.region = 'A': a region name is lower-case",
        ),
        (
            "nodes = [{ region = 'a', url = 'http://a' },\n{ region = 'b', url = 'http://a/' }]",
            "8: upstream.nodes.url = 'http://a/': a is listed twice",
        ),
        (
            "nodes = [{ region = 'a', url = 'http://a' },\n{ region = 'b', url = 'https://a' }]",
            "8: upstream.nodes.url = 'https://a': a is listed twice",
        ),
    ] {
        refused(&named(nodes), &format!("file:{expected}"));
    }
}

#[test]
fn an_upstream_that_cannot_be_used_is_named_with_line_and_key() {
    let other = |name: &str| format!("[[upstream]]\nname = '{name}'\n{NODES}");
    for (rest, expected) in [
        ("nodse = 1", "8: nodse: unknown field"),
        (
            "timeout = '0s'",
            "8: timeout = '0s': expected a duration from",
        ),
        (
            "connections_max = 0",
            "8: connections_max = 0: expected a whole number",
        ),
        (
            "check = { path = 'x' }",
            "8: upstream.check.path = 'x': expected",
        ),
        (
            "check = { path = '/x', interval = 2 }",
            "8: interval = 2: expected a duration",
        ),
        (
            &*other("app"),
            "9: upstream.name = \"app\": the name is taken at file:6",
        ),
        (
            &*other("b"),
            "9: upstream.name = \"b\": no endpoint uses it",
        ),
    ] {
        refused(
            &named(&format!("{NODES}{rest}")),
            &format!("file:{expected}"),
        );
    }
    let odd = named(NODES).replace("name = 'app'", "name = 'a b'");
    refused(
        &odd,
        "file:6: upstream.name = 'a b': expected 1 to 64 letters",
    );
}

#[test]
fn a_url_in_place_of_a_name_is_an_upstream_and_the_same_one_wherever_it_stands() {
    let variables = environment(&[("APP", "http://a/base/")]);
    let text =
        with_upstream("${APP}", "") + &with_upstream("http://a/base", "").replace("/x", "/y");
    let settings = with_file(&text, &variables).unwrap();
    let [upstream] = &settings.routes.upstreams[..] else {
        panic!("{:?}", settings.routes.upstreams)
    };
    assert_eq!(upstream.name, "http://a/base");
    assert!(upstream.settings.check.is_none());
    assert_eq!(upstream.settings.nodes[0].region, None);
}

#[test]
fn nodes_of_the_own_region_come_first_and_the_rest_as_listed() {
    let nodes = "[[upstream]]\nname = 'app'\nnodes = [{ region = 'us-east-1', url = 'http://u' }, \
                 { region = 'eu-west-1', url = 'http://e' }, { region = 'a', url = 'http://a' }]";
    let settings = with_file(&with_upstream("app", nodes), &environment(&[])).unwrap();
    let nodes = settings.routes.upstreams[0].settings.nodes.iter();
    let urls: Vec<_> = nodes.map(|node| node.url.to_string()).collect();
    assert_eq!(urls, ["http://e", "http://u", "http://a"]);
}
