//! A pod: its network, its files, and the first of its processes, which listens and runs commands.
//!
//! Like that of many images it reaps nobody: what a command leaves behind stays as a zombie.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::mount::{MountFlags, mount, mount_bind};
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::LocalSet;

use super::node::with_length;
use super::{attempt, end_with_input, feed, has_ipv6, listen, run, say};
use crate::net::Names;
use crate::net::wire::{self, Answer, HOSTS, POD_SOCKET, Place, READY, RESOLV_CONF, ToPod};

pub(super) async fn run() -> Result<(), String> {
    // The node makes the cable into this network when it knows that it is there.
    say(&READY)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|cause| format!("standard input: {cause}"))?;
    let place: Place = serde_json::from_str(&line).map_err(|cause| cause.to_string())?;
    end_with_input(|| {});
    LocalSet::new()
        .run_until(async {
            let names = Rc::new(RefCell::new(Names::new()));
            let ready = prepare(&place, &names).await;
            let answer: Answer = ready.as_ref().map(|_| ()).map_err(Clone::clone);
            say(&answer)?;
            serve(ready?, &place, &names).await
        })
        .await
}

async fn prepare(place: &Place, names: &Rc<RefCell<Names>>) -> Result<UnixListener, String> {
    let mut links = vec!["link set lo up".to_owned()];
    if has_ipv6() {
        links.push("link set eth0 addrgenmode none".to_owned());
    }
    links.extend(place.addresses.iter().map(|address| format!("addr add {} dev eth0", with_length(*address))));
    links.push("link set eth0 up".to_owned());
    // The first address of each family is the one that connections come from.
    for (all, v4) in [("0.0.0.0/0", true), ("::/0", false)] {
        if let Some(own) = place.addresses.iter().find(|address| address.is_ipv4() == v4) {
            links.push(format!("route add {all} dev eth0 src {own}"));
        }
    }
    feed("ip", &["-batch", "-"], &links.join("\n")).await?;
    // Bound before `/run` is hidden; the pod's own folder never is.
    let socket = place.folder.join(POD_SOCKET);
    let listener = UnixListener::bind(&socket).map_err(|cause| format!("{}: {cause}", socket.display()))?;
    files(&place.folder)?;
    listen::all(place, names).await?;
    Ok(listener)
}

/// Gives the pod name resolution of its own: files, and no way to a resolver of the machine's.
fn files(folder: &Path) -> Result<(), String> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |cause: io::Error| format!("{path}: {cause}")
    };
    let targets = ["/etc/resolv.conf", "/etc/hosts"].map(|path| fs::canonicalize(path).map_err(at(Path::new(path))));
    mount("lab", "/run", "tmpfs", MountFlags::empty(), None).map_err(|cause| at(Path::new("/run"))(cause.into()))?;
    for (target, name) in targets.into_iter().zip([RESOLV_CONF, HOSTS]) {
        let target = target?;
        // A link into `/run`, as systemd has it, leads into the new one.
        if !target.exists() {
            let folder = target.parent().unwrap_or_else(|| Path::new("/"));
            fs::create_dir_all(folder).and_then(|()| fs::write(&target, "")).map_err(at(&target))?;
        }
        mount_bind(folder.join(name), &target).map_err(|cause| at(&target)(cause.into()))?;
    }
    Ok(())
}

async fn serve(listener: UnixListener, place: &Place, names: &Rc<RefCell<Names>>) -> Result<(), String> {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(obey(stream, place.clone(), Rc::clone(names)));
        }
    }
}

async fn obey(stream: UnixStream, place: Place, names: Rc<RefCell<Names>>) {
    let mut stream = BufReader::new(stream);
    // Who has gone need not be answered.
    match wire::hear(&mut stream).await {
        Ok(ToPod::Names(given)) => {
            names.replace(given);
            drop(wire::say(&mut stream, &Answer::Ok(())).await);
        }
        Ok(ToPod::Try(targets, limit)) => {
            drop(wire::say(&mut stream, &Answer::Ok(())).await);
            drop(wire::say(&mut stream, &attempt::all(targets, Duration::from_millis(limit)).await).await);
        }
        Ok(ToPod::Exec(argv)) => drop(run::command(stream, &argv, &place).await),
        Err(cause) => drop(wire::say(&mut stream, &Answer::Err(cause.to_string())).await),
    }
}
