//! The program `oracle-packets`, running in the node's namespaces.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, objects::text};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// How long an answer may take, in milliseconds: packets go from one network namespace to another on one machine.
pub const TIMEOUT: u32 = 1_000;

/// The running program; its agents listen in every place and ask from there.
pub struct Packets {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Packets {
    /// Starts the program with an agent in each of these places.
    pub async fn start(cluster: &Cluster, places: &[Value]) -> Result<Self> {
        let mut command = Command::new(cluster.variable("INSIDE")?);
        command.arg(program().await?).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start oracle-packets")?;
        let (input, output) = (process.stdin.take().context("piped")?, process.stdout.take().context("piped")?);
        let mut packets = Self { _process: process, input, output: BufReader::new(output).lines() };
        packets.say(&json!({"pods": places, "flows": [], "timeout_ms": TIMEOUT})).await?;
        Ok(packets)
    }

    /// Tries each flow from a source port that is new, and gives what was observed within `timeout` milliseconds, in
    /// their order.
    pub async fn observe(&mut self, flows: &[Value], timeout: u32) -> Result<Vec<String>> {
        self.say(&json!({"flows": flows, "timeout_ms": timeout})).await?;
        let mut observed = Vec::new();
        for number in 0..flows.len() as u64 {
            let line = self.output.next_line().await?.context("oracle-packets has ended; see its words above")?;
            let line: Value = serde_json::from_str(&line)?;
            let flow = line.get("flow").and_then(Value::as_u64);
            ensure!(flow == Some(number), "oracle-packets answers flow {number} with {line}");
            observed.push(text(&line, "/observed").to_owned());
        }
        Ok(observed)
    }

    async fn say(&mut self, request: &Value) -> Result<()> {
        self.input.write_all(request.to_string().as_bytes()).await.context("oracle-packets does not listen")
    }
}

/// Builds the program into the folder that this test was built into: another package's programs come with no path.
async fn program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).context("a test lies in target/PROFILE/deps")?;
    let mut command = Command::new(std::env::var_os("CARGO").context("run this by cargo")?);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../oracle"));
    command.args(["build", "--quiet", "--package", "oracle", "--bin", "oracle-packets", "--target-dir"]).arg(target);
    ensure!(command.status().await?.success(), "oracle-packets cannot be built");
    Ok(target.join("debug/oracle-packets"))
}
