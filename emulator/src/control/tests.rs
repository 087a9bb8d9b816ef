// SPDX-License-Identifier: Apache-2.0 OR MIT
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{ControlServer, Request, ask};
use crate::drive::{Clock, Poller, PollerOptions};
use crate::frontend::vhost_user::PciQueues;
use crate::observe::VmExits;
use crate::pci::tests::function;

struct Bench {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    poller: Poller<PciQueues>,
    _control: ControlServer,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control");
        let options = PollerOptions {
            cpu: None,
            lanes: Vec::new(),
            idle_sleep: None,
        };
        let poller = Poller::spawn(function(), Clock::new(), options).expect("a thread");
        let control = ControlServer::start(&socket, poller.handle()).expect("a socket");
        Self {
            _folder: folder,
            socket,
            poller,
            _control: control,
        }
    }

    fn ask(&self, request: &Request) -> serde_json::Value {
        let line = ask(&self.socket, request).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Sends any bytes; returns the answers.
    fn say(&self, bytes: &[u8]) -> Vec<String> {
        let stream = UnixStream::connect(&self.socket).expect("a server");
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("a socket option");
        (&stream).write_all(bytes).expect("room in the socket");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("a socket");
        let lines = BufReader::new(stream).lines();
        lines.map_while(Result::ok).collect()
    }
}

#[test]
fn ping_is_answered() {
    assert_eq!(Bench::new().ask(&Request::Ping {})["ok"], true);
}

#[test]
fn counters_are_reported() {
    let answer = Bench::new().ask(&Request::Counters {});

    assert_eq!(answer["ok"], true);
    assert_eq!(answer["report"]["total"]["polled_commands"], 0);
    assert!(answer["report"]["poller"]["turns"].is_u64());
}

fn profile(name: Option<&str>, set: &[(&str, &str)]) -> Request {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Request::Profile {
        profile: name.map(Into::into),
        set: set.iter().map(pair).collect(),
    }
}

#[test]
fn profile_is_changed_and_named() {
    let bench = Bench::new();

    let answer = bench.ask(&profile(Some("low-latency"), &[]));

    assert_eq!(answer["profile"], "low-latency");
    let report = &bench.ask(&Request::Counters {})["report"];
    assert_eq!(report["profile"], "low-latency");
}

#[test]
fn profile_is_changed_in_single_values() {
    let bench = Bench::new();
    bench.ask(&profile(Some("low-latency"), &[]));

    let answer = bench.ask(&profile(None, &[("read.time", "7us"), ("units", "8")]));

    let name = "low-latency with read.time = 7us, units = 8";
    assert_eq!(answer["profile"], name);
    let report = &bench.ask(&Request::Counters {})["report"];
    assert_eq!(report["profile"], name);
}

#[test]
fn profile_that_is_none_is_refused_and_the_old_one_stays() {
    let cases = [
        (profile(Some("no-such-profile"), &[]), "no-such-profile"),
        (profile(None, &[("wings", "2")]), "wings"),
        (profile(Some("high-iops"), &[("units", "0")]), "units: 0"),
        (profile(None, &[]), "which profile"),
    ];
    for (request, part) in cases {
        let bench = Bench::new();

        let answer = bench.ask(&request);

        assert_eq!(answer["ok"], false);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(part), "{error}");
        let report = &bench.ask(&Request::Counters {})["report"];
        assert_eq!(report["profile"], "floor");
    }
}

fn faults(rules: Option<&str>, clear: bool) -> Request {
    Request::Faults {
        rules: rules.map(Into::into),
        clear,
    }
}

const DROP_TWICE: &str = "[[rule]]\nact = \"drop\"\ncount = 2\n[[rule]]\nact = \"fatal\"";

#[test]
fn fault_rules_are_loaded_reported_and_cleared() {
    let bench = Bench::new();
    assert_eq!(bench.ask(&faults(None, false))["faults"]["loaded"], 0);

    let loaded = &bench.ask(&faults(Some(DROP_TWICE), false))["faults"];
    assert_eq!(loaded["loaded"], 2);

    let asked = &bench.ask(&faults(None, false))["faults"];
    assert_eq!(asked, loaded);
    assert_eq!(asked["rules"][0]["act"], "drop");
    assert_eq!(asked["rules"][0]["hits"], 0);
    assert_eq!(asked["rules"][0]["left"], 2);
    let report = &bench.ask(&Request::Counters {})["report"];
    assert_eq!(&report["faults"], asked);

    assert_eq!(bench.ask(&faults(None, true))["faults"]["loaded"], 0);
    let report = &bench.ask(&Request::Counters {})["report"];
    assert!(report.get("faults").is_none());
}

