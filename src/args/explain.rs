//! `netpol-verify explain`.

use std::{
    fs,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Failure, Global, Output, USAGE, sets};
use crate::{
    engine::{
        explain::{Answer, Question},
        reach::Reach,
    },
    parallel,
    report::explain::{SCHEMA, to_json, to_text},
};

/// Flows that are answered at once.
const PIECE: usize = 64;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    #[command(flatten)]
    set: sets::SetArgs,
    /// The source: NS/POD, NS/KIND/NAME (kubectl's kinds and short names), an IP address, a CIDR or a host name.
    #[arg(value_name = "SRC", required_unless_present = "flows", requires_all = ["destination", "port"])]
    source: Option<String>,
    /// The destination: the same, or svc/NS/NAME or a ClusterIP, with an answer for each of the Service's endpoints.
    #[arg(value_name = "DST")]
    destination: Option<String>,
    /// The port: 5432, 53/UDP, or the name that the destination declares, such as http/TCP.
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
    /// Many flows instead of one: a file (`-` for standard input) with one flow a line, `SRC DST PORT/PROTOCOL`. Blank
    /// lines and lines that begin with # are left out. With -o jsonl one JSON object a line in the same order.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "destination", "port"])]
    flows: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  netpol-verify explain -f infra/k8s shop/web shop/StatefulSet/db 5432
  netpol-verify explain -f infra/k8s shop/deploy/web svc/shop/cart http -o json
  netpol-verify explain -f infra/k8s shop/web 203.0.113.7 443/TCP
  netpol-verify explain -f infra/k8s --flows flows.txt -o jsonl

Each side is answered with the rules that pass it on, let it through or deny it, or with the policies that isolate, by tier
and file:line:column; where a NetworkPolicy isolates and no rule denies, with the entry to add.

Outputs (-o): text, json or jsonl (docs/schemas/explain.json): one object a line, in the order of the flows. A Service, or a
block of addresses that the policies tell apart, has an answer for each of its parts.

Exit codes: 0 allowed (with --flows: every line could be answered); 1 denied; 2 usage or bad input; 3 a kind of policy is
not understood; 4 nothing to ask about.";

/// Explains one flow or many.
pub fn explain(args: ExplainArgs, global: &Global) -> Result<u8, Failure> {
    let ExplainArgs { set, source, destination, port, flows } = args;
    let set = set.load()?;
    sets::not_empty(&set)?;
    let world = set.world(&set, None);
    let reach = Reach::new(&world);
    let question = Question::new(&reach, &set.snapshot, &set.documents);
    if let Some(file) = flows {
        return many(&question, &file, global.output);
    }
    let [source, destination, port] = [source, destination, port].map(Option::unwrap_or_default);
    let answers = question.explain(&source, &destination, &port).map_err(Failure::usage)?;
    let mut out = io::stdout().lock();
    sets::written(answers.iter().try_for_each(|answer| out.write_all(told(answer, global.output)?.as_bytes())))?;
    Ok(u8::from(answers.iter().any(|answer| !answer.is_allowed)))
}

/// Explains the flows of a file, line by line; a line that means nothing is told in its place, and counts as bad input.
fn many(question: &Question<'_>, file: &Path, output: Output) -> Result<u8, Failure> {
    let unreadable =
        |error: io::Error| Failure::usage(anyhow::Error::from(error).context(format!("{}", file.display())));
    let lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(fs::File::open(file).map_err(unreadable)?))
    };
    let lines: Vec<String> = lines.lines().collect::<Result<_, _>>().map_err(unreadable)?;
    let flows: Vec<(u64, &str)> =
        (1..).zip(lines.iter().map(String::as_str)).filter(|(_, line)| is_flow(line)).collect();
    let pieces: Vec<&[(u64, &str)]> = flows.chunks(PIECE).collect();
    let worker = || {
        |piece: usize| {
            let flows = pieces.get(piece).copied().unwrap_or_default().iter();
            flows.map(|(number, line)| (*number, answer(question, line, output))).collect::<Vec<_>>()
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut code = 0;
    let written = parallel::in_order(pieces.len(), worker, |answers| {
        answers.into_iter().try_for_each(|(number, answer)| {
            let text = answer.unwrap_or_else(|error| {
                tracing::error!("{}:{number}: {error}", file.display());
                code = USAGE;
                bad(number, &error, output)
            });
            out.write_all(text.as_bytes())
        })
    });
    sets::written(written.and_then(|()| out.flush()))?;
    Ok(code)
}

fn is_flow(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}

fn answer(question: &Question<'_>, line: &str, output: Output) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, destination, port] = words.as_slice() else {
        return Err(format!("`{line}` is no flow: write SRC DST PORT/PROTOCOL"));
    };
    let answers = question.explain(source, destination, port).map_err(|unknown| unknown.to_string())?;
    answers.iter().map(|answer| told(answer, output).map_err(|error| error.to_string())).collect()
}

fn told(answer: &Answer, output: Output) -> io::Result<String> {
    match output {
        Output::Json | Output::Jsonl => Ok(to_json(answer)? + "\n"),
        _ => Ok(to_text(answer)),
    }
}

/// What stands in the place of a line that means nothing, so that the others keep theirs.
fn bad(line: u64, error: &str, output: Output) -> String {
    match output {
        Output::Json | Output::Jsonl => format!("{}\n", json!({"schema": SCHEMA, "line": line, "error": error})),
        _ => format!("error: {error}\n"),
    }
}
