//! What clients and dashboards poll: gateways, and what they have seen by minute and by day.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};
use tokio_postgres::types::Type;

use super::range::Wanted;
use super::state::Api;
use crate::http::Problem;
use crate::storage::StorageError;
use crate::storage::prepared::Values;

/// Gateways by region; where this one is reached, as its client says. A gateway that has not renewed its row for 30 s is offline.
const NODES: &str = "select json_build_object('success', true, 'data', coalesce(json_agg(node), '[]'::json), \
     'total', count(*))::text from (select id as \"nodeId\", ip, region, version, shown.status, \
     initcap(shown.status) as state, latency_ms as \"latencyMs\", renewed as \"lastUpdated\", \
     case when id = $1 then coalesce($3, url) else url end as url, \
     case when id = $1 then coalesce($2, endpoint) else endpoint end as endpoint \
     from tidegate.storage_gateway g, lateral (select case when renewed < now() - interval '30 s' \
     then 'OFFLINE' else g.status end as status) shown order by region, id limit 10000) node";

/// By default of the last hour: what is older says little about which gateway is the fastest.
const NODES_MINUTE: &str = "select json_build_object('success', true, \
     'data', coalesce(json_agg(minute order by \"lastUpdated\", \"nodeId\", \"bucketId\"), '[]'::json))::text \
     from (select gateway as \"nodeId\", bucket as \"bucketId\", status as \"nodeStatus\", at as \"lastUpdated\", \
     latency_ms, latency_p99_ms, requests, errors, \
     1 - errors::double precision / nullif(requests, 0) as availability \
     from tidegate.storage_bucket_minute \
     where at >= coalesce($1::timestamptz, coalesce($2::timestamptz, now()) - interval '1 h') \
     and at < coalesce($2::timestamptz, 'infinity') and ($3::text[] is null or bucket = any ($3)) \
     order by at desc limit 10000) minute";

const USE_MINUTE: &str = "select json_build_object('success', true, \
     'data', coalesce(json_agg(minute order by \"timestamp\", \"repoId\", \"bucketId\", host), '[]'::json))::text \
     from (select at as \"timestamp\", nullif(repository, '') as \"repoId\", bucket as \"bucketId\", \
     uploaded as upl_bytes, downloaded as dwl_bytes, size_change, \
     latency_ms_sum / nullif(timed, 0) as latency_ms, latency_p99_ms, requests, errors, gateway as host \
     from tidegate.storage_use_minute \
     where at >= coalesce($1::timestamptz, coalesce($2::timestamptz, now()) - interval '1 h') \
     and at < coalesce($2::timestamptz, 'infinity') and ($3::text[] is null or bucket = any ($3)) \
     and ($4::text[] is null or repository = any ($4)) order by at desc limit 10000) minute";

/// By default of all days, the newest if there are too many.
const USE_DAY: &str = "select json_build_object('success', true, \
     'data', coalesce(json_agg(day order by \"timestamp\", \"repoId\", \"bucketId\", host), '[]'::json))::text \
     from (select (day::timestamp at time zone 'UTC') as \"timestamp\", nullif(repository, '') as \"repoId\", \
     bucket as \"bucketId\", uploaded as upl_bytes, downloaded as dwl_bytes, size_change, \
     latency_ms_sum / nullif(timed, 0) as latency_ms, latency_p99_ms, requests, errors, region as host \
     from tidegate.storage_use_day \
     where day >= coalesce(($1::timestamptz at time zone 'UTC')::date, '-infinity') \
     and day < coalesce($2::timestamptz at time zone 'UTC', 'infinity') \
     and ($3::text[] is null or bucket = any ($3)) \
     and ($4::text[] is null or repository = any ($4)) order by day desc limit 10000) day";

pub(super) async fn nodes(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // HTTP/2 has it in the URI.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(Authority::as_str).or(host);
    let reached = api.this.reached(host);
    let endpoint = reached.as_ref().map(|it| &*it.endpoint);
    let url = reached.as_ref().map(|it| &*it.url);
    let values: Values<'_> = &[
        (&api.this.id, Type::TEXT),
        (&endpoint, Type::TEXT),
        (&url, Type::TEXT),
    ];
    Ok(of_text(text(&api, NODES, values).await?))
}

pub(super) async fn nodes_minute(
    State(api): State<Api>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let buckets = wanted.buckets_of_any(&api.store.inventory.load());
    let values: Values<'_> = &[
        (&wanted.start, Type::TEXT),
        (&wanted.end, Type::TEXT),
        (&buckets, Type::TEXT_ARRAY),
    ];
    Ok(of_text(text(&api, NODES_MINUTE, values).await?))
}

pub(super) async fn minute(State(api): State<Api>, wanted: Wanted) -> Result<Response, Problem> {
    used(&api, USE_MINUTE, &wanted).await
}

pub(super) async fn daily(State(api): State<Api>, wanted: Wanted) -> Result<Response, Problem> {
    used(&api, USE_DAY, &wanted).await
}

async fn used(api: &Api, sql: &str, wanted: &Wanted) -> Result<Response, Problem> {
    let inventory = api.store.inventory.load();
    let (buckets, repositories) = (wanted.buckets(&inventory), wanted.repositories(&inventory));
    let values: Values<'_> = &[
        (&wanted.start, Type::TEXT),
        (&wanted.end, Type::TEXT),
        (&buckets, Type::TEXT_ARRAY),
        (&repositories, Type::TEXT_ARRAY),
    ];
    Ok(of_text(text(api, sql, values).await?))
}

/// The one value of a query, from any node: statistics are never needed to the second.
async fn text(api: &Api, sql: &str, values: Values<'_>) -> Result<String, StorageError> {
    let rows = api.store.index.database.read_much(sql, values).await?;
    let text = rows.first().map_or(Ok(None), |row| row.try_get(0))?;
    Ok(text.unwrap_or_default())
}

/// JSON that the database has written.
fn of_text(text: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], text).into_response()
}