#[test]
fn fault_rules_that_are_wrong_are_refused_and_the_old_ones_stay() {
    let bench = Bench::new();
    bench.ask(&faults(Some(DROP_TWICE), false));

    let answer = bench.ask(&faults(Some("[[rule]]\nact = \"explode\""), false));

    assert_eq!(answer["ok"], false);
    let error = answer["error"].as_str().unwrap_or_default();
    assert!(
        error.starts_with("rules: rule 1: act: \"explode\""),
        "{error}"
    );
    assert_eq!(bench.ask(&faults(None, false))["faults"]["loaded"], 2);
    assert_eq!(bench.ask(&faults(Some(""), true))["ok"], false);
}

#[test]
fn fault_rules_as_many_as_there_may_be_fit_into_a_request() {
    let rules = "[[rule]]\nopcode = \"read\"\nlba = [0, 1_000_000]\nskip = 1000\nact = \"drop\"\n";
    let answer = Bench::new().ask(&faults(Some(&rules.repeat(256)), false));
    assert_eq!(answer["faults"]["loaded"], 256);
}

#[test]
fn fault_request_in_its_shortest_form_is_understood() {
    let answers = Bench::new().say(b"{\"command\":\"faults\"}\n");
    assert!(answers[0].contains("\"loaded\":0"), "{answers:?}");
}

#[test]
fn several_requests_on_one_connection_are_answered_in_order() {
    let answers =
        Bench::new().say(b"{\"command\":\"ping\"}\n{\"command\":\"x\"}\n{\"command\":\"ping\"}\n");

    assert_eq!(answers.len(), 3);
    assert!(answers[0].contains("\"ok\":true"));
    assert!(answers[1].contains("\"ok\":false"));
    assert!(answers[2].contains("\"ok\":true"));
}

#[test]
fn nonsense_is_refused() {
    for nonsense in [
        &b"\n"[..],
        b"{\"command\":\"ping\",\"extra\":1}\n",
        b"[]\n",
        b"\xFF\xFE\n",
        b"{\"command\":\"profile\"}\n",
        &[b'{'; 20_000],
    ] {
        let answers = Bench::new().say(nonsense);
        assert!(answers[0].contains("\"ok\":false"), "{answers:?}");
    }
}

#[test]
fn question_after_the_pollers_end_is_refused() {
    let Bench {
        _folder,
        socket,
        poller,
        _control,
    } = Bench::new();
    poller.end().expect("no panic");

    let answer = ask(&socket, &Request::Ping {}).expect("an answer");

    assert!(answer.contains("\"ok\":false"), "{answer}");
}

#[test]
fn socket_is_removed_at_the_end() {
    let bench = Bench::new();
    let socket = bench.socket.clone();
    assert!(socket.exists());

    drop(bench._control);

    assert!(!socket.exists());
}

#[test]
fn file_at_the_sockets_path_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, "precious").expect("a file");
    let bench = Bench::new();

    assert!(ControlServer::start(&path, bench.poller.handle()).is_err());
    assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
}

#[test]
fn socket_that_is_served_is_refused_and_a_stale_one_replaced() {
    let bench = Bench::new();
    assert!(ControlServer::start(&bench.socket, bench.poller.handle()).is_err());
    assert_eq!(bench.ask(&Request::Ping {})["ok"], true);

    let stale = bench._folder.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("a socket"));
    ControlServer::start(&stale, bench.poller.handle()).expect("the stale socket is replaced");
}

#[test]
fn exits_are_reported_where_they_are_counted() {
    let bench = Bench::new();
    let report = &bench.ask(&Request::Counters {})["report"];
    assert!(report.get("exits").is_none());
    let exits = Arc::new(VmExits::new(1));
    exits.vcpu(0).count_bar0(0x1008, true);
    let counted = Arc::clone(&exits);
    let told = bench.poller.handle();
    told.with_function(move |function, _| function.set_exits(counted))
        .expect("alive");

    let report = &bench.ask(&Request::Counters {})["report"];

    assert_eq!(report["exits"]["guest_exits"], 1);
    assert_eq!(report["exits"]["bar0"][0]["place"], "SQ 1 tail");
    assert_eq!(report["total"]["exits"]["guest_exits"], 1);
}
