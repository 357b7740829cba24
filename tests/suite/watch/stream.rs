//! The loop with its watches, its sign of life, and its page.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use netpol_verify::{
    state::SystemClock,
    watch::{Board, Life, Places, Signal, Watcher, follow, last_sign, serve},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::watch::{
    api::Fault,
    world::{NAMESPACE, World, config},
};

/// A watcher with everything that belongs to it; it ends when this is dropped.
struct Running {
    board: Arc<Board>,
    _tasks: JoinSet<()>,
}

fn start(world: &World) -> Running {
    let (config, clock, board) = (config(""), SystemClock::new(), Arc::new(Board::default()));
    let place = (NAMESPACE, "netpol-verify");
    let mut watcher =
        Watcher::new(world.api.client(), world.source(), clock, &config, place, "pod-1", Arc::clone(&board));
    let signal = Signal::default();
    let places = Places { namespace: NAMESPACE.to_owned(), kustomizations: config.kustomizations };
    let noted = Arc::clone(&board);
    let mut tasks = follow(&world.api.client(), &places, &signal, move |event| match event {
        Ok(()) => noted.moved("2026-11-20T10:00:00Z"),
        Err(_) => noted.trouble(),
    });
    tasks.spawn(async move { watcher.watch(&signal).await });
    Running { board, _tasks: tasks }
}

/// Waits until there are so many Jobs, and gives the newest one's name and how long that took.
async fn until_jobs(world: &World, count: usize) -> (String, Duration) {
    let began = Instant::now();
    let before = world.jobs();
    loop {
        let jobs = world.jobs();
        assert!(jobs.len() <= count, "{jobs:?}");
        if jobs.len() == count {
            let new = jobs.iter().find(|job| !before.contains(job)).unwrap_or(&jobs[0]).clone();
            return (new, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no Job within 20 s: {jobs:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_merge_has_its_job_within_a_second_also_after_the_watch_expired() {
    let world = World::new().await;
    let running = start(&world);
    let (job, _) = until_jobs(&world, 1).await;
    let mut known = job;
    for (n, fault) in [None, Some(Fault::Expired), Some(Fault::Status(410))].into_iter().enumerate() {
        world.check(&known, u64::try_from(n).unwrap() + 1, &format!("r{n}"), "d0");
        if let Some(fault) = fault {
            let lists = world.api.requests("fieldSelector=metadata.name%3Dnetwork-policies&limit=1").len();
            world.api.fault("GET", "/kustomizations?&watch=true", fault, 1);
            let began = Instant::now();
            while world.api.requests("fieldSelector=metadata.name%3Dnetwork-policies&limit=1").len() == lists {
                assert!(
                    began.elapsed() < Duration::from_secs(10),
                    "it did not list anew: {:?}",
                    world.api.requests("kustom")
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        world.apply(&format!("r{}", n + 1), "d0");
        let (job, took) = until_jobs(&world, n + 2).await;
        // The server in memory answers a watch that has no news only every second.
        assert!(took < Duration::from_millis(2500), "{took:?}");
        known = job;
    }
    assert_eq!(running.board.now().troubles, 0, "an expired version is no trouble");
    assert!(running.board.now().event.is_some());
}

#[tokio::test]
async fn an_api_server_that_is_away_for_a_while_is_waited_for() {
    let world = World::new().await;
    let running = start(&world);
    let (job, _) = until_jobs(&world, 1).await;
    world.api.fault("GET", "/", Fault::Status(500), usize::MAX);
    world.check(&job, 1, "r0", "d0");
    world.apply("r1", "d1");
    let began = Instant::now();
    while running.board.now().troubles < 4 {
        assert!(began.elapsed() < Duration::from_secs(20), "it notices");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.jobs().len(), 1);
    world.api.no_faults();
    until_jobs(&world, 2).await;
}

#[tokio::test]
async fn it_gives_a_sign_of_life_and_a_page_of_figures() {
    let world = World::new().await;
    let now = || jiff::Timestamp::now();
    assert_eq!(last_sign(world.api.client(), NAMESPACE, now()).await.unwrap(), Life::Silent, "as job/ ships it");
    let running = start(&world);
    until_jobs(&world, 1).await;
    let began = Instant::now();
    let sign = loop {
        if let Life::Sign(sign) = last_sign(world.api.client(), NAMESPACE, now()).await.unwrap() {
            break sign;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no sign of life");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(sign.is_alive && sign.holder == "pod-1", "{sign:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, Arc::clone(&running.board)));
    let ask = async |line: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let metrics = ask("GET /metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("netpol_verify_jobs_created_total{reason=\"merge\"} 1"), "{metrics}");
    for (line, status) in
        [("GET /healthz", 200), ("GET /readyz", 200), ("GET /", 404), ("POST /metrics", 405), ("GET /healthz?x", 200)]
    {
        let answer = ask(line).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
    }
    // One that connects and says nothing keeps nobody from asking.
    let silent = futures::future::join_all((0..8).map(|_| TcpStream::connect(address))).await;
    assert!(ask("GET /healthz").await.starts_with("HTTP/1.1 200"));
    drop(silent);
    server.abort();
}
