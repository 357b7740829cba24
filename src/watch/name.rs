//! Names of Jobs (design §7): the same for everyone who decides the same.

use super::decide::Observed;
use crate::report::txn::hex;

/// What every name begins with.
pub const PREFIX: &str = "netpol-verify-";

/// Hexadecimal digits of the hash.
const DIGITS: usize = 12;

/// What a Job is about: the installation, and what Flux says of every Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    hash: String,
}

impl Key {
    /// The key over the state's id and the sorted (Kustomization, revision, digest or `failed`).
    #[must_use]
    pub fn new(state_id: &str, kustomizations: &[Observed]) -> Self {
        let mut lines: Vec<String> = kustomizations.iter().map(line).collect();
        lines.sort();
        // The length keeps an id and what follows it apart.
        let hash = hex(&format!("{}:{state_id}\n{}", state_id.len(), lines.join("\n")), DIGITS / 2);
        Self { hash }
    }

    /// Whether a Job, of whatever turn, is about this.
    #[must_use]
    pub fn is_of(&self, job: &str) -> bool {
        let rest = job.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(self.hash.as_str()));
        rest.is_some_and(|rest| rest.starts_with('-'))
    }

    /// The name of the Job after run `seq`: a return to what was checked before runs again.
    #[must_use]
    pub fn job(&self, seq: u64, turn: u32) -> String {
        let first = format!("{PREFIX}{}-{seq}", self.hash);
        if turn == 0 { first } else { format!("{first}-r{turn}") }
    }

    /// Which turn after run `seq` a Job is: 0 for the first, `n` for `-rN`; `None` for another Job.
    #[must_use]
    pub fn turn(&self, seq: u64, job: &str) -> Option<u32> {
        match job.strip_prefix(self.job(seq, 0).as_str())? {
            "" => Some(0),
            rest => rest.strip_prefix("-r")?.parse().ok().filter(|turn| *turn > 0),
        }
    }
}

/// Revisions have no spaces or line breaks that Flux would write; JSON keeps apart whatever they have.
fn line(observed: &Observed) -> String {
    let status = &observed.status;
    let (revision, digest) = match &status.not_applied {
        Some(not_applied) if observed.fails => {
            (not_applied.attempted.as_ref().or(status.attempted.as_ref()), Some("failed"))
        }
        _ => (status.applied.as_ref(), status.digest.as_deref()),
    };
    serde_json::json!([status.id.to_string(), revision.map(|r| &r.0), digest]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::decide::tests::{failing, ready};

    #[test]
    fn a_name_follows_from_what_flux_says_and_from_nothing_else() {
        let key = Key::new("id", &[ready("a", "r1", "d1"), ready("b", "r1", "d2")]);
        assert_eq!(key, Key::new("id", &[ready("b", "r1", "d2"), ready("a", "r1", "d1")]), "order does not matter");
        let others = [
            Key::new("di", &[ready("a", "r1", "d1"), ready("b", "r1", "d2")]),
            Key::new("id", &[ready("a", "r2", "d1"), ready("b", "r1", "d2")]),
            Key::new("id", &[ready("a", "r1", "d1"), ready("b", "r1", "d3")]),
            Key::new("id", &[ready("a", "r1", "d1")]),
            Key::new("id", &[ready("a", "r1", "d1"), failing("b", "r1", "BuildFailed")]),
        ];
        for (place, other) in others.iter().enumerate() {
            assert!(!others[..place].contains(other) && *other != key, "{place}");
        }
        let name = key.job(17, 0);
        assert!(name.starts_with("netpol-verify-") && name.ends_with("-17"), "{name}");
        assert_eq!(name.len(), "netpol-verify-".len() + 12 + "-17".len());
        assert_eq!(key.job(17, 3), format!("{name}-r3"));
    }

    #[test]
    fn turns_are_read_back_and_other_jobs_are_not_ours() {
        let key = Key::new("id", &[ready("a", "r1", "d1")]);
        for turn in [0, 1, 12] {
            assert_eq!(key.turn(4, &key.job(4, turn)), Some(turn));
        }
        let other = Key::new("id", &[ready("a", "r2", "d1")]);
        for job in [&key.job(5, 0), &key.job(41, 0), &other.job(4, 0), "netpol-verify-29384712", "by-hand"] {
            assert_eq!(key.turn(4, job), None, "{job}");
        }
        assert_eq!(key.turn(4, &format!("{}-r0", key.job(4, 0))), None);
        assert_eq!(key.turn(4, &format!("{}-rx", key.job(4, 0))), None);
        assert!(key.is_of(&key.job(99, 2)) && !key.is_of(&other.job(4, 0)) && !key.is_of("netpol-verify-29384712"));
    }
}
