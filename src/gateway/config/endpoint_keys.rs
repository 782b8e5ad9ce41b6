//! The keys of an `[[endpoint]]`, for the documentation and for errors.

use http::StatusCode;

use crate::upstream::PositionSource;
use tidegate_model::settings::Setting;

/// The status of a successful SQL endpoint unless it sets another.
pub(super) const STATUS_DEFAULT: StatusCode = StatusCode::OK;

/// The keys of an `[[endpoint]]`.
pub(super) const ENDPOINT: &[Setting] = &[
    Setting {
        key: "method",
        range: || "`GET`, `POST`, `PUT`, `PATCH` or `DELETE`; `*` with `upstream`".to_owned(),
        meaning: "Which method is answered; HEAD is wherever GET is. `*` is any method that no other endpoint \
                  of the same path names.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "path",
        range: || "a path that begins with `/`".to_owned(),
        meaning: "A template: `{name}` is one segment, `{*name}` the rest of the path. `/app/{*rest}` does not \
                  cover `/app`.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "auth",
        default: || "\"none\"".to_owned(),
        range: || "`none` or `jwt`".to_owned(),
        meaning: "Which requests are accepted: all, or those with a valid [token](security.md#clients-jwt).",
        ..Setting::UNNAMED
    },
    Setting {
        key: "sql",
        default: || "required unless `upstream`".to_owned(),
        range: || "one statement that returns rows".to_owned(),
        meaning: "The [statement](endpoints.md#sql-endpoints) that answers.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "status",
        default: || STATUS_DEFAULT.as_u16().to_string(),
        range: || "200, 201 or 202; with `sql`".to_owned(),
        meaning: "The status of a success.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "single",
        default: || "false".to_owned(),
        range: || "`true` or `false`; with `sql`".to_owned(),
        meaning: "Whether the answer is one object (no row: 404 `not-found`) instead of an array.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "body_strings",
        default: || "[]".to_owned(),
        range: || "names that the statement uses as `:body.x`; with `sql`".to_owned(),
        meaning: "Members of the body that must be JSON strings.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "settings",
        default: || "none".to_owned(),
        range: || {
            "a table of PostgreSQL settings, each with one parameter or a text; with `sql`"
                .to_owned()
        },
        meaning: "What is set for the request's transaction; see \
                  [Rows of their own for every user](api.md#rows-of-their-own-for-every-user).",
        ..Setting::UNNAMED
    },
    Setting {
        key: "role",
        default: || "the gateway's own".to_owned(),
        range: || "one claim, such as `:claims.role`; with `roles`".to_owned(),
        meaning: "The PostgreSQL role of the request's transaction. A claim that is not exactly one of `roles` \
                  is answered with 403.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "roles",
        default: || "none".to_owned(),
        range: || "names of roles that the gateway's own is a member of; with `role`".to_owned(),
        meaning: "The roles that the claim may name.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "page",
        default: || "none".to_owned(),
        range: || {
            "a table with `column`, `cursor`, `limit`, `default` and `max`; with `sql`".to_owned()
        },
        meaning: "How a list is divided into [pages](api.md#how-do-i-read-a-long-list).",
        ..Setting::UNNAMED
    },
    Setting {
        key: "upstream",
        default: || "required unless `sql`".to_owned(),
        range: || "the name of an `[[upstream]]`, or a URL in its place".to_owned(),
        meaning: "The [application](endpoints.md#upstreams) that answers.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "cache",
        default: || "false".to_owned(),
        range: || {
            "`true` or `false`; with `upstream`, without `auth`, with `GET`; with `*` on rows whose `cache_control` is `application`".to_owned()
        },
        meaning: "Whether path and query alone determine the answer; see [Applications](caching.md#applications). On rows whose `cache_control` is `application`: whether answers are [stored](caching.md#the-applications-own-rules).",
        ..Setting::UNNAMED
    },
    Setting {
        key: "position",
        default: || format!("\"{}\"", PositionSource::default()),
        range: || "`header`, `ask` or `none`; with `upstream`".to_owned(),
        meaning: "The source of the [position](api.md#how-do-i-read-my-own-writes) in a client's token: the application's \
                  `X-Database-Position`; the primary, if the application states none; or only the application's \
                  own token.",
        ..Setting::UNNAMED
    },
];
