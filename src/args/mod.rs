//! The command line: what was typed, and the parts that it puts together.
//!
//! The only module that knows every adapter.

mod admission;
mod allowlist;
mod client;
mod diff;
mod endpoints;
mod explain;
mod lint;
mod list;
mod outside;
mod places;
mod probe;
mod run;
mod sets;
mod status;
mod table;
mod watch;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub use outside::Adapters;

use client::client;

use crate::report::flows::Format;

/// Exit code of a usage error, a bad configuration or a bad input file (design §2).
pub const USAGE: u8 = 2;

/// Exit code where something could not be told.
pub const NOT_TOLD: u8 = 3;

/// Where the verifier lives if nothing else is said.
const NAMESPACE: &str = "netpol-verify";

/// Exit code where there was nothing to look at.
pub const NOTHING: u8 = 4;

/// Verifies after each merge that network policies are live, enforced, and as Git declares them.
#[derive(Debug, Parser)]
#[command(name = "netpol-verify", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

const EXIT_CODES: &str = "Begin with manifests, without a cluster:
  netpol-verify list -f infra/k8s                            what may reach what
  netpol-verify lint -f infra/k8s                            what is wrong with it
  netpol-verify diff origin/main:infra/k8s infra/k8s         what a pull request opens and closes
  netpol-verify explain -f infra/k8s shop/web shop/db 5432   why that is allowed or denied

Every command has examples, inputs and outputs in its own --help.

Exit codes of run (the other commands have theirs in their --help):
  0  verified: every touched flow was seen as declared
  1  finding: at least one open finding or drift of severity error
  2  usage, bad configuration, bad input file
  3  not-applied or inconclusive: something could not be told, or a message is still owed
  4  nothing: there was no policy or no product namespace to look at";

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify the revision that Flux applied last, once, and report.
    Run(run::RunArgs),
    /// Start a run after each merge.
    ///
    /// Makes one Job for each revision that Flux applied, or failed to apply, and that no run has looked at. It posts
    /// nothing itself and needs no token.
    Watch(watch::WatchArgs),
    /// Print what was checked and verified last, what is pending, and what is owed.
    Status(status::StatusArgs),
    /// Print every allowed flow of a set of manifests, or of the live cluster, between workloads and with addresses outside.
    List(list::ListArgs),
    /// Print the flows that two sets of manifests decide otherwise.
    ///
    /// What a pull request opens and closes, before it is merged.
    Diff(diff::DiffArgs),
    /// Say whether a flow is allowed by a set of manifests, why, and what to add where it is not.
    Explain(explain::ExplainArgs),
    /// Say what is wrong with a set of manifests.
    ///
    /// One-sided rules, rules that match nothing, namespaces without a baseline, and more below.
    Lint(lint::LintArgs),
    /// Try one flow now, from inside its source pod, and say whether it does what the live policies say.
    ///
    /// In place of `kubectl exec ... nc -zv`: with the controls that tell a denial from a dead target. It changes nothing.
    Probe(probe::ProbeArgs),
    /// Print the allow-list of namespaces as tables, with the reasons beside their rules.
    Table(table::TableArgs),
    /// Print the ValidatingAdmissionPolicies that bound what the verifier's accounts may do.
    ///
    /// Exec of nothing but the probe and in no other namespaces, and Jobs that are the CronJob's template. With
    /// substituteFrom, the Roles for its ConfigMaps.
    AdmissionPolicy(admission::AdmissionArgs),
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Kubeconfig file; in a pod its ServiceAccount is used without one.
    #[arg(long, global = true, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<std::path::PathBuf>,
    /// The kubeconfig's context.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The namespace that holds the verifier's Job, Lease and state; for table, the one whose allow-list is printed. Other
    /// commands on manifests do not look at it.
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAMESPACE",
        env = "NETPOL_VERIFY_NAMESPACE",
        default_value = NAMESPACE
    )]
    namespace: String,
    /// Form of the output. Each command has some of them.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Log format.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Log more; twice: even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Global {
    /// Whether this runs in a pod of the cluster, whose names and addresses then mean what they say.
    fn is_inside(&self) -> bool {
        self.kubeconfig.is_none() && self.context.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    }
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// The documented JSON (docs/schemas).
    Json,
    /// A Markdown table, of list, diff and table.
    Markdown,
    /// One JSON object a line, of explain --flows.
    Jsonl,
    /// SARIF 2.1.0, of lint and diff.
    Sarif,
    /// A picture (SVG), of list and diff.
    Svg,
}

