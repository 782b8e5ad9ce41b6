//! Every refused value is quoted with its place and what is expected.
//!
//! The binary itself lists its keys, so none can be missing from the table.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;

use super::{complete, refusal, tidegate};
use crate::world::rows;

/// A key, its value, and the error after the name of the file.
const KEYS: &str = r#"
region | 5 | 1: region = 5: expected a string
database_url | 5 | 1: database_url = 5: expected a string
read_replica_url | 'db' | 1: read_replica_url = "…": must start with postgres://
traffic_policy | '/no/such/file' | 1: traffic_policy = '/no/such/file': cannot be read: No such file
traffic_policy | 5 | 1: traffic_policy = 5: expected a string
listen | 'nowhere' | 1: listen = 'nowhere': expected an IP address and a port, such as 127.0.0.1:8080
admin | '[::1]' | 1: admin = '[::1]': expected an IP address and a port
admin | 5 | 1: admin = 5: expected an address or a table
admin.listen | 'nowhere' | 2: admin.listen = 'nowhere': expected an IP address and a port
admin.hosts | 'x' | 2: hosts = 'x': expected an array
admin.hosts | ['x', 'x:80'] | 2: admin.hosts = 'x:80': expected the name of a host, without a port
tls | 'x' | 1: tls = 'x': expected a table
tls.cert | '' | 2: tls.cert = '': expected the path of a file
tls.cert | 5 | 2: cert = 5: expected a string
tls.key | [] | 2: key = []: expected a string
fleet | 5 | 1: fleet = 5: expected a table
fleet.name | 'a b' | 2: fleet.name = 'a b': expected one word
fleet.state_dir | '' | 2: fleet.state_dir = '': expected the path of a file
fleet.trusted_keys | 'x' | 2: trusted_keys = 'x': expected an array
fleet.trusted_keys | ['x'] | 2: fleet.trusted_keys = 'x': expected the 32 bytes of an Ed25519 public key
fleet.listen | 'x' | 2: fleet.listen = 'x': expected an IP address and a port, such as 127.0.0.1:8080, or `off`
fleet.certificate | 5 | 2: certificate = 5: expected a string
fleet.key | 5 | 2: key = 5: expected a string
fleet.ca | 5 | 2: ca = 5: expected a string
fleet.peers | 5 | 2: peers = 5: expected an array
fleet.peers | [{ region = 'a', address = 'a:1' }, { region = 'b', address = 'A:01' }] | 2: fleet.peers.address = 'A:01': it is listed twice
fleet.peers.region | 'X' | 3: fleet.peers.region = 'X': a region name is lower-case letters
fleet.peers.address | 'http://x:80' | 3: fleet.peers.address = 'http://x:80': expected a host and a port
fleet.peers.address | '::1:8443' | 3: fleet.peers.address = '::1:8443': expected a host and a port
fleet.peers.address | '127.1:5' | 3: fleet.peers.address = '127.1:5': expected a host and a port
fleet.peers.address | '+h:+5' | 3: fleet.peers.address = '+h:+5': expected a host and a port
fleet.peers.address | 'x' | 3: fleet.peers.address = 'x': expected a host and a port
topology | 'x' | 1: topology = 'x': expected a table
server | 5 | 1: server = 5: expected a table
pool | 5 | 1: pool = 5: expected a table
replication | 5 | 1: replication = 5: expected a table
health | true | 1: health = true: expected a table
consistency | 'strong' | 1: consistency = 'strong': expected a table
cache | '64MiB' | 1: cache = '64MiB': expected a table
upstream | 'app' | 1: upstream = 'app': expected an array
steering | 1.5 | 1: steering = 1.5: expected a table
spill | 16 | 1: spill = 16: expected a table
observe | 5 | 1: observe = 5: expected a table
observe.receipts | 5 | 2: receipts = 5: expected the path of a file
observe.requests_kept | 25001 | 2: requests_kept = 25001: expected
observe.receipts_sample | 2 | 2: receipts_sample = 2: expected
storage | 5 | 1: storage = 5: expected a table
storage.domain | 'a_b' | 2: domain = 'a_b': expected a DNS name
storage.file_root | 5 | 2: file_root = 5: expected the path of a file
storage.spool_dir | 5 | 2: spool_dir = 5: expected the path of a file
storage.spool_memory_max | 5 | 2: spool_memory_max = 5: expected a size
storage.spool_bytes_max | 'x' | 2: spool_bytes_max = 'x': expected a size
storage.spool_total_max | 'x' | 2: spool_total_max = 'x': expected a size
storage.lease | 5 | 2: lease = 5: expected a duration
storage.sweep_interval | 5 | 2: sweep_interval = 5: expected a duration
storage.sweep_after | 5 | 2: sweep_after = 5: expected a duration
storage.api_endpoints | 'all' | 2: api_endpoints = 'all': expected "public" or "any"
storage.endpoint | 'a_b' | 2: endpoint = 'a_b': expected a DNS name
storage.statistics_interval | '500ms' | 2: statistics_interval = '500ms': expected a duration
policy | ['x'] | 1: policy = 'x': expected a table
endpoint | 5 | 1: endpoint = 5: expected an array
topology.primary_region | 'US East' | 2: topology.primary_region = 'US East': a region name is lower-case letters
topology.replica | 'x' | 2: replica = 'x': expected an array
topology.replica.region | 'X' | 3: topology.replica.region = 'X': a region name is lower-case letters
topology.replica.url | 'mysql://app:hunter2@db' | 3: topology.replica.url = "mysql://…": must start with postgres://
server.connections_max | 0 | 2: connections_max = 0: expected a whole number from 1 to 1000000
server.requests_max | 'many' | 2: requests_max = 'many': expected a whole number from 1 to 1000000
server.header_timeout | 'soon' | 2: header_timeout = 'soon': expected a duration from "1ms" to "1day", such as "1500ms" or "30s"
server.idle_timeout | 75 | 2: idle_timeout = 75: expected a duration
server.body_timeout | '30h' | 2: body_timeout = '30h': expected a duration from "1ms" to "1day"
server.request_deadline | '-1s' | 2: request_deadline = '-1s': expected a duration
server.body_bytes_max | '1MB' | 2: body_bytes_max = '1MB': expected a size from "1B" to "256MiB" in B, KiB or MiB
server.drain_delay | '' | 2: drain_delay = '': expected a duration from "0s" to "1day"
server.drain_timeout | '0s' | 2: drain_timeout = '0s': expected a duration from "1ms" to "1day"
server.trusted_proxies | ['10.0.0.0/33'] | 2: trusted_proxies = '10.0.0.0/33': expected a network such as "10.0.0.0/8", or an address
pool.connections_max | 1.5 | 2: connections_max = 1.5: expected a whole number from 1 to 1000000
pool.connections_max | 1 | 2: pool.connections_max = 1: it must not be below connections_min, which is 2
pool.connections_min | 17 | 2: pool.connections_min = 17: it must not be above connections_max, which is 16
pool.connect_timeout | '5' | 2: connect_timeout = '5': expected a duration
pool.acquire_timeout | 0 | 2: acquire_timeout = 0: expected a duration
pool.statement_timeout | '2d' | 2: statement_timeout = '2d': expected a duration
replication.sample_interval | 'x' | 2: sample_interval = 'x': expected a duration
replication.sample_timeout | false | 2: sample_timeout = false: expected a duration
replication.max_lag | [] | 2: max_lag = []: expected a duration
health.fail_after | 1001 | 2: fail_after = 1001: expected a whole number from 1 to 1000
health.pass_after | -1 | 2: pass_after = -1: expected a whole number from 1 to 1000
consistency.session_wait | 50 | 2: session_wait = 50: expected a duration from "0s" to "1day"
cache.bytes_max | 1024 | 2: bytes_max = 1024: expected a size up to "65536MiB" in B, KiB or MiB, such as "64MiB", or 0
cache.bytes_max | '1KiB' | 2: cache.bytes_max = '1KiB': it must not be below entry_bytes_max, which is 1048576 bytes
cache.entry_bytes_max | '65MiB' | 2: cache.entry_bytes_max = '65MiB': it must not be above bytes_max, which is 67108864 bytes
compression | 'gzip' | 1: compression = 'gzip': expected a table
compression.encodings | 'gzip' | 2: encodings = 'gzip': expected an array
compression.encodings | ['gzip', 'deflate'] | 2: encodings = ['gzip', 'deflate']: `deflate`: expected `zstd`, `br` or `gzip`
compression.encodings | ['br', 'br'] | 2: encodings = ['br', 'br']: `br` is listed twice
compression.min_bytes | '1KiB' | 2: min_bytes = '1KiB': expected a whole number from 1 to 1000000
steering.ranking_ttl | 60 | 2: ranking_ttl = 60: expected a duration
steering.dwell | 'long' | 2: dwell = 'long': expected a duration
steering.retry_budget | 1.5 | 2: retry_budget = 1.5: expected a number from 0 to 1
steering.retry_budget | nan | 2: retry_budget = nan: expected a number from 0 to 1
steering.reconnects_per_second_max | 0 | 2: reconnects_per_second_max = 0: expected a whole number from 1 to 1000
spill.concurrency_max | '16' | 2: concurrency_max = '16': expected a whole number from 1 to 1000000
policy.path | '/a/*/b' | 2: path = "/a/*/b": a star is allowed only at the end of a pattern
policy.consistency | 'eventully' | 3: consistency = 'eventully': the level is not one of strong, session, bounded and eventual
policy.consistency | 'strong, strong' | 3: consistency = 'strong, strong': the field is not one RFC 9651 item (byte 6), such as strong
policy.cache_control | 'max-age=5m' | 3: cache_control = "max-age=5m": max-age needs a whole number of seconds, as in max-age=60
policy.cache_control | 's-maxage=60' | 3: cache_control = "s-maxage=60": s-maxage is for shared caches: say `public` too, or use max-age
policy.cache_control | 'public, max-age=60' | 3: cache_control = "public, max-age=60": it must not say `public`: a shared cache
policy.cache_control | 'application' | 3: cache_control = "application": the row needs `consistency = "eventual"`
policy.cache_control | 'Application' | 3: cache_control = "Application": `application` stands alone and in lower case
policy.cache_control | 'application, public' | 3: cache_control = "application, public": `application` stands alone
policy.session_cookie | 'yes' | 3: session_cookie = 'yes': expected true or false
policy.cors | { origins = [] } | 3: cors.origins = "": at least one origin, or `*`, is needed
policy.cors | { origins = ['https://a.example/'] } | 3: cors.origins = "https://a.example/": expected `scheme://host[:port]`
policy.cors | { origins = ['https://*.example'] } | 3: cors.origins = "https://*.example": it has a `*`
policy.cors | { origins = ['https://a b'] } | 3: cors.origins = "https://a b": expected `scheme://host[:port]`
policy.cors | { origins = ['https://a.example?x'] } | 3: cors.origins = "https://a.example?x": expected `scheme://host[:port]`
policy.cors | { origins = ['https://a.example:99999'] } | 3: cors.origins = "https://a.example:99999": expected `scheme://host[:port]`
policy.cors | { origins = ['https://127.1'] } | 3: cors.origins = "https://127.1": expected an address as browsers write it
policy.cors | { origins = ['*'], credentials = true } | 3: cors.origins = "*": browsers take no `*` with credentials
policy.cors | { origins = ['*'], max_age = 'long' } | 3: cors.max_age = 'long': expected a duration such as "1h"
policy.cors | { origins = ['*'], max_age = '500ms' } | 3: cors.max_age = '500ms': expected a duration such as "1h", in whole seconds
policy.cors | { origins = ['*'], max_age = '99999999999h' } | 3: cors.max_age = '99999999999h': expected a duration such as "1h", in whole seconds
policy.cors | { origins = ['*'], origin = 'x' } | 3: cors: unknown field `origin`
policy.rate_limit | '100 per second' | 3: rate_limit = '100 per second': expected requests per s, min, h or d, such as `100/s`
endpoint.method | 'get' | 4: method = 'get': expected GET, POST, PUT, PATCH, DELETE or *
endpoint.method | '*' | 4: method = "*": it is allowed only with `upstream`
endpoint.path | 'x' | 4: path = "x": it must begin with `/`
endpoint.path | '/{a' | 4: path = "/{a": 
endpoint.auth | 'basic' | 5: auth = 'basic': expected `jwt` or `none`
endpoint.sql | 'drop table notes' | 4: sql = "drop table notes": it must begin with select, insert, update
endpoint.sql | 'select :cookie.a' | 4: sql = "select :cookie.a": `:cookie.a` is not a parameter: expected :path.x, :query.x
endpoint.status | 404 | 5: status = 404: expected a success that has a body: 200, 201 or 202
endpoint.status | 'ok' | 5: status = 'ok': expected a whole number
endpoint.single | 1 | 5: single = 1: expected true or false
endpoint.body_strings | ['a'] | 5: body_strings = "a": the sql does not use `:body.a`
endpoint.settings | 'x' | 5: settings = 'x': expected a table
endpoint.settings | { 'a b' = 'x' } | 5: settings = "a b": expected the name of a setting, such as `app.user`
endpoint.settings | { Search_Path = 'x' } | 5: settings = "Search_Path": it cannot be set for a request
endpoint.settings | { 'app.user' = ':claims.sub' } | 5: settings = "app.user": `:claims.sub` needs auth = "jwt"
endpoint.settings | { 'app.user' = ':path.id' } | 5: settings = "app.user": `:path.id` is not in the path template
endpoint.settings | { 'app.user' = ':body.id' } | 5: settings = "app.user": `:body.id` cannot be used with GET, which has no body
endpoint.settings | { 'app.user' = 'u-:query.u' } | 5: settings = "app.user": expected one parameter such as `:claims.sub`, or a text
endpoint.role | ':claims.role' | 5: role = ":claims.role": it goes with `roles`
endpoint.role | ":query.role'\nroles = ['a" | 5: role = 
endpoint.roles | ['none'] | 5: roles = "": it goes with `role`
endpoint.upstream | 'http://a' | 5: upstream = 'http://a': an endpoint has either `sql` or `upstream`
endpoint.page | 'x' | 5: page = 'x': expected a table
endpoint.page | {} | 5: page: missing field `column`
endpoint.page | { column = 'id' } | 5: page = "after": the sql does not use `:query.after`
endpoint.page | { column = 'i"d' } | 5: page = "i\"d": `i"d` is not the name of a column
endpoint.page | { column = 'id', limit = 'after' } | 5: page = "after": `cursor` and `limit` are both `after`
endpoint.page | { column = 'id', max = 0 } | 5: page = "0, 0": expected `default` from 1 to `max`
endpoint.page | { column = 'id', max = 10001 } | 5: page = "20, 10001": expected `default` from 1 to `max`, and `max` up to 10000
endpoint.page | { column = 'id', default = 101 } | 5: page = "101, 100": expected `default` from 1 to `max`
endpoint.page | { column = 'id', size = 1 } | 5: page: unknown field `size`
endpoint.position | 'ask' | 5: position = 'ask': it goes with `upstream`, not with `sql`
endpoint.cache | true | 5: cache = true: it goes with `upstream`, not with `sql`
upstream.name | 'a b' | 7: upstream.name = 'a b': expected 1 to 64 letters, digits, `-` and `_`
upstream.nodes | [] | 7: upstream.nodes = []: expected 1 to 32 nodes
upstream.roots | 5 | 8: roots = 5: expected a string
upstream.check | '/healthz' | 8: check = '/healthz': expected a table
upstream.connect_timeout | '2d' | 8: connect_timeout = '2d': expected a duration
upstream.timeout | 0 | 8: timeout = 0: expected a duration
upstream.idle_timeout | '' | 8: idle_timeout = '': expected a duration
upstream.connections_max | 0 | 8: connections_max = 0: expected a whole number from 1 to 1000000
upstream.nodes.region | 'A' | 7: upstream.nodes.region = 'A': a region name is lower-case letters
upstream.nodes.url | 'http://a/?key=hunter2' | 7: upstream.nodes.url = "http://…": it must end with its path
upstream.check.path | 'healthz' | 8: upstream.check.path = 'healthz': expected a path that begins with `/`
upstream.check.interval | 2 | 8: interval = 2: expected a duration
"#;

