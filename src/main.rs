//! `sidestream`: the command line, with the built-in plugins.

mod broker;
mod builtin;
mod datagen;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    connector_runtime::cli::main(connector_runtime::cli::App {
        components: builtin::components(),
        extra_commands: vec![
            (broker::command(), broker::run),
            (datagen::command(), datagen::run),
            (demo::command(), demo::run),
        ],
    })
}
