//! The servers of a pod.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::net::dns::{self, Names};
use crate::net::wire::Place;
use crate::net::{Protocol, dns::DATAGRAM};

const DNS_PORT: u16 = 53;

/// Listens wherever the pod is to, and goes on in tasks of this thread.
pub(super) async fn all(place: &Place, names: &Rc<RefCell<Names>>) -> Result<(), String> {
    let mut ports = place.ports.clone();
    if place.dns {
        ports.extend([(Protocol::Tcp, DNS_PORT), (Protocol::Udp, DNS_PORT)]);
    }
    ports.sort_unstable();
    ports.dedup();
    for &address in &place.addresses {
        for &(protocol, port) in &ports {
            let at = SocketAddr::new(address, port);
            let names = (place.dns && port == DNS_PORT).then(|| Rc::clone(names));
            let bound = match protocol {
                Protocol::Tcp => TcpListener::bind(at).await.map(|listener| tcp(listener, names)),
                Protocol::Udp => UdpSocket::bind(at).await.map(|socket| udp(socket, names)),
            };
            bound.map_err(|cause| format!("it does not listen on {at} ({protocol:?}): {cause}"))?;
        }
    }
    Ok(())
}

fn tcp(listener: TcpListener, names: Option<Rc<RefCell<Names>>>) {
    tokio::task::spawn_local(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            match names.clone() {
                None => drop(tokio::task::spawn_local(hold(stream))),
                Some(names) => drop(tokio::task::spawn_local(dns_over_tcp(stream, names))),
            }
        }
    });
}

async fn hold(mut stream: TcpStream) -> io::Result<()> {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

async fn dns_over_tcp(mut stream: TcpStream, names: Rc<RefCell<Names>>) -> io::Result<()> {
    loop {
        let mut query = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut query).await?;
        let answer = dns::answer(&query, &names.borrow(), usize::from(u16::MAX));
        if let Some(answer) = answer {
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
        }
    }
}

fn udp(socket: UdpSocket, names: Option<Rc<RefCell<Names>>>) {
    tokio::task::spawn_local(async move {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            // An error here is an ICMP answer to what was sent before; the next datagram is none the worse.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
            let received = buffer.get(..length).unwrap_or_default();
            let answer = match &names {
                None => Some(received.to_vec()),
                Some(names) => dns::answer(received, &names.borrow(), DATAGRAM),
            };
            if let Some(answer) = answer {
                drop(socket.send_to(&answer, from).await);
            }
        }
    });
}
