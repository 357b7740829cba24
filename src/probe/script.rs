//! The two command lines that run in pods.
//!
//! The script asks the tools that the pod has; it decides nothing. Its output is
//!
//! ```text
//! probe/1 COUNT TOOL
//! target INDEX TARGET TOOL ELAPSED_MS EXIT_STATUS TEXT…      in any order
//! done COUNT
//! ```
//!
//! It needs no file system to write to, only shell builtins, `sleep` and a tool, and kills what outlives its limit:
//! a client that hangs up kills nothing in the pod (semantics §7). `-` stands for a time that could not be told.

use std::{sync::LazyLock, time::Duration};

use super::target::{Target, Wave, What};

/// The most targets of one exec.
pub const MAX_TARGETS: usize = 64;

/// Scripts of earlier releases, which an admission policy still has to let through while both are in use.
pub const PREVIOUS: &[&str] = &[];

/// Finding out which tool there is: at most four candidates of 2 s.
const DETECTION: Duration = Duration::from_secs(8);

/// What the script's own limits may add to the limit of the try (6 s for a tool to start in), and forks.
const GRACE: Duration = Duration::from_secs(7);

/// The way to the pod and back, on a busy node.
const SLACK: Duration = Duration::from_secs(7);

static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let code = include_str!("script.sh").lines().map(str::trim_start);
    let kept: Vec<&str> = code.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    kept.join("\n")
});

/// The script, as the third element of the command. It travels in the URL, so comments and indentation are gone.
#[must_use]
pub fn script() -> &'static str {
    &SCRIPT
}

/// `sh -c SCRIPT probe wave:N TARGET…`.
#[must_use]
pub fn command(targets: &[Target], wave: Wave) -> Vec<String> {
    let head = ["sh", "-c", script(), "probe"].map(str::to_owned);
    head.into_iter().chain([wave.to_string()]).chain(targets.iter().map(Target::to_string)).collect()
}

/// `nc -zvnw2 IP PORT`, for pods with `nc` but without a shell; `None` for what is not TCP.
#[must_use]
pub fn nc_command(target: &Target) -> Option<Vec<String>> {
    let What::Tcp(address, port) = target.what() else { return None };
    Some(vec!["nc".to_owned(), format!("-zvnw{}", target.seconds()), address.to_string(), port.to_string()])
}

/// The longest that the script can take, way included.
#[must_use]
pub fn time_limit(targets: &[Target], wave: Wave) -> Duration {
    let waves = targets.chunks(wave.get()).filter_map(|chunk| chunk.iter().map(Target::timeout).max());
    waves.fold(DETECTION + SLACK, |sum, longest| sum + longest + GRACE)
}

/// The longest that one `nc` of the shell-less form can take, way included.
#[must_use]
pub fn nc_time_limit(target: &Target) -> Duration {
    target.timeout() + GRACE + SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(seconds: u64) -> Target {
        Target::tcp("10.0.3.7".parse().unwrap(), 8080, Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn command_has_the_one_allowed_form() {
        let command = command(&[tcp(2), tcp(3)], Wave::default());
        assert_eq!(command.first().map(String::as_str), Some("sh"));
        assert_eq!(command.get(1).map(String::as_str), Some("-c"));
        assert_eq!(command.get(2).map(String::as_str), Some(script()));
        assert_eq!(command.get(3..).unwrap(), ["probe", "wave:8", "tcp:10.0.3.7:8080:2", "tcp:10.0.3.7:8080:3"]);
    }

    #[test]
    fn shell_less_command_is_for_tcp_alone() {
        assert_eq!(nc_command(&tcp(2)).unwrap(), ["nc", "-zvnw2", "10.0.3.7", "8080"]);
        assert_eq!(nc_command(&Target::name("a", Duration::from_secs(2)).unwrap()), None);
        assert_eq!(nc_command(&Target::dns("10.0.0.1".parse().unwrap(), 53, Duration::from_secs(2)).unwrap()), None);
    }

    #[test]
    fn time_limit_counts_waves_by_their_longest_try() {
        let sixty_four = vec![tcp(2); 64];
        assert_eq!(time_limit(&sixty_four, Wave::new(8)), Duration::from_secs(8 + 7 + 8 * 9));
        assert_eq!(time_limit(&[tcp(2), tcp(30), tcp(2)], Wave::new(2)), Duration::from_secs(15 + 37 + 9));
    }

    #[test]
    fn script_fits_a_url() {
        // Proxies in front of API servers commonly take 8 KiB of request line, targets included (43 bytes each);
        // percent-encoding grows the script.
        let encoded: usize = script().bytes().map(|b| if b.is_ascii_alphanumeric() || b == b' ' { 1 } else { 3 }).sum();
        assert!(encoded < 6500, "{encoded}");
        assert!(!script().contains("\n#"));
    }
}
