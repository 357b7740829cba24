//! Starts the agents, hands the flows out and gathers what was seen.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::protocol::{Batch, Observation, Place, Request, Started};

/// Beyond the flows' own time limit, how long an agent may take to start or answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("request on standard input cannot be read: {0}")]
    Request(#[source] serde_json::Error),
    #[error("flow {flow} starts at `{from}`, which is not among the pods")]
    UnknownPlace { flow: usize, from: String },
    #[error(
        "agent `{name}` cannot be reached (is nsenter installed, is the network namespace there, is this root?): {cause}"
    )]
    Agent {
        name: String,
        #[source]
        cause: io::Error,
    },
    #[error("agent `{name}` does not listen: {why}")]
    NotListening { name: String, why: String },
    #[error("output cannot be written: {0}")]
    Output(#[source] io::Error),
}

struct Agent {
    name: String,
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// Serves every request on standard input.
pub async fn run() -> Result<(), Failure> {
    let mut agents: Vec<Agent> = Vec::new();
    for request in serde_json::Deserializer::from_reader(io::stdin().lock()).into_iter::<Request>() {
        let request = request.map_err(Failure::Request)?;
        if let Some(places) = &request.pods {
            // The old ones hold the ports.
            for agent in agents {
                agent.end().await?;
            }
            agents = start(places).await?;
        }
        let observations;
        (agents, observations) = observe(agents, request).await?;
        print(&observations).map_err(Failure::Output)?;
    }
    Ok(())
}

async fn start(places: &[Place]) -> Result<Vec<Agent>, Failure> {
    let mut starting = JoinSet::new();
    for place in places.iter().cloned() {
        starting.spawn(async move {
            let limited = timeout(PATIENCE, start_one(&place)).await;
            limited.unwrap_or_else(|_| Err(failure(&place.name, io::ErrorKind::TimedOut.into())))
        });
    }
    starting.join_all().await.into_iter().collect()
}

async fn start_one(place: &Place) -> Result<Agent, Failure> {
    let fail = |cause| failure(&place.name, cause);
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", place.netns.display()));
    command.arg("--").arg(std::env::current_exe().map_err(fail)?).arg("agent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().map_err(fail)?;
    let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
        return Err(fail(io::ErrorKind::BrokenPipe.into()));
    };
    let mut agent = Agent { name: place.name.clone(), process, input, output: BufReader::new(output).lines() };
    agent.say(place).await.map_err(fail)?;
    match agent.hear().await.map_err(fail)? {
        Started::Ready => Ok(agent),
        Started::Failed(why) => Err(Failure::NotListening { name: place.name.clone(), why }),
    }
}

async fn observe(agents: Vec<Agent>, request: Request) -> Result<(Vec<Agent>, Vec<Observation>), Failure> {
    let mut batches: BTreeMap<String, Batch> = BTreeMap::new();
    for (flow, asked) in request.flows.into_iter().enumerate() {
        if !agents.iter().any(|agent| agent.name == asked.from) {
            return Err(Failure::UnknownPlace { flow, from: asked.from });
        }
        batches.entry(asked.from.clone()).or_default().flows.push((flow, asked));
    }
    let limit = PATIENCE.saturating_add(Duration::from_millis(request.timeout_ms));
    let mut running = JoinSet::new();
    for mut agent in agents {
        let mut batch = batches.remove(&agent.name).unwrap_or_default();
        batch.timeout_ms = request.timeout_ms;
        running.spawn(async move {
            let answered = timeout(limit, agent.observe(&batch)).await;
            let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            answered.map_err(|cause| failure(&agent.name, cause)).map(|observations| (agent, observations))
        });
    }
    let mut agents: Vec<Agent> = Vec::new();
    let mut observations = Vec::new();
    for answered in running.join_all().await {
        let (agent, seen) = answered?;
        agents.push(agent);
        observations.extend(seen);
    }
    observations.sort_by_key(|observation| observation.flow);
    Ok((agents, observations))
}

impl Agent {
    /// Waits until the process is gone, and its sockets with it.
    async fn end(mut self) -> Result<(), Failure> {
        drop(self.input);
        let ended = timeout(PATIENCE, self.process.wait()).await;
        let ended = ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        ended.map(drop).map_err(|cause| failure(&self.name, cause))
    }

    async fn observe(&mut self, batch: &Batch) -> io::Result<Vec<Observation>> {
        let mut observations = Vec::new();
        if batch.flows.is_empty() {
            return Ok(observations);
        }
        self.say(batch).await?;
        while observations.len() < batch.flows.len() {
            observations.push(self.hear().await?);
        }
        Ok(observations)
    }

    async fn say(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.input.write_all(&line).await
    }

    async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> io::Result<T> {
        let line = self.output.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    }
}

fn failure(name: &str, cause: io::Error) -> Failure {
    Failure::Agent { name: name.to_owned(), cause }
}

fn print(observations: &[Observation]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for observation in observations {
        serde_json::to_writer(&mut output, observation)?;
        writeln!(output)?;
    }
    output.flush()
}
