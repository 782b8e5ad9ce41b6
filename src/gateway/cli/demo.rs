//! `tidegate demo`: three regions on this machine.

use super::Exit;
use super::arguments::DemoCommand;
use crate::testkit::{self, Options};

/// Runs the demo until it is interrupted, or the tour to its end.
pub(super) async fn demo(command: DemoCommand) -> Result<(), Exit> {
    let options = Options {
        tour: command.tour,
        port_base: command.port_base,
    };
    testkit::run(options)
        .await
        .map_err(|error| Exit::failed(format_args!("{error:#}")))
}
