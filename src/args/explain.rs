//! `netpol-verify explain`.

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    mem::ManuallyDrop,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Failure, Global, Output, USAGE, sets};
use crate::{
    engine::{
        explain::{Answer, Question},
        reach::Reach,
    },
    input::files::open,
    parallel,
    report::explain::{Printer, SCHEMA, to_text},
};

/// Flows that are answered at once.
const PIECE: usize = 64;
/// Flows that are read at once.
const BATCH: usize = 8192;
/// Bytes of an answer: most have fewer.
const USUAL: usize = 4096;
/// Bytes of a line: many times what a flow has.
const LINE_LIMIT: u64 = 4096;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    #[command(flatten)]
    set: sets::SetArgs,
    /// The source: NS/NAME of a pod or workload, NS/KIND/NAME (kubectl's kinds and short names), an IP address, a CIDR or
    /// the name of a host outside.
    #[arg(value_name = "SRC", required_unless_present = "flows", requires_all = ["destination", "port"])]
    source: Option<String>,
    /// The destination: the same, or svc/NS/NAME, a ClusterIP or a Service's DNS name, with an answer for each
    /// of its endpoints.
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
  netpol-verify explain --live shop/web svc/redis/redis 6379

Each side is answered with the rules that pass it on, let it through or deny it, or with the policies that isolate, by tier
and file:line:column; where one more rule of a NetworkPolicy would open it, with the entry to add.

Outputs (-o): text, json or jsonl (docs/schemas/explain.json): one object a line, in the order of the flows. A Service, or a
block of addresses that the policies tell apart, has an answer for each of its parts.

Exit codes: 0 allowed (with --flows: every line could be answered); 1 denied; 2 usage or bad input; 3 a kind of policy is
not understood, or the cluster could not be read; 4 nothing to ask about.";

/// Explains one flow or many.
pub async fn explain(args: ExplainArgs, global: &Global) -> Result<u8, Failure> {
    let ExplainArgs { set, source, destination, port, flows } = args;
    sets::once(set.files().iter().chain(&flows))?;
    // The process ends with this command, and the system frees all at once what would take long to take apart.
    let set = ManuallyDrop::new(set.load(global).await?);
    sets::not_empty(&set)?;
    let world = ManuallyDrop::new(sets::timed("classes", || set.world(&set, None)));
    let reach = ManuallyDrop::new(sets::timed("compile", || Reach::new(&world)));
    let question = Question::new(&reach, &set.snapshot, &set.documents);
    if let Some(file) = flows {
        return many(&question, &file, global.output);
    }
    let [source, destination, port] = [source, destination, port].map(Option::unwrap_or_default);
    let answers = question.explain(&source, &destination, &port).map_err(Failure::usage)?;
    let mut text = Vec::new();
    told(&answers, &mut Printer::default(), global.output, &mut text).map_err(Failure::not_told)?;
    sets::printed(text)?;
    Ok(u8::from(answers.iter().any(|answer| !answer.is_allowed)))
}

/// Explains the flows of a file, line by line; a line that means nothing is told in its place, and counts as bad input.
fn many(question: &Question<'_>, file: &Path, output: Output) -> Result<u8, Failure> {
    let file_name = file.display();
    let unreadable = |error: io::Error| Failure::usage(anyhow::Error::from(error).context(file_name.to_string()));
    let mut lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(open(file).map_err(unreadable)?))
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut code = 0;
    let mut number = 0;
    loop {
        let flows = batch(&mut lines, &mut number).map_err(unreadable)?;
        if flows.is_empty() {
            break;
        }
        let pieces: Vec<&[(u64, Vec<u8>)]> = flows.chunks(PIECE).collect();
        let worker = || {
            let mut printer = Printer::default();
            let pieces = &pieces;
            move |piece: usize| answered(question, pieces.get(piece).copied().unwrap_or_default(), &mut printer, output)
        };
        let written = parallel::in_order(pieces.len(), worker, |(text, wrong)| {
            for (number, error) in wrong {
                tracing::error!("{file_name}:{number}: {error}");
                code = USAGE;
            }
            out.write_all(&text)
        });
        if written.is_err() {
            return sets::written(written);
        }
    }
    sets::written(out.flush())?;
    Ok(code)
}

/// The answers to some lines, and the lines that mean nothing. It is one text: what one thread gives to another is paid
/// for by the piece.
fn answered(
    question: &Question<'_>,
    flows: &[(u64, Vec<u8>)],
    printer: &mut Printer,
    output: Output,
) -> (Vec<u8>, Vec<(u64, String)>) {
    let (mut text, mut wrong) = (Vec::with_capacity(flows.len() * USUAL), Vec::new());
    for (number, line) in flows {
        if let Err(error) = answer(question, line, printer, output, &mut text) {
            text.extend(bad(*number, &error, output).into_bytes());
            wrong.push((*number, error));
        }
    }
    (text, wrong)
}

/// The next lines with flows, each with its number; none at the end.
fn batch(lines: &mut impl BufRead, number: &mut u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let (mut flows, mut line) = (Vec::new(), Vec::new());
    while flows.len() < BATCH {
        *number += 1;
        if !next(lines, &mut line, *number)? {
            break;
        }
        let flow = line.trim_ascii();
        if !flow.is_empty() && !flow.starts_with(b"#") {
            flows.push((*number, flow.to_vec()));
        }
    }
    Ok(flows)
}

/// Reads the next line, if there is one. One that is cut at its limit is no flow.
fn next(lines: &mut impl BufRead, line: &mut Vec<u8>, number: u64) -> io::Result<bool> {
    line.clear();
    let is_there = lines.by_ref().take(LINE_LIMIT).read_until(b'\n', line)? > 0;
    if line.len() as u64 == LINE_LIMIT {
        let what = format!("line {number} is longer than any flow: is it the right file?");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(is_there)
}

/// Appends the answers to a flow; nothing where it means nothing.
fn answer(
    question: &Question<'_>,
    line: &[u8],
    printer: &mut Printer,
    output: Output,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8 text".to_owned())?;
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err("the line has control characters: is it the right file?".to_owned());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, destination, port] = words.as_slice() else {
        return Err(format!("`{line}` is no flow: write SRC DST PORT/PROTOCOL"));
    };
    let answers = question.explain(source, destination, port).map_err(|unknown| unknown.to_string())?;
    let before = out.len();
    told(&answers, printer, output, out).map_err(|error| {
        out.truncate(before);
        error.to_string()
    })
}

fn told(answers: &[Answer], printer: &mut Printer, output: Output, out: &mut Vec<u8>) -> serde_json::Result<()> {
    for answer in answers {
        match output {
            Output::Json | Output::Jsonl => printer.json(answer, out)?,
            _ => out.extend(to_text(answer).into_bytes()),
        }
    }
    Ok(())
}

/// What stands in the place of a line that means nothing, so that the others keep theirs.
fn bad(line: u64, error: &str, output: Output) -> String {
    match output {
        Output::Json | Output::Jsonl => format!("{}\n", json!({"schema": SCHEMA, "line": line, "error": error})),
        _ => format!("error: {error}\n"),
    }
}
