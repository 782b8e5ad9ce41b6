//! Names of metrics. Units are in the names, labels come from enums or fixed names only.

/// Open client connections. Gauge; label `listener`.
pub const CONNECTIONS_OPEN: &str = "tidegate_connections_open";
/// Connections accepted and served. Counter; label `listener`.
pub const CONNECTIONS_ACCEPTED: &str = "tidegate_connections_accepted_total";
/// Connections closed at once because too many were open. Counter; label `listener`.
pub const CONNECTIONS_REFUSED: &str = "tidegate_connections_refused_total";
/// Connections ended by this side. Counter; labels `listener` and `reason`: `header`, `idle`,
/// `write` or `drain`.
pub const CONNECTIONS_EXPIRED: &str = "tidegate_connections_expired_total";
/// Failed calls of `accept`. Counter; label `listener`.
pub const ACCEPT_ERRORS: &str = "tidegate_accept_errors_total";
/// TLS handshakes of clients. Counter; label `outcome`: `done`, `failed` or `displaced` (by newer ones).
pub const TLS_HANDSHAKES: &str = "tidegate_tls_handshakes_total";
/// New contents of the certificate's files. Counter; label `outcome`: `renewed` or `refused`.
pub const TLS_RENEWALS: &str = "tidegate_tls_renewals_total";
/// When the certificate in force expires, in seconds since 1970. Gauge.
pub const TLS_NOT_AFTER: &str = "tidegate_tls_certificate_not_after_seconds";

/// Lines of requests that were dropped because the reader of the log was too slow. Counter.
pub const ACCESS_LINES_DROPPED: &str = "tidegate_access_lines_dropped_total";
/// Panics of background tasks, which go on. Counter.
pub const BACKGROUND_PANICS: &str = "tidegate_background_panics_total";

/// How far a node is behind at least, in seconds; NaN while unknown. Gauge; label `node`.
pub const REPLICATION_LAG: &str = "tidegate_replication_lag_seconds";
/// How old a node's data can be at most, in seconds; NaN while unproven. Gauge; label `node`.
pub const STALENESS: &str = "tidegate_staleness_seconds";
/// 1 for the node that takes the writes, 0 for the others. Gauge; label `node`.
pub const NODE_ACTS_AS_PRIMARY: &str = "tidegate_node_acts_as_primary";
/// 1 for the condition a node is in, 0 for the others. Gauge; labels `node` and `condition`.
pub const NODE_CONDITION: &str = "tidegate_node_condition";

/// 1 for the state of a database node's breaker, 0 for the others. Gauge; labels `node` and `state`.
pub const BREAKER_STATE: &str = "tidegate_breaker_state";
/// Moves of a database node's breaker. Counter; labels `node` and `state`, the one moved to.
pub const BREAKER_MOVES: &str = "tidegate_breaker_moves_total";
/// Changes of the database node that is tried first. Counter.
pub const STEERING_SWITCHES: &str = "tidegate_steering_switches_total";
/// Requests sent to another node because one did not answer. Counter; label `node`, the one that did
/// not.
pub const RETRIES: &str = "tidegate_retries_total";
/// Requests sent to a second node because the first was slow. Counter; labels `node`, the slow one,
/// and `won`: `first`, `second` or `neither`.
pub const HEDGES: &str = "tidegate_hedges_total";
/// Retries and hedges refused because the node's retry budget was spent. Counter; label `node`.
pub const RETRY_BUDGET_SPENT: &str = "tidegate_retry_budget_spent_total";
/// Reads that are at work at the primary in place of a replica. Gauge.
pub const SPILL_ACTIVE: &str = "tidegate_spill_active";
/// Reads that needed the primary in place of a replica. Counter; label `result`:
/// `served` or `refused`.
pub const SPILL: &str = "tidegate_spill_total";

