//! The exec adapter against a server that speaks the API server's WebSocket.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use netpol_verify::probe::{
    Candidate, ExecFault, ExecProber, Limits, Outcome, ProbePod, SourcePod, Target, ToolCache, Wave,
};
use probe_server::{Reply, Step, exit, no_executable, server, status, success};
use tokio::net::TcpListener;

use crate::probe_server;

fn source() -> SourcePod {
    SourcePod { namespace: "shop".into(), name: "cart-0".into(), container: "app".into(), node: Some("n1".into()) }
}

fn targets(count: u16) -> Vec<Target> {
    let one = |port| Target::tcp("10.0.3.7".parse().unwrap(), port, Duration::from_secs(2)).unwrap();
    (1..=count).map(one).collect()
}

fn begin(count: u16) -> Step {
    Step::Out(format!("probe/1 {count} openbsd\n").into_bytes())
}

fn open(index: u16) -> Step {
    let line = format!(
        "target {index} tcp:10.0.3.7:{index}:2 openbsd 10 0 Connection to 10.0.3.7 {index} port [tcp/*] succeeded!\n"
    );
    Step::Out(line.into_bytes())
}

fn done(count: u16) -> Step {
    Step::Out(format!("done {count}\n").into_bytes())
}

fn prober(client: kube::Client, deadline: Duration) -> ExecProber {
    ExecProber::new(client, Limits { deadline, ..Limits::default() })
}

/// Runs one exec against these steps; whatever happens it must end well before its time limit.
async fn run(steps: Vec<Step>, count: u16) -> Result<Vec<(Outcome, String)>, ExecFault> {
    let (client, _) = server(move |_| Reply::Frames(steps.clone())).await;
    let prober = prober(client, Duration::from_secs(600));
    let (source, targets) = (source(), targets(count));
    let exec = prober.exec(&source, &targets);
    let seen = tokio::time::timeout(Duration::from_secs(10), exec).await.expect("it hung")?;
    Ok(seen.into_iter().map(|o| (o.outcome, o.text)).collect())
}

fn outcomes(seen: &[(Outcome, String)]) -> Vec<Outcome> {
    seen.iter().map(|(outcome, _)| *outcome).collect()
}

#[tokio::test]
async fn answers_come_back_and_the_request_is_the_allowed_one() {
    let steps = vec![begin(2), open(2), open(1), done(2), success()];
    let (client, seen) = server(move |_| Reply::Frames(steps.clone())).await;
    let prober = prober(client, Duration::from_secs(60));
    let found = prober.exec(&source(), &targets(2)).await.unwrap();
    assert_eq!(found.iter().map(|o| o.outcome).collect::<Vec<_>>(), [Outcome::Open; 2]);
    let uri = seen.uris.lock().unwrap().first().cloned().unwrap();
    assert!(uri.starts_with("/api/v1/namespaces/shop/pods/cart-0/exec?"), "{uri}");
    assert!(uri.contains("command=sh&command=-c&command=LC_ALL"), "{uri}");
    assert!(
        uri.ends_with("command=probe&command=wave%3A8&command=tcp%3A10.0.3.7%3A1%3A2&command=tcp%3A10.0.3.7%3A2%3A2"),
        "{uri}"
    );
    assert!(uri.contains("container=app") && uri.contains("stdout=true") && uri.contains("stderr=true"), "{uri}");
    assert!(!uri.contains("stdin=true") && !uri.contains("tty=true"), "{uri}");
}

#[tokio::test]
async fn large_error_output_neither_stalls_nor_is_kept() {
    let steps = vec![begin(1), Step::Err(vec![b'x'; 10 << 20]), open(1), done(1), success()];
    assert_eq!(outcomes(&run(steps, 1).await.unwrap()), [Outcome::Open]);
}

#[tokio::test]
async fn large_output_ends_the_exec_and_keeps_the_lines_before_it() {
    let steps = vec![begin(2), open(1), Step::Out(vec![b'x'; 10 << 20]), open(2), done(2), success()];
    let seen = run(steps, 2).await.unwrap();
    assert_eq!(outcomes(&seen), [Outcome::Open, Outcome::Cut]);
    assert!(seen[1].1.contains("more than 262144 bytes"), "{}", seen[1].1);
    // The control: below the limit the second line is read.
    let steps =
        vec![begin(2), open(1), Step::Out([vec![b'x'; 200 << 10], vec![b'\n']].concat()), open(2), done(2), success()];
    assert_eq!(outcomes(&run(steps, 2).await.unwrap()), [Outcome::Open; 2]);
}

