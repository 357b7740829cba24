//! `oracle-packets` against the kernel: two network namespaces on one cable, and a packet filter between.
//!
//! Needs `unshare`, `nsenter`, `ip` and `nft`. Without root it goes on in a user namespace of its own.

#[cfg(test)]
mod packets {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

    use serde_json::{Value, json};

    /// A network namespace; it lasts as long as the process that holds it.
    struct Space(Child);

    impl Space {
        fn new() -> Self {
            let mut command = Command::new("unshare");
            // Says a word once it is inside.
            command.args(["--net", "sh", "-c", "echo in && exec sleep 600"]).stdout(Stdio::piped());
            let mut holder = command.spawn().expect("unshare is part of util-linux");
            let mut word = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut word).unwrap();
            assert_eq!(word, "in\n", "no network namespace can be made here");
            Self(holder)
        }

        fn path(&self) -> String {
            format!("/proc/{}/ns/net", self.0.id())
        }

        fn run(&self, command: &str) {
            let done = Command::new("nsenter")
                .arg(format!("--net={}", self.path()))
                .args(["sh", "-ec", command])
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "`{command}` (are iproute2 and nftables installed?): {}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
    }

    impl Drop for Space {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    /// Two namespaces, `10.9.0.1` and `fd09::1` to `10.9.0.2` and `fd09::2`.
    fn cable() -> (Space, Space) {
        let (left, right) = (Space::new(), Space::new());
        left.run(&format!("ip link add name cable type veth peer name cable netns {}", right.0.id()));
        for (space, number) in [(&left, 1), (&right, 2)] {
            space.run(&format!(
                "ip link set lo up; ip address add 10.9.0.{number}/24 dev cable;
                 ip address add fd09::{number}/64 dev cable nodad; ip link set cable up"
            ));
        }
        (left, right)
    }

    /// The running program.
    struct Program {
        process: Child,
        input: ChildStdin,
        output: BufReader<ChildStdout>,
    }

    impl Program {
        fn start() -> Self {
            let mut command = Command::new(env!("CARGO_BIN_EXE_oracle-packets"));
            let mut process =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
            Self { process, input, output }
        }

        fn observe(&mut self, request: &Value) -> Vec<String> {
            self.input.write_all(request.to_string().as_bytes()).unwrap();
            let expected = 0..request["flows"].as_array().unwrap().len();
            expected.map(|number| self.line(number)).collect()
        }

        fn line(&mut self, number: usize) -> String {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["flow"], number, "in order");
            line["observed"].as_str().unwrap().to_owned()
        }

        /// Ends the input; gives the exit code, and what else was said.
        fn end(self) -> (Option<i32>, String, String) {
            drop(self.input);
            let rest = std::io::read_to_string(self.output).unwrap();
            let done = self.process.wait_with_output().unwrap();
            (done.status.code(), rest, String::from_utf8(done.stderr).unwrap())
        }
    }