/// Requests to buckets, probes among them. Counter; labels `bucket` and `outcome`: `answered` or `failed`.
pub const STORAGE_REQUESTS: &str = "tidegate_storage_requests_total";
/// Bytes of bodies between this gateway and buckets. Counter; labels `bucket` and `direction`: `in` or `out`
/// of the bucket.
pub const STORAGE_BYTES: &str = "tidegate_storage_bytes_total";
/// The state of a bucket: 1 for the state that it is in, 0 for the others. Gauge; labels `bucket` and `status`:
/// `online`, `disconnected` or `offline`.
pub const STORAGE_BUCKET_STATUS: &str = "tidegate_storage_bucket_status";
/// Average time of a bucket to the first byte, in seconds. Gauge; label `bucket`.
pub const STORAGE_LATENCY: &str = "tidegate_storage_latency_seconds";
/// 1 while the 95th percentile of a bucket's time to the first byte is above the shortest `read_slo` of its
/// repositories, else 0. Gauge; label `bucket`.
pub const STORAGE_OVER_SLO: &str = "tidegate_storage_over_slo";
/// Copies that buckets have. Gauge; labels `bucket` and `state`: `stored`, `reserved`, `suspect` or `doomed`.
pub const STORAGE_COPIES: &str = "tidegate_storage_copies";
/// Bytes that a bucket may still take; absent without a quota. Gauge; label `bucket`.
pub const STORAGE_QUOTA_LEFT: &str = "tidegate_storage_quota_left_bytes";
/// Bytes written to a bucket in this month. Gauge; label `bucket`.
pub const STORAGE_WRITTEN: &str = "tidegate_storage_written_bytes";
/// Bytes of a month up to which a bucket is preferred; absent without a credit. Gauge; label `bucket`.
pub const STORAGE_SOFT_CAP: &str = "tidegate_storage_soft_cap_bytes";
/// Storage requests that went on with another bucket. Counter; labels `bucket`, the one that failed, and
/// `reason`.
pub const STORAGE_FALLBACKS: &str = "tidegate_storage_fallbacks_total";
/// Blobs that a mirror should have by now. Gauge; label `bucket`, the mirror.
pub const STORAGE_MIRROR_BACKLOG: &str = "tidegate_storage_mirror_backlog";
/// Seconds for which the oldest of them has been due. Gauge; label `bucket`.
pub const STORAGE_MIRROR_LATE: &str = "tidegate_storage_mirror_late_seconds";
/// Copies that were read back in full. Counter; labels `bucket` and `outcome`: `restored`, `failed` or
/// `unanswered`.
pub const STORAGE_RESTORES: &str = "tidegate_storage_restores_total";

/// Spans of traces that no collector has taken. Counter; label `reason`: `queue` (it was full), `unreachable`,
/// `refused` (an error of the collector), `timeout` or `rejected` (by a collector that has taken others).
pub const SPANS_DROPPED: &str = "tidegate_spans_dropped_total";

