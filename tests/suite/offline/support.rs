//! The real program over files of a test.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Deserializer, Value};
use tempfile::TempDir;

use crate::support::schemas;

/// What the program did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub errors: String,
}

impl Ran {
    /// The output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The lines of the output.
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }
}

/// A folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// Runs the program in a folder. JSON that it prints has to be what the command's schema says.
pub fn run_in(folder: &Path, args: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_netpol-verify"))
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .env_remove("NETPOL_VERIFY_NAMESPACE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not wait for its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    };
    let form = args.iter().skip_while(|arg| **arg != "-o").nth(1);
    if let (Some(&("json" | "jsonl")), Some(command)) = (form, args.first()) {
        for value in Deserializer::from_str(&ran.out).into_iter::<Value>() {
            schemas::assert_documented(command, &value.unwrap_or_else(|error| panic!("{error}: {ran:?}")));
        }
    }
    ran
}

/// Runs the program over one text, as standard input.
pub fn over(text: &str, args: &[&str]) -> Ran {
    let (command, rest) = args.split_first().unwrap();
    run_in(Path::new("."), &[&[*command, "-f", "-"], rest].concat(), text)
}

/// A bare Pod, `namespace/name`, with more fields of `spec` and `status` in flow style.
pub fn pod(name: &str, labels: &str, spec: &str, status: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{{spec}}}\nstatus: {{{status}}}\n"
    )
}

/// A NetworkPolicy, `namespace/name`, with its `spec` in flow style.
pub fn policy(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {spec}\n"
    )
}
