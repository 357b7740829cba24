//! The API server's audit log: when did the verifier begin to probe, and did it ever do more than it may.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};

use crate::{Cluster, eventually, poll::seconds};

/// The audit log from one moment on.
pub struct Audit {
    file: PathBuf,
    from: u64,
    account: String,
}

impl Audit {
    /// Begins now, for the service accounts of one namespace.
    ///
    /// # Errors
    /// There is no audit log.
    pub fn begin(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let file = PathBuf::from(cluster.variable("AUDIT_LOG")?);
        let from = std::fs::metadata(&file).context("no audit log")?.len();
        Ok(Self { file, from, account: format!("system:serviceaccount:{namespace}:") })
    }

    /// The lines on requests of that namespace's accounts since then.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn lines(&self) -> Result<Vec<String>> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut new = Vec::new();
        file.read_to_end(&mut new)?;
        let text = String::from_utf8_lossy(&new);
        Ok(text.lines().filter(|line| line.contains(&self.account)).map(str::to_owned).collect())
    }

    /// How many Jobs one account of that namespace has made.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn jobs_made(&self, account: &str) -> Result<usize> {
        let wanted = [r#""verb":"create""#, r#""resource":"jobs""#, r#""code":201"#];
        let account = format!("{}{account}\"", self.account);
        let made = |line: &String| line.contains(&account) && wanted.iter().all(|part| line.contains(part));
        Ok(self.lines()?.iter().filter(|line| made(line)).count())
    }

    /// Waits until one of them has opened an exec into a pod.
    ///
    /// # Errors
    /// None does within half a minute.
    pub async fn first_exec(&self) -> Result<()> {
        eventually("the verifier begins to probe", seconds(30), async || {
            let is_exec = |line: &String| line.contains(r#""subresource":"exec""#);
            Ok(self.lines()?.iter().any(is_exec).then_some(()))
        })
        .await
    }
}
