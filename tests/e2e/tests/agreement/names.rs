//! Names of namespaces: as they are drawn, and as they are in the cluster, where other runs may be.

use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};

/// As many namespaces as are drawn, at most.
const MOST: usize = 10;

/// What this run calls its namespaces.
pub struct Names(Vec<(String, String)>);

impl Names {
    /// Names that no other run has. Calico, up to 3.31, takes policies of one order by the names of their namespaces,
    /// with global ones at `default`: some are before that, some after.
    pub fn of_this_run() -> Self {
        let process = std::process::id();
        let name = |number: usize| format!("{}-{process}-ns-", if number.is_multiple_of(2) { "agree" } else { "too" });
        Self((0..MOST).map(|number| (format!("\"ns-{number}"), format!("\"{}{number}", name(number)))).collect())
    }

    /// Drawn objects under their names in the cluster.
    pub fn real<T: Serialize + DeserializeOwned>(&self, drawn: &[T]) -> Result<Vec<T>> {
        renamed(drawn, self.0.iter().map(|(drawn, real)| (drawn, real)))
    }

    /// Objects of the cluster under the names that they were drawn with.
    pub fn drawn<T: Serialize + DeserializeOwned>(&self, real: &[T]) -> Result<Vec<T>> {
        renamed(real, self.0.iter().map(|(drawn, real)| (real, drawn)))
    }
}

fn renamed<'a, T: Serialize + DeserializeOwned>(
    objects: &[T],
    pairs: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<T>> {
    let text = serde_json::to_string(objects)?;
    Ok(serde_json::from_str(&pairs.fold(text, |text, (from, to)| text.replace(from.as_str(), to)))?)
}
