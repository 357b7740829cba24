//! A real homeserver for tests: Synapse from the Python package index, in a virtual environment that is made once and
//! kept in the user's cache folder, on a free port of this host, with its data in a temporary folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// The pinned version.
pub const VERSION: &str = "1.163.2";
/// The name that is in ids.
pub const NAME: &str = "hs.test";

/// A running homeserver; it ends with this value.
pub struct Synapse {
    /// Its base URL.
    pub base: String,
    client: Client,
    child: Option<Child>,
    python: PathBuf,
    folder: tempfile::TempDir,
}

/// An account and its token.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: String,
    pub token: String,
}

impl Synapse {
    /// Installs Synapse where that was not done yet, and starts a fresh server.
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let python = virtual_environment().join("bin/python");
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        configure(&python, folder.path(), port);
        let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let mut server = Self { base: format!("http://127.0.0.1:{port}"), client, child: None, python, folder };
        server.resume().await;
        server
    }

    /// Ends the process; its data stay.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the process again on the same port and data, and waits until it answers.
    pub async fn resume(&mut self) {
        // The server must not outlive a test that is killed: prctl(PR_SET_PDEATHSIG, SIGKILL).
        let program = "import ctypes, runpy; ctypes.CDLL(None).prctl(1, 9); \
                       runpy.run_module('synapse.app.homeserver', run_name='__main__', alter_sys=True)";
        let log = File::create(self.folder.path().join("out.log")).unwrap();
        let config = self.folder.path().join("homeserver.yaml");
        let child = Command::new(&self.python)
            .args(["-c", program, "--config-path"])
            .arg(config)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.wait_until_it_answers().await;
    }

    async fn wait_until_it_answers(&mut self) {
        let began = Instant::now();
        let url = format!("{}/_matrix/client/versions", self.base);
        while began.elapsed() < Duration::from_secs(120) {
            if self.client.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if let Some(status) = ended {
                panic!("Synapse ended with {status}:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Synapse does not answer:\n{}", self.log());
    }

    fn log(&self) -> String {
        ["out.log", "homeserver.log"]
            .iter()
            .filter_map(|name| fs::read_to_string(self.folder.path().join(name)).ok())
            .collect()
    }

    /// One request as an account; panics where the answer is no success.
    pub async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Value {
        let mut request = self.client.request(method, format!("{}/_matrix/client/v3/{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let value: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {value}\n{}", self.log());
        value
    }

    /// A new account.
    pub async fn register(&self, name: &str) -> Account {
        let body = json!({ "username": name, "password": name, "auth": { "type": "m.login.dummy" } });
        account(&self.ask(Method::POST, "register", None, Some(body)).await)
    }

    /// Another token of an account.
    pub async fn log_in(&self, name: &str) -> Account {
        let body = json!({
            "type": "m.login.password", "password": name, "identifier": { "type": "m.id.user", "user": name },
        });
        account(&self.ask(Method::POST, "login", None, Some(body)).await)
    }

    /// A new private room of version 12, whose id has no server name.
    pub async fn create_room(&self, owner: &Account, more: Value) -> String {
        let mut body = json!({ "room_version": "12", "preset": "private_chat" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let room = self.ask(Method::POST, "createRoom", Some(&owner.token), Some(body)).await;
        room["room_id"].as_str().unwrap().to_owned()
    }

    /// The messages of a room, oldest first, as an account reads them.
    pub async fn messages(&self, account: &Account, room: &str) -> Vec<Value> {
        let path = format!("rooms/{room}/messages?dir=b&limit=100");
        let page = self.ask(Method::GET, &path, Some(&account.token), None).await;
        let mut events: Vec<Value> = page["chunk"].as_array().unwrap().clone();
        events.retain(|event| event["type"] == "m.room.message");
        events.reverse();
        events
    }

    /// The text of a file on the server.
    pub async fn download(&self, account: &Account, uri: &str) -> String {
        let path = uri.strip_prefix("mxc://").unwrap();
        let url = format!("{}/_matrix/client/v1/media/download/{path}", self.base);
        let answer = self.client.get(url).bearer_auth(&account.token).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.text().await.unwrap()
    }
}

impl Drop for Synapse {
    fn drop(&mut self) {
        self.stop();
    }
}

fn account(answer: &Value) -> Account {
    Account {
        id: answer["user_id"].as_str().unwrap().to_owned(),
        token: answer["access_token"].as_str().unwrap().to_owned(),
    }
}

/// The folder with Synapse; made once, by one process at a time, and never seen half made.
fn virtual_environment() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    let cache = cache.join("netpol-verify");
    fs::create_dir_all(&cache).unwrap();
    let ready = cache.join(format!("synapse-{VERSION}"));
    let lock = File::create(cache.join(format!("synapse-{VERSION}.lock"))).unwrap();
    lock.lock().unwrap();
    if !ready.join("bin/python").exists() {
        let made = cache.join(format!(".making-synapse-{}", std::process::id()));
        run(Command::new("python3").args(["-m", "venv"]).arg(&made));
        run(Command::new(made.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("matrix-synapse=={VERSION}")));
        fs::rename(&made, &ready).unwrap();
    }
    ready
}

/// The generated configuration, with what a test needs: everybody may register, no rate limits, nothing goes out.
fn configure(python: &Path, folder: &Path, port: u16) {
    run(Command::new(python)
        .args(["-m", "synapse.app.homeserver", "--server-name", NAME, "--generate-config", "--report-stats=no"])
        .arg("--config-path")
        .arg(folder.join("homeserver.yaml"))
        .arg("--data-directory")
        .arg(folder));
    let many = json!({ "per_second": 1000, "burst_count": 1000 });
    let changes = json!({
        "listeners": [{
            "port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": false,
            "resources": [{ "names": ["client", "media"], "compress": false }],
        }],
        "trusted_key_servers": [], "suppress_key_server_warning": true, "report_stats": false,
        "federation_domain_whitelist": [], "url_preview_enabled": false, "presence": { "enabled": false },
        "database": { "name": "sqlite3", "args": { "database": folder.join("homeserver.db") } },
        "enable_registration": true, "enable_registration_without_verification": true,
        "bcrypt_rounds": 4,
        "rc_message": many, "rc_registration": many, "rc_room_creation": many,
        "rc_login": { "address": many, "account": many, "failed_attempts": many },
        "rc_joins": { "local": many, "remote": many }, "rc_invites": { "per_room": many, "per_user": many },
    });
    let program = "import json, sys, yaml; p = sys.argv[1]; c = yaml.safe_load(open(p)); \
                   c.update(json.loads(sys.argv[2])); yaml.safe_dump(c, open(p, 'w'))";
    run(Command::new(python).args(["-c", program]).arg(folder.join("homeserver.yaml")).arg(changes.to_string()));
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