/// The keys of a table that the others require, and the text before the table.
fn table(section: &str) -> (&str, &[&str]) {
    match section {
        "topology.replica" => (
            "[[topology.replica]]",
            &["region = 'a'", "url = 'postgres://a/x'"],
        ),
        "fleet.peers" => ("[[fleet.peers]]", &["region = 'a'", "address = 'a:8443'"]),
        "policy" => ("[[policy]]", &["path = '/x'"]),
        "endpoint" => (
            "[[endpoint]]",
            &["method = 'GET'", "path = '/x'", "sql = 'select 1'"],
        ),
        "upstream" => (
            "[[endpoint]]\nmethod = '*'\npath = '/x'\nupstream = 'app'\n[[upstream]]",
            &[
                "name = 'app'",
                "nodes = [{ region = 'a', url = 'http://a' }]",
            ],
        ),
        "upstream.nodes" => ("", &["region = 'a'", "url = 'http://a'"]),
        "upstream.check" => ("", &["path = '/healthz'"]),
        _ => ("", &[]),
    }
}

/// A file that is valid except for one line.
fn file(section: &str, key: &str, value: &str) -> String {
    let (head, others) = table(section);
    let others = others
        .iter()
        .filter(|other| !other.starts_with(&format!("{key} =")));
    let line = format!("{key} = {value}");
    let lines: Vec<_> = others.copied().chain([line.as_str()]).collect();
    match section {
        "upstream.nodes" => file(
            "upstream",
            "nodes",
            &format!("[{{ {} }}]", lines.join(", ")),
        ),
        "upstream.check" => file("upstream", "check", &format!("{{ {} }}", lines.join(", "))),
        "" => line,
        _ if head.is_empty() => format!("[{section}]\n{line}"),
        _ => format!("{head}\n{}", lines.join("\n")),
    }
}

