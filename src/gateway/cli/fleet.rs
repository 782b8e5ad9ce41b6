//! `tidegate fleet`: certificates for development.

use std::io::Write;

use super::Exit;
use super::arguments::{CertificatesCommand, FleetCommand};
use crate::peers::{CertificatesPlan, write_certificates};

/// Runs one of the subcommands.
pub(super) fn fleet(command: &FleetCommand) -> Result<(), Exit> {
    match command {
        FleetCommand::Certificates(command) => certificates(command),
    }
}

fn certificates(command: &CertificatesCommand) -> Result<(), Exit> {
    let plan = CertificatesPlan {
        regions: &command.regions,
        directory: &command.out,
        authority: command.ca.as_deref(),
        days: command.days,
    };
    let files = write_certificates(&plan).map_err(Exit::failed)?;
    let lines: String = files
        .iter()
        .map(|file| format!("{}\n", file.display()))
        .collect();
    let written = std::io::stdout().write_all(lines.as_bytes());
    written.map_err(Exit::failed)
}
