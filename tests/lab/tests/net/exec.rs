//! Commands in pods.

use std::time::{Duration, Instant};

use lab::net::{Denial, Error, Net, Output, PodSpec, Shell, Tools};
use tokio::io::AsyncReadExt as _;

use super::{PORT, ingress, pod, run};

async fn one(tools: Tools) -> Net {
    let net = Net::start().await.unwrap();
    net.add_pod(&PodSpec { tools, ..pod("shop/web-0", &["10.244.1.1"]) }).await.unwrap();
    net
}

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(ToOwned::to_owned).to_vec()
}

#[tokio::test]
async fn output_and_exit_code_come_back_apart() {
    let net = one(Tools::openbsd(Shell::Dash)).await;
    let output = run(&net, "shop/web-0", &["sh", "-c", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!(output, Output { code: 7, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() });
    let killed = run(&net, "shop/web-0", &["sh", "-c", "kill -9 $$"]).await;
    assert_eq!(killed.code, 137, "as a container runtime says it");
    let empty = run(&net, "shop/web-0", &["sh", "-c", "read -r x || echo \"nothing to read\""]).await;
    assert_eq!(empty.stdout, b"nothing to read\n");
    assert_eq!(net.exec("shop/web-0", &sh("echo lost; exit 3")).await.unwrap().wait().await.unwrap(), 3);
    let binary = run(&net, "shop/web-0", &["sh", "-c", "printf '\\000\\377\\n'"]).await;
    assert_eq!(binary.stdout, b"\0\xff\n");
}

#[tokio::test]
async fn long_output_comes_whole_and_waits_for_its_reader() {
    let net = one(Tools::bash()).await;
    let ten_megabytes = "for i in {1..10}; do printf %01000000d 0; done; echo end >&2";
    let output = run(&net, "shop/web-0", &["bash", "-c", ten_megabytes]).await;
    assert_eq!((output.code, output.stdout.len(), output.stderr.as_slice()), (0, 10_000_000, &b"end\n"[..]));
}

#[tokio::test]
async fn a_pod_has_its_own_tools_and_no_others() {
    let net = one(Tools::nc_alone()).await;
    assert_eq!(run(&net, "shop/web-0", &["nc", "-zvnw1", "10.244.1.1", &PORT.to_string()]).await.code, 0);
    for program in ["sh", "ls", "bash"] {
        let refused = net.exec("shop/web-0", &[program.to_owned()]).await.unwrap_err();
        let expected = format!("exec in pod `shop/web-0`: `{program}`: No such file or directory");
        assert_eq!(refused.to_string(), expected);
    }
    assert!(matches!(net.exec("nobody", &sh("")).await, Err(Error::Pod { .. })));

    let scripted = Tools::openbsd(Shell::Dash).with_script("nc", "echo stub \"$@\"; exit 4").without("sleep");
    net.add_pod(&PodSpec { tools: scripted, ..pod("shop/stub", &[]) }).await.unwrap();
    let output = run(&net, "shop/stub", &["sh", "-c", "nc -z x; command -v sleep"]).await;
    assert_eq!((output.code, output.stdout.as_slice()), (127, &b"stub -z x\n"[..]));
    let environment = run(&net, "shop/stub", &["sh", "-c", "echo $HOSTNAME $HOME $PWD"]).await;
    assert_eq!(environment.stdout, b"stub /\n");
}

#[tokio::test]
async fn nc_tells_the_three_outcomes_apart() {
    let net = one(Tools::openbsd(Shell::Dash)).await;
    net.add_pod(&pod("shop/db-0", &["10.244.1.2"])).await.unwrap();
    net.enforce(&ingress(&["10.244.1.2"], &[]), Denial::Drop).await.unwrap();
    let cases =
        [("10.244.1.1", "8080", "succeeded!"), ("10.244.1.1", "8081", "refused"), ("10.244.1.2", "8080", "timed out")];
    for (address, port, words) in cases {
        let output = run(&net, "shop/web-0", &["nc", "-zvnw1", address, port]).await;
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
        assert_eq!(output.code == 0, words == "succeeded!");
    }
}

/// Every dialect that the probe knows is there, and connects.
#[tokio::test]
async fn each_dialect_of_nc_connects() {
    let net = one(Tools::none()).await;
    let dialects = [
        ("openbsd", Tools::openbsd(Shell::Bash), "nc -zvnw1 10.244.1.1 8080"),
        ("traditional", Tools::traditional(Shell::Dash), "nc -zvnw1 10.244.1.1 8080"),
        ("ncat", Tools::ncat(Shell::Dash), "ncat -zvn -w 1 10.244.1.1 8080"),
        ("busybox", Tools::busybox(), "nc -w 1 10.244.1.1 8080 -e /bin/true"),
        ("bash", Tools::bash(), "bash -c 'exec 3<>/dev/tcp/10.244.1.1/8080'"),
    ];
    for (name, tools, command) in dialects {
        net.add_pod(&PodSpec { tools, ..pod(name, &[]) }).await.unwrap();
        let open = run(&net, name, &["sh", "-c", command]).await;
        assert_eq!(open.code, 0, "{name}: {open:?}");
        let closed = run(&net, name, &["sh", "-c", &command.replace("8080", "8081")]).await;
        assert_ne!(closed.code, 0, "{name}: {closed:?}");
    }
}

#[tokio::test]
async fn a_command_and_its_children_end_when_its_handle_is_dropped() {
    let net = one(Tools::openbsd(Shell::Dash)).await;
    let mut exec = net.exec("shop/web-0", &sh("sleep 300 & echo $! $$; wait")).await.unwrap();
    let mut line = String::new();
    while !line.ends_with('\n') {
        line.push(char::from(exec.stdout.read_u8().await.unwrap()));
    }
    let state = async || {
        let ids: Vec<&str> = line.split_whitespace().collect();
        let script = "for p in \"$@\"; do s=gone; read -r _ _ s _ 2>/dev/null </proc/$p/stat
            case $s in [RSD]) s=alive ;; esac
            echo $s; done";
        let output = run(&net, "shop/web-0", &[&["sh", "-c", script, "state"], ids.as_slice()].concat()).await;
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(state().await, "alive\nalive\n");
    drop(exec);
    let end = Instant::now() + Duration::from_secs(5);
    // A child that nobody reaps stays as a zombie, as in most containers.
    while state().await != "Z\ngone\n" {
        assert!(Instant::now() < end, "{}", state().await);
    }
}

#[tokio::test]
async fn a_command_is_cut_when_its_pod_goes() {
    let net = one(Tools::openbsd(Shell::Dash)).await;
    let mut exec = net.exec("shop/web-0", &sh("echo begun; sleep 300")).await.unwrap();
    let mut begun = [0; 6];
    exec.stdout.read_exact(&mut begun).await.unwrap();
    net.remove_pod("shop/web-0").await.unwrap();
    assert!(matches!(exec.output().await, Err(Error::Cut { pod, .. }) if pod == "shop/web-0"));
}