/// The error for a file, without its name.
async fn refused(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    let check = complete("check").env("TIDEGATE_CONFIG", path);
    // Those set by the kit would take precedence.
    let check = check.env("LISTEN_ADDR", "").env("ADMIN_ADDR", "");
    let line = refusal(check).await;
    let name = format!("{}:", path.display());
    let line = line.strip_prefix(&name);
    line.unwrap_or_else(|| panic!("{text}\nis not refused"))
        .to_owned()
}

/// The names in backquotes after `expected`.
fn listed(error: &str) -> impl Iterator<Item = &str> {
    let (_, expected) = error.split_once("expected ").unwrap();
    expected.split('`').skip(1).step_by(2)
}

#[tokio::test]
async fn every_key_is_named_with_its_line_the_refused_value_and_what_would_be_right() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    let mut known = BTreeSet::new();
    for [name, value, expected] in rows(KEYS) {
        let (section, key) = name.rsplit_once('.').unwrap_or(("", name));
        let line = refused(&path, &file(section, key, value)).await;
        assert!(
            line.starts_with(expected),
            "{name} = {value}\n{line}\nis not\n{expected}"
        );
        known.insert((section, key));
    }
    let sections: BTreeSet<_> = known.iter().map(|(section, _)| *section).collect();
    for section in sections {
        let line = refused(&path, &file(section, "nonsense", "1")).await;
        for key in listed(&line) {
            assert!(
                known.contains(&(section, key)),
                "[{section}] {key} is not in the table"
            );
        }
    }
}