/// Requests answered. Counter; labels `endpoint` (the template), `method`, `status`.
pub const REQUESTS: &str = "tidegate_requests_total";
/// Time to answer a request. Histogram; label `endpoint`.
pub const REQUEST_DURATION: &str = "tidegate_request_duration_seconds";
/// Time to answer a request, for answers of nodes and from memory. Histogram; labels `level` and `served`:
/// `memory`, `local` (a node of this region) or `elsewhere`.
pub const LEVEL_DURATION: &str = "tidegate_level_duration_seconds";
/// Answers by node. Counter; labels `level`, `node`, `reason`.
pub const DECISIONS: &str = "tidegate_decisions_total";
/// Requests refused because their client had spent its budget. Counter; label `policy`: the row's
/// path pattern.
pub const RATE_LIMITED: &str = "tidegate_rate_limited_total";
/// Requests being served by nodes. Gauge.
pub const REQUESTS_IN_FLIGHT: &str = "tidegate_requests_in_flight";
/// Requests refused by load shedding. Counter; label `reason`: `requests-max`, `deadline`,
/// `acquire-timeout`, `connections-max` (of an upstream) or `spill-budget`.
pub const SHEDS: &str = "tidegate_sheds_total";
/// Time that a session read waited for its token's position. Histogram.
pub const SESSION_WAIT: &str = "tidegate_session_wait_seconds";
/// Open connections of a node's pool. Gauge; label `node`.
pub const POOL_CONNECTIONS: &str = "tidegate_pool_connections";
/// Those of them that are unused. Gauge; label `node`.
pub const POOL_IDLE: &str = "tidegate_pool_idle";
/// Requests waiting for a connection. Gauge; label `node`.
pub const POOL_WAITING: &str = "tidegate_pool_waiting";
/// Statements. Gauge; labels `node` and `session`: `kept` where the catalogue proves that they leave nothing
/// in it (writes: nothing but values of sequences), else `reset`, after every run.
pub const STATEMENTS: &str = "tidegate_statements";
/// Requests on paths that shared caches may store. Counter; label `result`: `hit`, `stale`,
/// `stale-if-error`, `miss`, `collapsed` or `bypass`.
pub const CACHE_REQUESTS: &str = "tidegate_cache_requests_total";
/// Answers in the response cache. Gauge.
pub const CACHE_ENTRIES: &str = "tidegate_cache_entries";
/// Bytes they take. Gauge.
pub const CACHE_BYTES: &str = "tidegate_cache_bytes";
/// Requests waiting for an answer that is being fetched for another request. Gauge.
pub const CACHE_WAITING: &str = "tidegate_cache_waiting";
/// Attempts at nodes of upstreams. Counter; labels `upstream`, `node`, `outcome`:
/// `answered`, `refused` (502, 503, 504), `unreachable` (nothing was sent), `lost`, `unusable`,
/// `timeout` or `overtaken` (by a hedge).
pub const UPSTREAM_REQUESTS: &str = "tidegate_upstream_requests_total";
/// Time to the head of a node's answer. Histogram; labels `upstream`, `node`.
pub const UPSTREAM_DURATION: &str = "tidegate_upstream_duration_seconds";
/// 1 for the state of the breaker of an upstream's node, 0 for the others. Gauge; labels `upstream`,
/// `node`, `state`.
pub const UPSTREAM_BREAKER_STATE: &str = "tidegate_upstream_breaker_state";
/// Moves of it. Counter; labels `upstream`, `node` and `state`, the one moved to.
pub const UPSTREAM_BREAKER_MOVES: &str = "tidegate_upstream_breaker_moves_total";
/// Changes of the node of an upstream that is tried first. Counter; label `upstream`.
pub const UPSTREAM_SWITCHES: &str = "tidegate_upstream_switches_total";
/// Positions that clients have seen after an application's answer. Counter; label `result`: `stated` by the
/// application, `asked` (the primary) or `missed`: none was to be had in time.
pub const UPSTREAM_POSITIONS: &str = "tidegate_upstream_positions_total";
/// Open WebSockets. Gauge; label `upstream`.
pub const UPSTREAM_TUNNELS: &str = "tidegate_upstream_tunnels_open";
/// Requests decided by the traffic policy and not answered from memory. Counter; labels `policy`, `proposed`,
/// `region` and `reason`: `local`, `named`, `nearest`, `weighted`, `spread`, `left`, `draining`, `ramping`,
/// `panic`, `else`, `hop` or `no-tunnel`.
pub const TRAFFIC_DECISIONS: &str = "tidegate_traffic_decisions_total";
/// Time to the head of their answers. Histogram; labels `policy`, `region`.
pub const TRAFFIC_DURATION: &str = "tidegate_traffic_duration_seconds";
/// How near the region is that serves, among those that the policy names. Counter; label `served`:
/// `nearest`, `next` or `farther`.
pub const TRAFFIC_LOCALITY: &str = "tidegate_traffic_locality_total";
/// Time from a region's first bad sample to the first decision for another region. Histogram.
pub const FAILOVER: &str = "tidegate_failover_seconds";
/// The revision of the traffic policy, 0 for the built-in one. Gauge; label `stage`: `active`, or
/// `candidate` while a rollout is open.
pub const TRAFFIC_REVISION: &str = "tidegate_traffic_revision";
/// The share of keys that belongs to the candidate, 0 to 1. Gauge.
pub const TRAFFIC_SHARE: &str = "tidegate_traffic_share";
/// 1 while this gateway cannot tell whether the revision in force here has survived the last promotion: it reads only
/// a replica that it cannot place. Gauge.
pub const TRAFFIC_UNPLACED: &str = "tidegate_traffic_unplaced";
/// Requests for which the two plans of an open rollout choose different regions. Counter; labels `arm`:
/// `new` or `old`, the plan that was used, and `outcome`: `answered` or `failed`.
pub const TRAFFIC_ARM_REQUESTS: &str = "tidegate_traffic_arm_requests_total";
/// Rollouts that have ended while this gateway followed them, and finished ones that a promotion has lost.
/// Counter; label `outcome`: `done`, `aborted`, `stopped`, `expired` or `lost`.
pub const TRAFFIC_ROLLOUTS: &str = "tidegate_traffic_rollouts_total";
/// Rollouts that this gateway has vetoed. Counter; label `cause`: `errors`, `latency` or `tail`.
pub const TRAFFIC_VETOES: &str = "tidegate_traffic_vetoes_total";
/// Revisions that this gateway has refused, once for each version of a row. Counter; label `reason`:
/// `size`, `digest`, `invalid`, `test`, `language`, `unsigned`, `signature`, `floor` or `changed`.
pub const TRAFFIC_REVISION_REFUSED: &str = "tidegate_traffic_revision_refused_total";
/// Uses of the state file of the traffic policy. Counter; label `outcome`: `written`, `failed` or `ignored`.
pub const TRAFFIC_STATE_FILE: &str = "tidegate_traffic_state_file_total";
/// 1 for the state of a region of the traffic policy, 0 for the others. Gauge; labels `region` and
/// `state`: `well`, `ramping`, `left`, `draining` or `unreachable`.
pub const REGION_STATE: &str = "tidegate_region_state";
/// Always 1; labels `version`, `region`.
pub const BUILD_INFO: &str = "tidegate_build_info";

