//! `[fleet]`: what an operator may set about the policy store.

use std::path::PathBuf;

use tidegate_model::settings::Setting;

/// The fleet's name.
pub const FLEET_NAME: Setting = Setting {
    key: "fleet.name",
    default: || "\"default\"".to_owned(),
    range: || "one word".to_owned(),
    meaning: "The fleet's name: in signatures and in the state file. One for all of its gateways.",
    ..Setting::UNNAMED
};

/// Where the state file is.
pub const STATE_DIR: Setting = Setting {
    key: "fleet.state_dir",
    default: || "none".to_owned(),
    range: || "the path of a directory".to_owned(),
    meaning: "The directory of `traffic-policy.json`, the last policy in force: a gateway that starts without \
              a database goes on with it.",
    ..Setting::UNNAMED
};

/// The keys of `[fleet]` that are about the policy store, as the file names them.
pub const FLEET_STORE: &[Setting] = &[
    Setting {
        key: "name",
        ..FLEET_NAME
    },
    Setting {
        key: "state_dir",
        ..STATE_DIR
    },
    Setting {
        key: "trusted_keys",
        default: || "[]".to_owned(),
        range: || "Ed25519 public keys in base64, as `tidegate policy key` prints them".to_owned(),
        meaning: "Whose signatures of revisions count; with none, revisions need no signature. Read again on \
                  SIGHUP.",
        ..Setting::UNNAMED
    },
];

/// What a gateway needs to know of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreSettings {
    /// Where the state file is.
    pub state_dir: Option<PathBuf>,
}
