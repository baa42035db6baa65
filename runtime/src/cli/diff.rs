//! `sidestream diff OLD NEW`: what a reload would do.

use std::path::PathBuf;

use super::run::files::Files;
use super::{OK, Output, OutputArgs, WRONG_CONFIG, print, print_diagnostics, print_json};
use crate::config::{Changes, Deployment, Diagnostic, Severity};
use crate::plugin::registry::Registry;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file that a worker runs.
    old: PathBuf,
    /// The file that would take its place.
    new: PathBuf,
    /// A file that stands beside both; can be given more than once.
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args, built_in: &Registry) -> u8 {
    let load = |file: &PathBuf| {
        let paths = std::iter::once(file).chain(&args.with).cloned().collect();
        complete(Files::new(paths, built_in.clone()).load_whole())
    };
    match (load(&args.old), load(&args.new)) {
        (Ok(old), Ok(new)) => {
            let changes = Changes::between(&old, &new);
            match args.output.output {
                Output::Human => print(&changes.to_string()),
                Output::Json => print_json(&changes),
            }
            OK
        }
        (old, new) => {
            let diagnostics: Vec<Diagnostic> =
                [old, new].into_iter().filter_map(Result::err).flatten().collect();
            match args.output.output {
                Output::Human => print_diagnostics(&diagnostics),
                Output::Json => print_json(&diagnostics),
            }
            WRONG_CONFIG
        }
    }
}

/// A plugin that is not there is an error here: nobody would see the difference.
fn complete(loaded: Result<Deployment, Vec<Diagnostic>>) -> Result<Deployment, Vec<Diagnostic>> {
    let deployment = loaded?;
    if deployment.unavailable.is_empty() {
        return Ok(deployment);
    }
    Err(deployment.diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect())
}