/// A variable or a flag, its value, and the error.
const VARIABLES: &str = r#"
REGION | EU West | REGION = "EU West": a region name is lower-case letters
DATABASE_URL | mysql://app:hunter2@db/app | DATABASE_URL = "mysql://…": must start with postgres://
DATABASE_URL | app:hunter2@db | DATABASE_URL = "…": must start with postgres://
DATABASE_URL | postgres://app:hunter2@db/app?sslmode=on | DATABASE_URL = "postgres://…": sslmode=on is not one of disable,
DATABASE_URL | postgres://app:hunter2@db/app?connect_timeout=x | DATABASE_URL = "postgres://…": invalid value for option `connect_timeout`: "x"
DATABASE_URL | postgres://app:hunter2@db:0/app | DATABASE_URL = "postgres://…": the port is 0
DATABASE_URL | postgres://app:hunter2@db/app?port=0 | DATABASE_URL = "postgres://…": has the parameter `port` although
DATABASE_URL | postgres://db/app?sslnegotiation=direct | DATABASE_URL = "postgres://…": sslnegotiation=direct needs
DATABASE_READ_REPLICA_URL | postgres:// | DATABASE_READ_REPLICA_URL = "postgres://…": does not name a host
TIDEGATE_CONFIG | /nowhere.toml | /nowhere.toml: cannot be read: 
LISTEN_ADDR | 8080 | LISTEN_ADDR = "8080": expected an IP address and a port, such as 127.0.0.1:8080
ADMIN_ADDR | localhost | ADMIN_ADDR = "localhost": expected an IP address and a port
FLEET_ADDR | of | FLEET_ADDR = "of": expected an IP address and a port, such as 127.0.0.1:8080, or `off`
STORAGE_ADDR | of | STORAGE_ADDR = "of": expected an IP address and a port, such as 127.0.0.1:8080, or `off`
STORAGE_API_ADDR | on | STORAGE_API_ADDR = "on": expected an IP address and a port, such as 127.0.0.1:8080, or `off`
LOG_FORMAT | xml | LOG_FORMAT = "xml": expected `text` or `json`
RUST_LOG | tidegate=loud | RUST_LOG = "tidegate=loud": 
ADMIN_TOKEN |  | ADMIN_TOKEN: must not be empty
ADMIN_TOKEN | two words | ADMIN_TOKEN: must be visible ASCII characters without spaces
TOKEN_SECRET | short-secret | TOKEN_SECRET: secret 1 is shorter than 16 bytes
AUTH_JWT_SECRET | short-secret | AUTH_JWT_SECRET: must be at least 16 bytes long
AUTH_JWKS_URL | http://issuer.example/jwks | AUTH_JWKS_URL = "http://issuer.example/jwks": it must begin with https://
AUTH_JWKS_URL | https://issuer:0/jwks | AUTH_JWKS_URL = "https://issuer:0/jwks": the port is 0
AUTH_JWKS_URL | https://app:hunter2@issuer/jwks | AUTH_JWKS_URL = "https://…": it must not carry credentials
AUTH_JWT_AUDIENCE | us | AUTH_JWT_AUDIENCE = "us": has no effect without AUTH_JWT_SECRET or AUTH_JWKS_URL
AUTH_JWT_ISSUER | them | AUTH_JWT_ISSUER = "them": has no effect without AUTH_JWT_SECRET or AUTH_JWKS_URL
--region | EU | --region = "EU": a region name is lower-case letters
--database-url | db:hunter2 | --database-url = "…": must start with postgres://
--read-replica-url | mysql://db | --read-replica-url = "mysql://…": must start with postgres://
--config | /nowhere.toml | /nowhere.toml: cannot be read: 
--listen | everywhere | --listen = "everywhere": expected an IP address and a port
--admin | 9090 | --admin = "9090": expected an IP address and a port
"#;

