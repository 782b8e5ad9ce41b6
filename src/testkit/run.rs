//! `tidegate demo`: starts the world and shows it, or takes a tour of it.

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::postgres_binaries::PostgresBinaries;
use super::screen::Screen;
use super::tour;
use super::view;
use super::world::{Ports, World};
use tidegate_model::Environment;

/// The port of the first region, unless another is requested.
const PORT_BASE: u16 = 8081;

/// The options from the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Take the tour instead of waiting for the user.
    pub tour: bool,
    /// Public port of the first region, the next two for the others, the same plus 1000 for admin;
    /// 0 for any free ports. Without it 8081, or free ports on a tour.
    pub port_base: Option<u16>,
}

/// Runs until it is interrupted, or to the end of the tour.
///
/// # Errors
///
/// Fails if something could not be started, a port is in use, or a check of the tour failed.
pub async fn run(options: Options) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = play(options) => return outcome,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    if options.tour {
        bail!("the tour was interrupted");
    }
    Ok(())
}

async fn play(options: Options) -> Result<()> {
    let mut screen = Screen::new();
    announce_installation(&mut screen)?;
    let ports = match options.port_base {
        Some(0) => Ports::Free,
        Some(base) => Ports::From(base),
        None if options.tour => Ports::Free,
        None => Ports::From(PORT_BASE),
    };
    screen.print("Starting a primary, two replicas and three gateways …")?;
    let mut world = World::start(ports).await?;
    view::print_map(&world, &mut screen)?;
    if options.tour {
        return tour::walk(&mut world, &mut screen).await;
    }
    view::print_invitation(&world, &mut screen)?;
    view::watch(world, &mut screen).await
}

/// It takes a minute, so it is announced.
fn announce_installation(screen: &mut Screen) -> Result<()> {
    if PostgresBinaries::find(&Environment::of_process())?.is_none() {
        screen.print("PostgreSQL is not on this machine: installing it …")?;
    }
    Ok(())
}
