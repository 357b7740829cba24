//! `netpol-verify explain`.

use std::{
    fs,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Failure, Global, Output, USAGE, sets};
use crate::{
    engine::{explain::Question, reach::Reach},
    report::explain::{SCHEMA, to_json, to_text},
};

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

Exit codes: 0 allowed (with --flows: every line could be answered); 1 denied; 2 usage or bad input; 3 a kind of policy is
not understood; 4 nothing to ask about.";

/// Explains one flow or many.
pub fn explain(args: ExplainArgs, global: &Global) -> Result<u8, Failure> {
    let ExplainArgs { set, source, destination, port, flows } = args;
    let set = set.load()?;
    sets::not_empty(&set)?;
    let world = set.world(&set, None);
    let reach = Reach::new(&world);
    let question = Question { reach: &reach, snapshot: &set.snapshot, documents: &set.documents };
    if let Some(file) = flows {
        return many(&question, &file, global.output);
    }
    let [source, destination, port] = [source, destination, port].map(Option::unwrap_or_default);
    let answers = question.explain(&source, &destination, &port).map_err(Failure::usage)?;
    let texts = answers.iter().map(|answer| match global.output {
        Output::Json | Output::Jsonl => format!("{}\n", to_json(answer)),
        _ => to_text(answer),
    });
    let mut out = io::stdout().lock();
    sets::written(texts.into_iter().try_for_each(|text| out.write_all(text.as_bytes())))?;
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
    let mut out = BufWriter::new(io::stdout().lock());
    let mut code = 0;
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let text = match answer(question, &line, output) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!("{}:{number}: {error}", file.display());
                code = USAGE;
                bad(number, &error, output)
            }
        };
        if let Err(error) = out.write_all(text.as_bytes()) {
            return sets::written(Err(error));
        }
    }
    sets::written(out.flush())?;
    Ok(code)
}

fn answer(question: &Question<'_>, line: &str, output: Output) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, destination, port] = words.as_slice() else {
        return Err(format!("`{line}` is no flow: write SRC DST PORT/PROTOCOL"));
    };
    let answers = question.explain(source, destination, port).map_err(|unknown| unknown.to_string())?;
    let text = |answer| match output {
        Output::Json | Output::Jsonl => format!("{}\n", to_json(answer)),
        _ => to_text(answer),
    };
    Ok(answers.iter().map(text).collect())
}

/// What stands in the place of a line that means nothing, so that the others keep theirs.
fn bad(line: u64, error: &str, output: Output) -> String {
    match output {
        Output::Json | Output::Jsonl => format!("{}\n", json!({"schema": SCHEMA, "line": line, "error": error})),
        _ => format!("error: {error}\n"),
    }
}