/// Arguments and the error.
const ARGUMENTS: &str = r#"
explain;G T;/x | METHOD = "G T": expected an HTTP method such as GET
explain;GET;/a b | PATH = "/a b": expected a path such as /public/rates
explain;GET;/x;-H;no colon | -H = "no colon": expected `Name: value`
token;--sub;a;--ttl;soon | invalid value 'soon' for '--ttl <TTL>': expected number at 0; expected a duration such as
token;inspect;xyz | TOKEN = "xyz": the consistency token is malformed
migrate;--database-url;mysql://app:hunter2@db | --database-url = "mysql://…": must start with postgres://
top;--once;--admin;a b | --admin = "a b": expected an address and a port
top;--once;--token;two words | --token: must be visible ASCII characters without spaces
top;--interval;x | invalid value 'x' for '--interval <INTERVAL>': expected number at 0; expected a duration such as
demo;--port-base;99999999 | invalid value '99999999' for '--port-base <PORT_BASE>'
demo;--port-base;64534 | invalid value '64534' for '--port-base <PORT_BASE>': 64534 is not in 0..=64533
serve;postgres://app:hunter2@db/app | unexpected argument 'postgres://…' found
srve | unrecognized subcommand 'srve'
"#;

#[tokio::test]
async fn every_variable_and_argument_is_named_with_what_was_refused() {
    for [name, value, expected] in rows(VARIABLES) {
        let command = complete("serve");
        let command = match name.starts_with('-') {
            true => command.arg(name).arg(value),
            false => command.env(name, value),
        };
        let line = refusal(command).await;
        assert!(line.starts_with(expected), "{line}\nis not\n{expected}");
    }
    for [arguments, expected] in rows(ARGUMENTS) {
        let mut arguments = arguments.split(';');
        let command = tidegate(arguments.next().unwrap());
        let line = refusal(arguments.fold(command, |command, next| command.arg(next))).await;
        assert!(line.starts_with(expected), "{line}\nis not\n{expected}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_quoted() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = complete("serve").env("LISTEN_ADDR", &address);
    let output = serve
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .output()
        .await
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let line = log.lines().last().unwrap();
    let expected = format!("tidegate: LISTEN_ADDR = \"{address}\": ");
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(line.starts_with(&expected), "{line}");
}