/// Handshakes of the fleet that were refused. Counter; label `reason`: `none`, `untrusted`, `expired`,
/// `revoked`, `usage`, `no-region` or `region`.
pub const FLEET_HANDSHAKES_REFUSED: &str = "tidegate_fleet_handshakes_refused_total";
/// Time until the fleet's certificate expires, in seconds; negative afterwards. Gauge.
pub const FLEET_CERTIFICATE_EXPIRES: &str = "tidegate_fleet_certificate_expires_seconds";
/// Requests handed to another region's gateway. Counter; labels `region` and `outcome`: `answered`, `moved`,
/// `refused`, `unknown`, `deadline`, `cancelled` or `cut`.
pub const TUNNEL_REQUESTS: &str = "tidegate_tunnel_requests_total";
/// Time from the last byte of a request that was handed on to the head of its answer. Histogram; label
/// `region`.
pub const TUNNEL_DURATION: &str = "tidegate_tunnel_duration_seconds";
/// 1 while this gateway suspects itself: it has lost more than half of the other regions. Gauge.
pub const FLEET_SUSPECT: &str = "tidegate_fleet_suspect";
/// What peers have sent and was dropped. Counter; label `reason`: `region`, `sequence`, `range`, `malformed` or
/// `flood`.
pub const FLEET_RECORDS_DROPPED: &str = "tidegate_fleet_records_dropped_total";
/// The smallest round trip of the last hour. Gauge; label `region`.
pub const FLEET_ROUND_TRIP: &str = "tidegate_fleet_round_trip_seconds";
/// Connections to gateways of other regions. Gauge; labels `region` and `state`: `open`, `dialling` or `lost`, which
/// waits to be dialled again.
pub const FLEET_STREAMS: &str = "tidegate_fleet_streams";
/// Bytes on connections of the fleet, as HTTP/2 sends them inside TLS. Counter; label `direction`: `in` or `out`.
pub const FLEET_BYTES: &str = "tidegate_fleet_bytes_total";
/// Probes of regions that have left. Counter.
pub const FLEET_PROBES: &str = "tidegate_fleet_probes_total";
