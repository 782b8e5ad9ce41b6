//! The signals that abort a rollout.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::gateway::cli::Exit;

/// Turns true on Ctrl-C, on SIGTERM, and when the terminal is closed.
pub(super) fn interrupts() -> Result<watch::Receiver<bool>, Exit> {
    let (turn, interrupted) = watch::channel(false);
    // What listens to the signal no longer ignores it, so that this is asked before.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let outlives_terminal = ignores_hangup(&status);
    let mut terminate = signal(SignalKind::terminate()).map_err(Exit::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Exit::failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Exit::failed)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv(), if !outlives_terminal => {}
        }
        turn.send_replace(true);
        // Kept, so that a receiver sees no end.
        turn.closed().await;
    });
    Ok(interrupted)
}

/// Whether a process was started so that it outlives its terminal, as by `nohup`: by its `/proc/PID/status`.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    // The lowest bit is that of signal 1.
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_under_nohup_outlives_its_terminal() {
        let status =
            |mask: &str| format!("Name:\ttidegate\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup(&status("none")));
        assert!(!ignores_hangup(""));
    }
}
