//! What is said where the cluster that is meant cannot be reached: once, and by name.

use std::{net::TcpListener, path::Path, process::Command};

use super::support::folder;

/// Runs the program where no environment names a cluster: its exit code, and what it says.
fn said(home: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netpol-verify"));
    for name in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "RUST_LOG", "NETPOL_VERIFY_NAMESPACE"] {
        command.env_remove(name);
    }
    let ran = command.args(args).current_dir(home).env("HOME", home).env("NO_COLOR", "1").output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn an_api_server_that_nobody_is_at_is_told_once_with_its_address_and_context() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, current-context: dev,
          clusters: [{{name: c, cluster: {{server: 'http://{nobody}'}}}}], users: [{{name: u, user: {{token: x}}}}],
          contexts: [{{name: dev, context: {{cluster: c, user: u}}}}, {{name: test, context: {{cluster: c, user: u}}}}]}}"
    );
    let home = folder(&[("kc.yaml", &kubeconfig)]);
    for (command, context) in [
        (&["list", "--live"][..], "dev"),
        (&["status"], "dev"),
        (&["probe", "a/b", "c/d", "80", "--context", "test"], "test"),
    ] {
        let (code, text) = said(home.path(), &[command, &["--kubeconfig", "kc.yaml"]].concat());
        assert_eq!((code, text.lines().count()), (Some(3), 1), "{text}");
        let told = format!("no connection to the API server http://{nobody} of context {context}: Connection refused");
        assert!(text.contains(&told) && text.contains("(--context, --kubeconfig)?"), "{text}");
    }
    let (code, text) = said(home.path(), &["list", "--live", "--kubeconfig", "kc.yaml", "--context", "prod"]);
    assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("kc.yaml: there is no context `prod`: it has dev, test"), "{text}");
}

#[test]
fn a_cluster_that_nothing_names_is_told_once_with_what_to_do() {
    let home = folder(&[]);
    for more in [&[][..], &["--context", "prod"]] {
        let (code, text) = said(home.path(), &[&["list", "--live"], more].concat());
        assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains("give --kubeconfig FILE, set KUBECONFIG, or run in a pod"), "{text}");
        assert_eq!(text.matches("/.kube/config").count(), 1, "{text}");
    }
    let (_, text) = said(home.path(), &["list", "--live", "--kubeconfig", "none.yaml"]);
    assert!(text.contains("none.yaml: the kubeconfig cannot be read: "), "{text}");
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
}