impl Output {
    /// The form of flows.
    const fn format(self) -> Format {
        match self {
            Self::Text | Self::Svg => Format::Text,
            Self::Json | Self::Jsonl | Self::Sarif => Format::Json,
            Self::Markdown => Format::Markdown,
        }
    }
}

impl Command {
    /// The forms of output that the command has.
    const fn outputs(&self) -> &'static [Output] {
        match self {
            Self::Watch(_) | Self::AdmissionPolicy(_) => &[Output::Text],
            Self::Run(_) | Self::Status(_) | Self::Probe(_) => &[Output::Text, Output::Json],
            Self::Lint(_) => &[Output::Text, Output::Json, Output::Sarif],
            Self::Explain(_) => &[Output::Text, Output::Json, Output::Jsonl],
            Self::List(_) => &[Output::Text, Output::Json, Output::Markdown, Output::Svg],
            Self::Diff(_) => &[Output::Text, Output::Json, Output::Markdown, Output::Sarif, Output::Svg],
            Self::Table(_) => &[Output::Text, Output::Json, Output::Markdown],
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Parses the command line and runs the command.
pub async fn parse_and_run() -> ExitCode {
    let Cli { command, global } = Cli::try_parse().unwrap_or_else(|error| with_tip(error).exit());
    start_log(&global);
    if !command.outputs().contains(&global.output) {
        let name =
            |form: &Output| form.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let forms: Vec<String> = command.outputs().iter().map(name).collect();
        tracing::error!("this command has no -o {}: give {}", name(&global.output), forms.join(", "));
        return ExitCode::from(USAGE);
    }
    let result = match command {
        Command::Run(args) => run::run(args, &global).await,
        Command::Watch(args) => watch::watch(args, &global).await,
        Command::Status(args) => status::status(args, &global).await,
        Command::List(args) => list::list(args, &global).await,
        Command::Diff(args) => diff::diff(args, &global).await,
        Command::Explain(args) => explain::explain(args, &global).await,
        Command::Probe(args) => probe::probe(args, &global).await,
        Command::Lint(args) => lint::lint(args, &global).await,
        Command::Table(args) => table::table(&args, &global).await,
        Command::AdmissionPolicy(args) => admission::print(args, &global),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tracing::error!("{:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

/// A usage error, with what to do where a file or folder stands without the option that takes it.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let commands = Cli::command();
    let command = std::env::args().find_map(|word| commands.find_subcommand(word));
    let takes_files =
        command.is_some_and(|command| command.get_arguments().any(|known| known.get_short() == Some('f')));
    let path = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(path)) if takes_files && error.kind() == ErrorKind::UnknownArgument => path.clone(),
        _ => return error,
    };
    if std::path::Path::new(&path).exists() {
        let tip = format!("a file or folder is given with its option: -f {path}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// A command that could not be carried out, with its exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// A usage error, a bad configuration or a bad input.
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: USAGE, error: error.into() }
    }

    /// Something outside failed, so that nothing could be told.
    fn not_told(error: impl Into<anyhow::Error>) -> Self {
        Self { code: NOT_TOLD, error: error.into() }
    }
}

fn start_log(global: &Global) {
    let level = match global.verbose {
        // What a request failed with is told once, by the command.
        0 => "netpol_verify=info,warn,kube_client::client::builder=off",
        1 => "netpol_verify=debug,info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // Standard output belongs to the result.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that cannot be written is lost: to say so on the same standard error would be a panic.
    let log = log.log_internal_errors(false);
    match global.log_format {
        LogFormat::Text => log.with_target(false).with_ansi(is_coloured()).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Whether the log has colours: for a terminal that shows them, unless the person wants none (<https://no-color.org>).
fn is_coloured() -> bool {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !is_plain && !is_dumb
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