#[tokio::test]
async fn binary_output_is_tolerated() {
    let noise = Step::Out([(0..=255).collect::<Vec<u8>>().as_slice(), b"\n"].concat());
    let steps = vec![noise.clone(), begin(1), noise, open(1), done(1), success()];
    assert_eq!(outcomes(&run(steps, 1).await.unwrap()), [Outcome::Open]);
}

#[tokio::test]
async fn a_cut_in_each_phase_ends_at_once_and_keeps_what_came() {
    use Outcome::{Cut, Open};
    let half = Step::Out(b"target 2 tcp:10.0.3.7:2:2 openbsd 10 0 Connec".to_vec());
    let phases: [(&str, Vec<Step>, [Outcome; 2]); 5] = [
        ("before anything", vec![], [Cut, Cut]),
        ("after the first line", vec![begin(2)], [Cut, Cut]),
        ("after one answer", vec![begin(2), open(1)], [Open, Cut]),
        ("within a line", vec![begin(2), open(1), half], [Open, Cut]),
        ("before the status", vec![begin(2), open(1), open(2), done(2)], [Open, Open]),
    ];
    for (phase, steps, expected) in phases {
        for end in [Step::Close, Step::Drop] {
            let abrupt = matches!(end, Step::Drop);
            let seen = run([steps.clone(), vec![end]].concat(), 2).await.unwrap();
            assert_eq!(outcomes(&seen), expected, "{phase}, abrupt: {abrupt}");
            assert!(seen.iter().all(|(o, text)| *o == Open || text.contains("closed before")), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_script_that_dies_leaves_the_rest_cut_with_its_exit_code() {
    let seen = run(vec![begin(2), open(1), exit(2)], 2).await.unwrap();
    assert_eq!(outcomes(&seen), [Outcome::Open, Outcome::Cut]);
    assert!(seen[1].1.contains("exit code 2"), "{}", seen[1].1);
}

#[tokio::test]
async fn an_exec_that_never_ends_is_ended() {
    let steps = vec![begin(2), open(1), Step::Stay];
    let (client, _) = server(move |_| Reply::Frames(steps.clone())).await;
    let started = Instant::now();
    let seen = prober(client, Duration::from_secs(1)).exec(&source(), &targets(2)).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(seen.iter().map(|o| o.outcome).collect::<Vec<_>>(), [Outcome::Open, Outcome::Cut]);
    assert!(seen[1].text.contains("did not end within 1 s"), "{}", seen[1].text);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (client, _) = server(|_| Reply::Silent).await;
    let fault = prober(client, Duration::from_secs(1)).exec(&source(), &targets(1)).await.unwrap_err();
    assert!(matches!(fault, ExecFault::NoAnswer { .. }), "{fault:?}");
    assert_eq!(fault.outcome(), Outcome::Cut);
}

#[tokio::test]
async fn refusals_keep_the_servers_message() {
    let policy = "pods \"cart-0\" is forbidden: ValidatingAdmissionPolicy 'netpol-verify-exec' with binding 'netpol-verify-exec' denied request: only the probe script";
    let rows = [
        (status(403, "Forbidden", policy), "`netpol-verify-exec`: only the probe script", Outcome::NotProbed),
        (status(404, "NotFound", "pods \"cart-0\" not found"), "pods \"cart-0\" not found", Outcome::NoSource),
        (
            status(400, "BadRequest", "container app is not valid for pod cart-0"),
            "not valid for pod",
            Outcome::NoSource,
        ),
        (
            status(500, "InternalError", "unable to upgrade connection: container not found (\"app\")"),
            "container not found",
            Outcome::NoSource,
        ),
        (status(500, "InternalError", "error dialing backend: EOF"), "error dialing backend", Outcome::Cut),
    ];
    for (reply, words, outcome) in rows {
        let (client, _) = server(move |_| reply.clone()).await;
        let fault = prober(client, Duration::from_secs(60)).exec(&source(), &targets(1)).await.unwrap_err();
        assert_eq!(fault.outcome(), outcome, "{fault:?}");
        assert!(fault.to_string().contains(words) && fault.to_string().contains("shop/cart-0"), "{fault}");
    }
}

#[tokio::test]
async fn no_server_at_all_is_a_cut_with_its_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
    let fault = prober(client, Duration::from_secs(60)).exec(&source(), &targets(1)).await.unwrap_err();
    assert!(matches!(fault, ExecFault::Connect { .. }), "{fault:?}");
    assert_eq!(fault.outcome(), Outcome::Cut);
}

#[tokio::test]
async fn a_missing_shell_is_told_from_a_failure() {
    for steps in [vec![no_executable()], vec![Step::Err(b"sh: not found".to_vec()), exit(127)], vec![exit(126)]] {
        let fault = run(steps, 1).await.unwrap_err();
        assert!(matches!(fault, ExecFault::ToolMissing { .. }), "{fault:?}");
    }
    // The control: the same codes from a script that had begun are not about the shell.
    assert_eq!(outcomes(&run(vec![begin(1), exit(127)], 1).await.unwrap()), [Outcome::Cut]);
}

#[tokio::test]
async fn too_many_targets_are_no_exec() {
    let (client, seen) = server(|_| Reply::Silent).await;
    let fault = prober(client, Duration::from_secs(1)).exec(&source(), &targets(65)).await.unwrap_err();
    assert!(matches!(fault, ExecFault::TooMany { count: 65 }));
    assert!(seen.uris.lock().unwrap().is_empty());
}

fn pod(containers: &[&str]) -> ProbePod {
    let containers = containers.iter().map(|name| Candidate { name: (*name).into(), image: format!("{name}:1") });
    ProbePod {
        namespace: "shop".into(),
        name: "cart-0".into(),
        node: Some("n1".into()),
        workload: "Deployment/cart".into(),
        containers: containers.collect(),
    }
}

/// `app` has nothing, `side` has nc without a shell.
fn mixed(uri: &str) -> Reply {
    if uri.contains("container=side") && uri.contains("command=nc") {
        let code = u8::from(uri.contains("command=2&") || uri.ends_with("command=2"));
        let text =
            if code == 0 { "Connection to 10.0.3.7 1 port [tcp/*] succeeded!" } else { "nc: Connection refused" };
        let end = if code == 0 { success() } else { exit(1) };
        Reply::Frames(vec![Step::Err(text.as_bytes().to_vec()), end])
    } else {
        Reply::Frames(vec![no_executable()])
    }
}

#[tokio::test]
async fn the_container_and_form_that_work_are_found_and_remembered() {
    let (client, seen) = server(mixed).await;
    let prober = prober(client, Duration::from_secs(60));
    let (cache, pod) = (ToolCache::default(), pod(&["app", "istio-proxy", "side"]));
    let found = prober.probe(&cache, &pod, &targets(2)).await;
    assert_eq!(found.iter().map(|o| o.outcome).collect::<Vec<_>>(), [Outcome::Open, Outcome::Refused]);
    let first = seen.uris.lock().unwrap().len();
    assert_eq!(first, 5, "app: sh, nc; side: sh, nc, nc");
    prober.probe(&cache, &pod, &targets(1)).await;
    let uris = seen.uris.lock().unwrap();
    assert_eq!(uris.len(), first + 1, "only what worked");
    assert!(uris.last().unwrap().contains("container=side"));
    assert!(uris.iter().all(|uri| !uri.contains("istio-proxy")));
}

#[tokio::test]
async fn a_pod_without_any_tool_is_asked_once() {
    let (client, seen) = server(|_| Reply::Frames(vec![no_executable()])).await;
    let prober = prober(client, Duration::from_secs(60));
    let (cache, pod) = (ToolCache::default(), pod(&["app"]));
    for _ in 0..2 {
        let found = prober.probe(&cache, &pod, &targets(2)).await;
        assert_eq!(found.iter().map(|o| o.outcome).collect::<Vec<_>>(), [Outcome::ToolMissing; 2]);
    }
    assert_eq!(seen.uris.lock().unwrap().len(), 2, "sh and nc, the first time alone");
}

#[tokio::test]
async fn more_than_one_execs_worth_of_targets_is_split() {
    let (client, seen) = server(|_| Reply::Frames(vec![Step::Out(b"probe/1 64 openbsd\n".to_vec()), success()])).await;
    let prober = prober(client, Duration::from_secs(60));
    let found = prober.probe(&ToolCache::default(), &pod(&["app"]), &targets(130)).await;
    assert_eq!(found.len(), 130);
    assert_eq!(seen.uris.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn no_more_execs_at_a_time_than_allowed() {
    let steps = vec![begin(1), Step::Wait(Duration::from_millis(100)), open(1), done(1), success()];
    let (client, seen) = server(move |_| Reply::Frames(steps.clone())).await;
    let limits = Limits { execs: 50, execs_per_node: 2, wave: Wave::default(), deadline: Duration::from_secs(60) };
    let prober = ExecProber::new(client, limits);
    let (source, targets) = (source(), targets(1));
    let all = futures::future::join_all((0..6).map(|_| prober.exec(&source, &targets))).await;
    assert!(all.into_iter().all(|seen| seen.unwrap().iter().all(|o| o.outcome == Outcome::Open)));
    assert_eq!(seen.most.load(Ordering::SeqCst), 2);
}
