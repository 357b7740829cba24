//! Which pods of an Indexed Job have ended.

use k8s_openapi::api::batch::v1::Job;

/// What a Job's status says.
pub(super) struct Progress {
    over: bool,
    ended: Vec<(usize, usize)>,
}

impl Progress {
    /// Reads it: `completedIndexes` and `failedIndexes` are lists of numbers and ranges, as `0,3-5`.
    pub fn of(job: &Job) -> Self {
        let Some(status) = &job.status else { return Self { over: false, ended: Vec::new() } };
        let ends = ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"];
        let over = |kind: &str, state: &str| ends.contains(&kind) && state == "True";
        let lists = [&status.completed_indexes, &status.failed_indexes];
        Self {
            over: status.conditions.iter().flatten().any(|c| over(&c.type_, &c.status)),
            ended: lists.into_iter().flatten().flat_map(|list| list.split(',')).filter_map(range).collect(),
        }
    }

    /// Whether the pod with this index will not run any more.
    pub fn has_ended(&self, index: usize) -> bool {
        self.over || self.ended.iter().any(|(first, last)| (*first..=*last).contains(&index))
    }
}

fn range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(status: &serde_json::Value) -> Vec<usize> {
        let job: Job = serde_json::from_value(json!({"status": status})).unwrap();
        let progress = Progress::of(&job);
        (0..8).filter(|index| progress.has_ended(*index)).collect()
    }

    #[test]
    fn lists_of_indexes_are_read_as_the_job_controller_writes_them() {
        assert!(ended(&json!({})).is_empty());
        assert!(ended(&json!({"completedIndexes": "", "failedIndexes": ""})).is_empty());
        assert_eq!(ended(&json!({"completedIndexes": "0,3-5,7"})), [0, 3, 4, 5, 7]);
        assert_eq!(ended(&json!({"completedIndexes": "1", "failedIndexes": "2-3"})), [1, 2, 3]);
        assert_eq!(ended(&json!({"completedIndexes": "x,1-y,4"})), [4], "what cannot be read says nothing");
    }

    #[test]
    fn all_of_a_job_has_ended_that_is_about_to() {
        let with = |kind: &str, state: &str| ended(&json!({"conditions": [{"type": kind, "status": state}]})).len();
        assert_eq!((with("FailureTarget", "True"), with("Complete", "True")), (8, 8));
        assert_eq!((with("Failed", "False"), with("Suspended", "True")), (0, 0));
    }
}
