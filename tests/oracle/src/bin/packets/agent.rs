//! What runs inside a network namespace.

use std::cell::Cell;
use std::io::{self, BufRead as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::protocol::{Batch, Flow, Observation, Observed, Place, Protocol, Started};

/// Flows tried at once; each takes a file descriptor.
const AT_ONCE: usize = 512;
const LISTEN_BACKLOG: u32 = 1024;
/// The kernel's own range, so that no listener is there.
const FIRST_SOURCE_PORT: u16 = 32_768;
const LAST_SOURCE_PORT: u16 = 60_999;

/// Listens, then tries batches until standard input ends.
pub async fn run() -> io::Result<()> {
    LocalSet::new().run_until(serve()).await
}

async fn serve() -> io::Result<()> {
    let mut lines = input();
    let Some(first) = lines.recv().await else {
        return Ok(());
    };
    let place: Place = serde_json::from_str(&first?)?;
    match listen(&place).await {
        Ok(()) => say(&Started::Ready)?,
        Err(why) => return say(&Started::Failed(why)),
    }
    let source_ports = Rc::new(Cell::new(FIRST_SOURCE_PORT));
    while let Some(line) = lines.recv().await {
        let batch: Batch = serde_json::from_str(&line?)?;
        try_all(batch, &source_ports).await?;
    }
    Ok(())
}

/// Lines of standard input, read beside the listeners.
fn input() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

async fn listen(place: &Place) -> Result<(), String> {
    for &address in &place.addresses {
        for &port in &place.tcp {
            let listener =
                tcp_listener((address, port).into()).map_err(|cause| format!("TCP {address} port {port}: {cause}"))?;
            tokio::task::spawn_local(async move {
                loop {
                    // Accepted and closed: that it was there is all that is asked.
                    drop(listener.accept().await);
                }
            });
        }
        for &port in &place.udp {
            let bound = UdpSocket::bind((address, port)).await;
            let socket = bound.map_err(|cause| format!("UDP {address} port {port}: {cause}"))?;
            tokio::task::spawn_local(echo(socket));
        }
    }
    Ok(())
}

fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

async fn echo(socket: UdpSocket) {
    let mut buffer = [0; 64];
    loop {
        // An error here is an ICMP answer to an earlier echo; the next datagram is none the worse.
        if let Ok((length, from)) = socket.recv_from(&mut buffer).await
            && let Some(received) = buffer.get(..length)
        {
            drop(socket.send_to(received, from).await);
        }
    }
}

async fn try_all(batch: Batch, source_ports: &Rc<Cell<u16>>) -> io::Result<()> {
    let limit = Duration::from_millis(batch.timeout_ms);
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let mut tries = tokio::task::JoinSet::new();
    for (number, flow) in batch.flows {
        let (places, source_ports) = (Rc::clone(&places), Rc::clone(source_ports));
        tries.spawn_local(async move {
            let _place = places.acquire().await;
            observe(number, &flow, limit, &source_ports).await
        });
    }
    while let Some(tried) = tries.join_next().await {
        say(&tried.map_err(io::Error::other)?)?;
    }
    Ok(())
}

async fn observe(number: usize, flow: &Flow, limit: Duration, source_ports: &Cell<u16>) -> Observation {
    let tried = match flow.protocol {
        Protocol::Tcp => try_tcp(flow, limit, source_ports).await,
        Protocol::Udp => try_udp(flow, number, limit, source_ports).await,
    };
    let (observed, detail) = match tried {
        Ok(()) => (Observed::Open, None),
        Err(cause) => match cause.kind() {
            io::ErrorKind::ConnectionRefused => (Observed::Refused, None),
            io::ErrorKind::TimedOut => (Observed::Timeout, None),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (Observed::Unreachable, None),
            _ => (Observed::Error, Some(cause.to_string())),
        },
    };
    Observation { flow: number, observed, detail }
}

async fn try_tcp(flow: &Flow, limit: Duration, source_ports: &Cell<u16>) -> io::Result<()> {
    let socket = on_fresh_port(flow, source_ports, |source| {
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(source).map(|()| socket)
    })?;
    timeout(limit, socket.connect((flow.to_address, flow.port).into())).await??;
    Ok(())
}

async fn try_udp(flow: &Flow, number: usize, limit: Duration, source_ports: &Cell<u16>) -> io::Result<()> {
    let socket = on_fresh_port(flow, source_ports, |source| {
        let socket = std::net::UdpSocket::bind(source)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    })?;
    socket.connect((flow.to_address, flow.port)).await?;
    let payload = number.to_be_bytes();
    let end = Instant::now() + limit;
    // A datagram may be lost for reasons that are nobody's policy (neighbour discovery).
    let pause = limit / 4;
    while Instant::now() < end {
        socket.send(&payload).await?;
        let until = end.min(Instant::now() + pause);
        if let Ok(heard) = timeout_at(until, echoed(&socket, &payload)).await {
            return heard;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

async fn echoed(socket: &UdpSocket, payload: &[u8]) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if buffer.get(..length) == Some(payload) {
            return Ok(());
        }
    }
}

/// Opens a socket on a source port that was not used for longest.
fn on_fresh_port<T>(
    flow: &Flow,
    source_ports: &Cell<u16>,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let any =
        if flow.to_address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let address = flow.from_address.unwrap_or(any);
    for _ in FIRST_SOURCE_PORT..=LAST_SOURCE_PORT {
        let port = source_ports.get();
        source_ports.set(if port == LAST_SOURCE_PORT { FIRST_SOURCE_PORT } else { port + 1 });
        match open((address, port).into()) {
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {}
            opened => return opened,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Writes one line to the program that started this agent.
fn say(message: &impl serde::Serialize) -> io::Result<()> {
    use io::Write as _;
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}