    /// True where the test is to go on; else it went on in a user namespace, and succeeded there.
    fn privileged(test: &str) -> bool {
        let id = Command::new("id").arg("-u").output().unwrap();
        if id.stdout == b"0\n" {
            return true;
        }
        let mut again = Command::new("unshare");
        again.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap()).args(["--exact", test]);
        assert!(again.status().unwrap().success(), "in a user namespace");
        false
    }

    fn flow(from: &str, to: &str, protocol: &str, port: u16) -> Value {
        json!({"from": from, "to_address": to, "protocol": protocol, "port": port})
    }

    fn pods(left: &Space, right: &Space) -> Value {
        json!([
            {"name": "left", "netns": left.path(), "addresses": ["10.9.0.1", "fd09::1"], "tcp": [80, 81, 82], "udp": [80, 81, 82]},
            {"name": "right", "netns": right.path(), "addresses": ["10.9.0.2", "fd09::2"], "tcp": [80, 81, 82], "udp": [80, 81, 82]},
        ])
    }

    /// Waits for the cable to carry both families: a link that has just come up loses neighbour discovery.
    fn settle(program: &mut Program, pods: &Value) {
        let both = [flow("left", "10.9.0.2", "UDP", 80), flow("left", "fd09::2", "UDP", 80)];
        let mut request = json!({"pods": pods, "flows": both, "timeout_ms": 200});
        for _ in 0..50 {
            if program.observe(&request) == ["open", "open"] {
                return;
            }
            request.as_object_mut().unwrap().remove("pods");
        }
        panic!("the cable carries nothing");
    }

    #[test]
    fn a_filter_is_seen_and_its_absence_too() {
        if !privileged("packets::a_filter_is_seen_and_its_absence_too") {
            return;
        }
        let (left, right) = cable();
        let mut program = Program::start();
        let mut flows = Vec::new();
        for protocol in ["TCP", "UDP"] {
            for to in ["10.9.0.2", "fd09::2"] {
                flows.extend([80, 81, 82, 83].map(|port| flow("left", to, protocol, port)));
            }
            flows.push(flow("right", "10.9.0.1", protocol, 81));
            flows.push(flow("left", "192.0.2.1", protocol, 81));
        }
        let unfiltered = ["open", "open", "open", "refused"].repeat(2);
        let filtered = ["open", "timeout", "refused", "refused"].repeat(2);
        let twice = |each: Vec<&'static str>| [each, vec!["open", "unreachable"]].concat().repeat(2);

        settle(&mut program, &pods(&left, &right));
        let round = json!({"flows": flows, "timeout_ms": 2000});
        assert_eq!(program.observe(&round), twice(unfiltered.clone()));

        right.run(
            "nft add table inet filter
             nft add chain inet filter input '{ type filter hook input priority 0; }'
             nft add rule inet filter input meta l4proto { tcp, udp } th dport 81 ct state new drop
             nft add rule inet filter input tcp dport 82 reject with tcp reset
             nft add rule inet filter input udp dport 82 reject",
        );
        assert_eq!(program.observe(&round), twice(filtered), "the same agents, new connections");

        right.run("nft delete table inet filter");
        let anew = json!({"pods": pods(&left, &right), "flows": flows, "timeout_ms": 2000});
        assert_eq!(program.observe(&anew), twice(unfiltered), "new agents on the same ports");
        assert_eq!(program.end(), (Some(0), String::new(), String::new()));
    }

    #[test]
    fn many_flows_take_one_time_limit() {
        if !privileged("packets::many_flows_take_one_time_limit") {
            return;
        }
        let (left, right) = cable();
        right.run(
            "nft add table inet filter
             nft add chain inet filter input '{ type filter hook input priority 0; }'
             nft add rule inet filter input meta l4proto { tcp, udp } th dport 81 drop",
        );
        let flows: Vec<Value> = (0..700_u16)
            .map(|n| flow("left", "10.9.0.2", ["TCP", "UDP"][usize::from(n % 2)], 80 + n / 2 % 2))
            .collect();
        let mut program = Program::start();
        let begun = std::time::Instant::now();
        let seen = program.observe(&json!({"pods": pods(&left, &right), "flows": flows, "timeout_ms": 3000}));
        let taken = begun.elapsed();
        for (flow, observed) in flows.iter().zip(&seen) {
            assert_eq!(observed, if flow["port"] == 80 { "open" } else { "timeout" }, "{flow}");
        }
        println!("700 flows, half of them dropped: {taken:?}");
        assert!(taken < std::time::Duration::from_secs(10), "one after the other it would be 350 s, not {taken:?}");
        assert_eq!(program.end().0, Some(0));
    }

    #[test]
    fn a_missing_listener_is_no_policy() {
        if !privileged("packets::a_missing_listener_is_no_policy") {
            return;
        }
        let (left, right) = cable();
        let ask = |pods: Value, from: &str| {
            let mut program = Program::start();
            let request = json!({"pods": pods, "flows": [flow(from, "10.9.0.2", "TCP", 80)], "timeout_ms": 5000});
            program.input.write_all(request.to_string().as_bytes()).unwrap();
            program.end()
        };
        let (code, said, why) = ask(pods(&left, &right), "left");
        assert_eq!((code, said.as_str(), why.as_str()), (Some(0), "{\"flow\":0,\"observed\":\"open\"}\n", ""));

        let mut elsewhere = pods(&left, &right);
        elsewhere[1]["addresses"] = json!(["10.9.0.77"]);
        let (code, said, why) = ask(elsewhere, "left");
        assert_eq!((code, said.as_str()), (Some(2), ""));
        assert!(why.contains("`right` does not listen: TCP 10.9.0.77 port 80"), "{why}");

        let mut gone = pods(&left, &right);
        gone[1]["netns"] = json!("/proc/0/ns/net");
        let (code, said, why) = ask(gone, "left");
        assert_eq!((code, said.as_str()), (Some(2), ""));
        assert!(why.contains("agent `right` cannot be reached"), "{why}");

        let (code, _, why) = ask(pods(&left, &right), "nobody");
        assert_eq!(code, Some(2));
        assert!(why.contains("starts at `nobody`"), "{why}");
    }
}
