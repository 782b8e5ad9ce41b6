//! `tidegate serve`: the gateway of one region, until a signal ends it.

use super::Exit;
use crate::endpoint::RouteTables;
use crate::gateway::config::{Overrides, Settings};
use crate::gateway::{Gateway, GatewayError};
use crate::http::drain_on_signals;
use tidegate_model::ConfigError;
use tidegate_model::Environment;
use tidegate_telemetry::{LogError, init_logs};

/// Serves until the drain that a signal began is over; a second signal ends it with code 1.
pub(super) async fn serve(overrides: Overrides, environment: Environment) -> Result<(), Exit> {
    let settings = Settings::resolve(&overrides, &environment)?;
    let filter = environment.get("RUST_LOG");
    let _access_lines = init_logs(settings.log_format, filter).map_err(|error| match error {
        LogError::Filter(error) => {
            let why = format!("{error}; expected for instance `info` or `info,tidegate=debug`");
            ConfigError::variable("RUST_LOG", filter.unwrap_or_default(), why).into()
        }
        LogError::Writer(_) => Exit::failed(error),
    })?;
    let gateway = Gateway::assemble(settings).await?;
    let drain = gateway.drain();
    let reload = move || RouteTables::load(&overrides, &environment);
    tokio::select! {
        ended = gateway.serve(reload) => Ok(ended?),
        second = drain_on_signals(&drain) => match second {
            Ok(()) => Err(Exit::failed("ended by a second signal")),
            Err(error) => Err(Exit::failed(format_args!("signals: {error}"))),
        },
    }
}

impl From<GatewayError> for Exit {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Config(error) => error.into(),
            GatewayError::Tls(_) | GatewayError::Listen(..) | GatewayError::Fleet(_) => {
                Self::unusable(error)
            }
            GatewayError::Recorder(_)
            | GatewayError::Verifier(_)
            | GatewayError::TokenKeys(_)
            | GatewayError::Pool(_)
            | GatewayError::Traces(_)
            | GatewayError::Signals(_) => Self::failed(error),
        }
    }
}
