//! SIGTERM and SIGINT → drain.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Drain;

/// Begins the drain on the first SIGTERM or SIGINT and returns on the second, which means that the
/// process should end at once, regardless of requests in flight.
///
/// # Errors
/// If the handlers cannot be installed.
pub async fn drain_on_signals(drain: &Drain) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let first = either(&mut terminate, &mut interrupt).await;
    tracing::info!(
        signal = first,
        "draining; a second signal ends the process at once"
    );
    drain.begin();
    let second = either(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = second, "ending at once on a second signal");
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_begins_the_drain_and_the_second_ends_it() {
        let drain = Drain::new();
        let mut signals = pin!(drain_on_signals(&drain));
        // The first poll installs the handlers; without them the signal would end the test.
        assert!(signals.as_mut().now_or_never().is_none());
        raise(Signal::SIGTERM).unwrap();
        tokio::select! {
            () = drain.begun() => {}
            _ = &mut signals => panic!("one signal must not end the process"),
        }
        raise(Signal::SIGINT).unwrap();
        signals.await.unwrap();
    }
}
