//! The real `netpol-verify watch`, with the account and rights that `job/watcher.yaml` gives it.

use anyhow::Result;
use tokio::process::Command;

use super::{Lab, NAMESPACE, shipped};
use crate::api::{object::text, rights::account};

/// The token of its account.
const TOKEN: &str = "watcher";

impl Lab {
    /// The watcher, ready to be started: the CronJob and its Lease are in the cluster then.
    ///
    /// # Errors
    /// The program is not built, or its files cannot be written.
    pub fn watcher(&self) -> Result<Command> {
        let (watcher, template) = (shipped("watcher.yaml")?, shipped("cronjob.yaml")?);
        self.api.know(TOKEN, &account(NAMESPACE, "netpol-verify-watch"));
        self.api.rights(|rights| rights.add(&watcher));
        let wanted = |object: &&serde_json::Value| ["CronJob", "Lease"].contains(&text(object, "/kind"));
        for object in watcher.iter().chain(&template).filter(wanted) {
            self.put(object)?;
        }
        self.verifier.watcher(TOKEN)
    }
}
