//! `sidestream`: the command line, with the built-in plugins.

mod broker;
mod builtin;
#[cfg(all(feature = "datagen", feature = "rds"))]
mod datagen;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    connector_runtime::cli::main(connector_runtime::cli::App {
        components: builtin::components(),
        extra_commands: vec![
            (broker::command(), broker::run),
            #[cfg(all(feature = "datagen", feature = "rds"))]
            (datagen::command(), datagen::run),
            (demo::command(), demo::run),
        ],
    })
}
