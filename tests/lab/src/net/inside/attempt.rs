//! Connections that a pod tries by itself, many at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::net::{Protocol, Seen, Target};

/// Each takes a file descriptor.
const AT_ONCE: usize = 256;
/// A datagram may be lost for reasons that are nobody's policy.
const DATAGRAMS: u32 = 3;

/// Tries each target for at most `limit`; gives what was seen, in their order.
pub(super) async fn all(targets: Vec<Target>, limit: Duration) -> Vec<Seen> {
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let mut tries = JoinSet::new();
    let count = targets.len();
    for (number, target) in targets.into_iter().enumerate() {
        let places = Rc::clone(&places);
        tries.spawn_local(async move {
            let _place = places.acquire().await;
            (number, one(target, limit).await)
        });
    }
    let mut seen = vec![Seen::Unknown; count];
    for (number, what) in tries.join_all().await {
        if let Some(place) = seen.get_mut(number) {
            *place = what;
        }
    }
    seen
}

async fn one(target: Target, limit: Duration) -> Seen {
    let tried = match target.protocol {
        Protocol::Tcp => timeout(limit, TcpStream::connect(target.to)).await.map(|tried| tried.map(drop)),
        Protocol::Udp => timeout(limit, echo(target, limit / (DATAGRAMS + 1))).await,
    };
    match tried {
        Err(_) => Seen::Timeout,
        Ok(Ok(())) => Seen::Open,
        Ok(Err(cause)) => match cause.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Seen::Refused,
            io::ErrorKind::TimedOut => Seen::Timeout,
            // Over IPv6, "administratively prohibited" is the last of these.
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::PermissionDenied => {
                Seen::Unreachable
            }
            _ => Seen::Unknown,
        },
    }
}

async fn echo(target: Target, pause: Duration) -> io::Result<()> {
    let v4 = target.to.is_ipv4();
    let any = if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target.to).await?;
    let mut buffer = [0; 64];
    loop {
        socket.send(b"lab").await?;
        if let Ok(heard) = timeout(pause, socket.recv(&mut buffer)).await {
            return heard.map(drop);
        }
    }
}
