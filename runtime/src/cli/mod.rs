//! The command line: one file a subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use connector_core::Component;

use crate::config;
use crate::plugin::discover;
use crate::plugin::registry::Registry;

mod describe;
mod diff;
mod plugins;
mod probe;
mod progress;
mod reference;
mod run;
mod schema;
mod simulate;
mod test;
mod validate;
mod verify;

/// Everything is as it should be.
pub const OK: u8 = 0;
/// The configuration is wrong, or names what there is not; or a task of a bounded run failed.
pub const WRONG_CONFIG: u8 = 1;
/// The work failed after the configuration was accepted.
pub const FAILED: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  the configuration is wrong, and every error has been printed; or a task of a bounded run failed
  2  the command line is wrong
  3  the work failed after the configuration was accepted; a bounded run was stopped before its end; verify found
     something missing or doubled, or could not look";

/// A subcommand that the program adds to the runtime's own, and what it does.
pub type Extra = (clap::Command, fn(&ArgMatches) -> ExitCode);

/// What a program brings along.
#[derive(Default)]
pub struct App {
    /// Its built-in plugins.
    pub components: Vec<Component>,
    pub extra_commands: Vec<Extra>,
}

/// Runs connectors that move data into and out of Kafka, as Kafka Connect does.
#[derive(Debug, Parser)]
#[command(name = "sidestream", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the connectors of the files until SIGTERM or SIGINT, then publish what is due and stop.
    Run(run::Args),
    /// Check files without touching the network; prints every error.
    Validate(FileArgs),
    /// Print what the running connectors would do if the files OLD were replaced by NEW; needs no worker.
    Diff(diff::Args),
    /// Take records through the converters and transforms of a connector and show them after each; no sink, no commit.
    Simulate(simulate::Args),
    /// Run the `tests:` of the files: records, and what converters and transforms are to make of them.
    Test(test::Args),
    /// Compare what is in the stores of sinks with what they have acknowledged: delivered once, missing or doubled.
    Verify(verify::Args),
    /// Ask a running worker whether it is live, started or ready: exit code 0 if so. For containers without curl.
    Probe(probe::Args),
    /// List the plugins: name, kind, version, other names, where from.
    Plugins(PluginsArgs),
    /// Show the keys of a plugin: types, defaults, what they do.
    Describe(DescribeArgs),
    /// Print the JSON schema of the YAML, for editors.
    Schema(OutputArgs),
    /// Print the reference of all keys as Markdown.
    Reference,
}

/// The files of `run`, `validate` and `verify`.
#[derive(Clone, Debug, Args)]
pub struct FileArgs {
    /// YAML with worker, topics and connectors, Connect's .properties files, or {"name", "config"} JSON documents.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// How results are printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Human,
    Json,
}

#[derive(Debug, Args)]
struct PluginsArgs {
    /// Files whose worker keys say where more plugins are.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// A short name (`s3-sink`) or a JVM class.
    plugin: String,
    /// Files whose worker keys say where more plugins are.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the program that the command line asks for.
pub fn main(app: App) -> ExitCode {
    connector_core::failpoint::set_up();
    let (extra, runs): (Vec<_>, Vec<_>) = app.extra_commands.into_iter().unzip();
    let names: Vec<String> =
        extra.iter().map(|command: &clap::Command| command.get_name().to_owned()).collect();
    let matches = match Cli::command().subcommands(extra).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    if let Some((name, arguments)) = matches.subcommand()
        && let Some(run) = names.iter().position(|n| n == name).and_then(|at| runs.get(at))
    {
        return run(arguments);
    }
    let (registry, duplicates) = Registry::built_in(app.components);
    for duplicate in duplicates {
        eprintln!("warning: {duplicate}");
    }
    let code = match Cli::from_arg_matches(&matches) {
        Ok(Cli { command }) => dispatch(command, registry),
        Err(error) => error.exit(),
    };
    ExitCode::from(code)
}

fn dispatch(command: Command, mut registry: Registry) -> u8 {
    let files = match &command {
        Command::Validate(args) => &args.files,
        Command::Verify(args) => &args.files.files,
        Command::Plugins(args) => &args.files,
        Command::Describe(args) => &args.files,
        // These read their files again, or have others to compare them with: they look for libraries themselves.
        Command::Run(_)
        | Command::Diff(_)
        | Command::Simulate(_)
        | Command::Test(_)
        | Command::Probe(_)
        | Command::Schema(_)
        | Command::Reference => &Vec::new(),
    };
    if !add_libraries(files, &mut registry) {
        return WRONG_CONFIG;
    }
    match command {
        Command::Run(args) => run::run(&args, registry),
        Command::Diff(args) => diff::run(&args, &registry),
        Command::Simulate(args) => simulate::run(&args, &registry),
        Command::Test(args) => test::run(&args, &registry),
        Command::Probe(args) => probe::run(&args),
        Command::Validate(args) => validate::run(&args, &registry),
        Command::Verify(args) => verify::run(&args, &registry),
        Command::Plugins(args) => plugins::run(args.output.output, &registry),
        Command::Describe(args) => describe::run(&args.plugin, args.output.output, &registry),
        Command::Schema(_) => schema::run(&registry),
        Command::Reference => reference::run(&registry),
    }
}

/// Loads the libraries that the files' worker keys name; false when one that `plugins:` names does not load.
fn add_libraries(files: &[PathBuf], registry: &mut Registry) -> bool {
    let Some(worker) = config::load_worker(files, &environment, &config::SecretCache::default()) else {
        return true;
    };
    let problems = discover::discover(registry, &worker);
    for warning in &problems.warnings {
        eprintln!("warning: {warning}");
    }
    for error in &problems.errors {
        eprintln!("error: {error}");
    }
    problems.errors.is_empty()
}

/// The process's environment, as configurations see it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints findings to standard error, as compilers do.
pub fn print_diagnostics(diagnostics: &[config::Diagnostic]) {
    for diagnostic in diagnostics {
        eprintln!("{diagnostic}");
    }
}

/// Prints a result to standard output; a closed pipe is no error.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end_matches('\n'));
}

fn print_json(value: &impl serde::Serialize) {
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}
