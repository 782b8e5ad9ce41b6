//! What an operator may set.

use tidegate_model::settings::Setting;

/// The policy file.
pub const TRAFFIC_POLICY: Setting = Setting {
    key: "traffic_policy",
    variable: Some("TIDEGATE_TRAFFIC_POLICY"),
    flag: Some("--traffic-policy"),
    default: || "none".to_owned(),
    range: || "the path of a policy file of at most 256 KiB".to_owned(),
    meaning: "The file of the traffic policy, which says which region serves a request. See [The traffic \
              policy](traffic-policy.md). Without one, every request is served here. Read again on SIGHUP.",
    ..Setting::UNNAMED
};

/// The address database.
pub const GEOIP_DATABASE: Setting = Setting {
    variable: Some("GEOIP_DB"),
    default: || "none".to_owned(),
    range: || "the path of a file in MaxMind's format (`.mmdb`) of at most 1 GiB".to_owned(),
    meaning: "The address database. Says where clients are, for the [traffic policy](traffic-policy.md#where-a-client-is). Read into \
              memory, again on SIGHUP.",
    ..Setting::UNNAMED
};
