//! `netpol-verify list`.

use std::{
    convert::Infallible,
    io::{self, BufWriter, Write},
    mem::ManuallyDrop,
};

use super::{Failure, Global, Output, endpoints::Wanted, sets};
use crate::{
    engine::reach::{Reach, Row},
    parallel,
    report::{flows::Format, list},
};

/// Bytes that are written at once.
const BUFFER: usize = 64 * 1024;
/// Sources whose flows are made at once: without policies each of them reaches all others.
const SOURCES: usize = 32;

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ListArgs {
    #[command(flatten)]
    set: sets::SetArgs,
    /// Only flows from this endpoint: NS/NAME of a pod or workload, NS/KIND/NAME, svc/NS/NAME, an IP address or a CIDR.
    #[arg(long, value_name = "ENDPOINT")]
    from: Option<String>,
    /// Only flows to this endpoint.
    #[arg(long, value_name = "ENDPOINT")]
    to: Option<String>,
    /// Only flows that this port is open for, such as 5432 or 53/UDP (TCP without a protocol).
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

const EXAMPLES: &str = "Examples:
  netpol-verify list -f infra/k8s
  netpol-verify list -f infra/k8s --to shop/StatefulSet/db --port 5432 -o markdown
  netpol-verify list -f infra/k8s --from shop/web -o svg > web.svg
  kubectl get ns,pods,deploy,rs,svc,networkpolicy -A -o yaml | netpol-verify list -f -
  netpol-verify list --live --context prod
  netpol-verify list -f infra/k8s --workloads live

Outputs (-o): text, json (docs/schemas/list.json), markdown, svg: a picture in which each line is a set of flows; of a large
set draw a part, with --from, --to or --port.

A dump has Calico's policies only where kubectl is told their kinds, such as globalnetworkpolicies.projectcalico.org: the
README has them all. --live looks for every kind by itself.

Pods that use their node's network count as the node: policies say nothing of it, so that only the other end's count.
Policies of Kubernetes, Calico and the network policy API count together, tier by tier; staged ones are told and do not.
A flow that hangs on HTTP, source ports or a Service without a selector is listed.
\"All ports\" is all of TCP, UDP and SCTP and, where a policy of Calico's is in the input, every other protocol; ICMP and others
are listed where a rule names them.
A workload without pods has no known address: of blocks only 0.0.0.0/0 and ::/0 hold it, also without link-local addresses.
Addresses outside are the largest sets that the policies of an endpoint do not tell apart; known pods are not among them.

Exit codes: 0 listed; 2 usage or bad input; 3 a kind of policy is not understood, or the cluster could not be read;
4 nothing to list.";

/// Prints every allowed flow.
pub async fn list(args: ListArgs, global: &Global) -> Result<u8, Failure> {
    let ListArgs { set, from, to, port } = args;
    let format = global.output.format();
    // The process ends with this command, and the system frees all at once what would take long to take apart.
    let set = ManuallyDrop::new(set.load(global).await?);
    sets::not_empty(&set)?;
    let world = ManuallyDrop::new(sets::timed("classes", || set.world(&set, None)));
    let reach = ManuallyDrop::new(sets::timed("compile", || {
        let reach = Reach::new(&world);
        reach.prepare();
        reach
    }));
    let wanted = Wanted::new(from.as_deref(), to.as_deref(), port.as_deref(), &reach, &set.snapshot);
    let (wanted, out) = (wanted.map_err(Failure::usage)?, io::stdout().lock());
    sets::written(sets::timed("decide and print", || match global.output {
        Output::Svg => draw(&reach, &wanted, out),
        _ => print(&reach, &wanted, (format, &list::nothing([&from, &to, &port].map(Option::as_deref))), out),
    }))
}

/// The picture, for which all flows have to be known.
fn draw(reach: &Reach<'_>, wanted: &Wanted, mut out: impl Write) -> io::Result<()> {
    let mut arrows = Vec::new();
    reach.rows(|row| -> io::Result<()> {
        arrows.extend(wanted.of(&row).map(|open| list::arrow(&Row { open: &open, ..row })));
        Ok(())
    })?;
    out.write_all(list::picture(arrows).as_bytes())
}

/// Writes piece by piece what all processors make, or for people that there is `nothing`.
fn print(reach: &Reach<'_>, wanted: &Wanted, (format, nothing): (Format, &str), out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER, out);
    out.write_all(list::head(format).as_bytes())?;
    let pieces = reach.points().len().div_ceil(SOURCES);
    let worker = || {
        let (mut rows, mut printer) = (reach.walk(), list::Printer::new(format));
        move |piece: usize| {
            let mut text = String::new();
            let mut visit = |row: Row<'_>| -> Result<(), Infallible> {
                if let Some(open) = wanted.of(&row) {
                    printer.row(&Row { open: &open, ..row }, &mut text);
                }
                Ok(())
            };
            // Flows from outside are the last piece.
            let Ok(()) = if piece == pieces {
                rows.incoming(&mut visit)
            } else {
                let mut sources = piece * SOURCES..(piece + 1) * SOURCES;
                sources.try_for_each(|source| rows.from(source, &mut visit))
            };
            text
        }
    };
    let mut is_first = true;
    parallel::in_order(pieces + 1, worker, |text| {
        let between = if is_first || text.is_empty() { "" } else { list::between(format) };
        is_first &= text.is_empty();
        out.write_all(between.as_bytes())?;
        out.write_all(text.as_bytes())
    })?;
    if is_first && format == Format::Text {
        out.write_all(nothing.as_bytes())?;
    }
    out.write_all(list::tail(format).as_bytes())?;
    out.flush()
}
