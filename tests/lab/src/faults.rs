//! Faults on demand, and a log of all requests: what a test says must happen to the next requests of a kind.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;

/// Something that is done at a request: a signal to the verifier, a change of the cluster.
pub type Action = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Makes an action.
pub fn action<F: Future<Output = ()> + Send + 'static>(what: impl Fn() -> F + Send + Sync + 'static) -> Action {
    Arc::new(move || Box::pin(what()))
}

/// What a request gets in place of its answer.
#[derive(Clone)]
pub enum Fault {
    /// An error, in the words of the endpoint; nothing was done.
    Status(u16),
    /// The connection is closed without an answer; nothing was done.
    Reset,
    /// The true answer, late.
    Slow(Duration),
    /// No answer, for ever.
    Silent,
    /// It is done, but the connection is closed before the answer.
    DoneButCut,
    /// It is done, but the answer is an error, as when a gateway gives up.
    DoneBut(u16),
    /// 410: a list's continuation or a watch's beginning has expired.
    Gone410,
    /// The true answer, whose `items` lack the last so many.
    Shortened(usize),
    /// The first so many bytes of the true answer; then the connection is closed.
    CutAfter(usize),
    /// This answer, with 200.
    Body(Vec<u8>),
    /// 429 with so long to wait.
    Limited(Duration),
    /// The action, then the connection is closed: the request was not carried out.
    Before(Action),
    /// The request is carried out, then the action, then the connection is closed.
    After(Action),
    /// The action, then the request as usual.
    Meanwhile(Action),
    /// What happens to an exec after the protocols were switched.
    Exec(Exec),
}

/// What happens to an exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exec {
    /// The connection is dropped after so many bytes of the true standard output.
    CutAfter(usize),
    /// All output comes, then the connection is dropped without a status.
    NoStatus,
    /// Nothing comes, and nothing ends.
    Hangs,
    /// These bytes come so many times in place of the true output, then success.
    Prints(Vec<u8>, usize),
    /// The program cannot be started.
    NotFound,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "Status({code})"),
            Self::Reset => f.write_str("Reset"),
            Self::Slow(time) => write!(f, "Slow({time:?})"),
            Self::Silent => f.write_str("Silent"),
            Self::DoneButCut => f.write_str("DoneButCut"),
            Self::DoneBut(code) => write!(f, "DoneBut({code})"),
            Self::Gone410 => f.write_str("Gone410"),
            Self::Shortened(count) => write!(f, "Shortened({count})"),
            Self::CutAfter(bytes) => write!(f, "CutAfter({bytes})"),
            Self::Body(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Self::Limited(time) => write!(f, "Limited({time:?})"),
            Self::Before(_) => f.write_str("Before(…)"),
            Self::After(_) => f.write_str("After(…)"),
            Self::Meanwhile(_) => f.write_str("Meanwhile(…)"),
            Self::Exec(exec) => write!(f, "Exec({exec:?})"),
        }
    }
}

/// The faults of one endpoint. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Rule>,
    log: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    method: String,
    path: String,
    skip: usize,
    left: usize,
    fault: Fault,
}

impl Rule {
    fn is_for(&self, method: &str, line: &str) -> bool {
        let path = self.path.strip_suffix('$').map_or_else(|| line.contains(&self.path), |end| line.ends_with(end));
        path && (self.method == method || self.method == "*")
    }
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` requests of `method` (`*`: any) whose path with query contains `path`, or ends with it where
    /// it ends with `$`, get this fault. The newest rule that fits is the one that counts.
    pub fn add(&self, method: &str, path: &str, times: usize, fault: Fault) {
        self.later(method, path, 0, times, fault);
    }

    /// The same after `skip` requests that are left alone.
    pub fn later(&self, method: &str, path: &str, skip: usize, times: usize, fault: Fault) {
        let rule = Rule { method: method.to_owned(), path: path.to_owned(), skip, left: times, fault };
        self.inner().rules.insert(0, rule);
    }

    /// Everything is well again.
    pub fn clear(&self) {
        self.inner().rules.clear();
    }

    /// The requests so far whose line (`GET /path?query`) contains this.
    #[must_use]
    pub fn requests(&self, part: &str) -> Vec<String> {
        self.inner().log.iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// Whether every rule has been used up: a fault that met no request proves nothing.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.inner().rules.iter().all(|rule| rule.left == 0 || rule.left > usize::MAX / 2)
    }

    /// Logs a request, and gives the fault that it gets.
    pub(crate) fn next(&self, method: &str, line: &str) -> Option<Fault> {
        let mut inner = self.inner();
        inner.log.push(format!("{method} {line}"));
        for rule in inner.rules.iter_mut().filter(|rule| rule.left > 0 && rule.is_for(method, line)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.left -= 1;
            return Some(rule.fault.clone());
        }
        None
    }
}

/// So often that it never ends.
pub const ALWAYS: usize = usize::MAX;
