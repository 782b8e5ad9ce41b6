//! The `tidegate` binary: command line in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use tidegate::gateway::cli::{self, Cli};
use tidegate_model::Environment;

/// Requests constantly allocate and free large futures, which glibc does slowly: this gains a
/// tenth. A thread of its own gives memory back to the system, also while nothing is requested.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // The one TLS provider of the process; only this call can have installed it before.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let outcome = match Cli::read() {
        Ok(cli) => cli::run(cli, Environment::of_process()).await,
        Err(exit) => Err(exit),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            let _unwritable = writeln!(
                std::io::stderr(),
                "{}tidegate: {}",
                exit.report,
                tidegate_model::printable(&exit.message)
            );
            ExitCode::from(exit.code)
        }
    }
}
