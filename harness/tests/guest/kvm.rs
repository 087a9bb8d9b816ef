// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Linux on KVM, by our own virtual machine monitor. Where KVM interprets supervisor code, with the
//! kernel that was built for such hosts and the settings that belong to it.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bench::{Place, assert_code, hipri, missing_guest, output};

/// Name and test.
pub const TESTS: &[(&str, fn())] = &[(
    "linux_on_kvm_boots_and_powers_off",
    linux_on_kvm_boots_and_powers_off,
)];

/// How Linux can be booted on this host's KVM.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Native,
    Interpreted,
}

fn probe() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_hipri"))
        .args(["probe", "--json"])
        .stdin(Stdio::null())
        .output()
        .expect("hipri starts");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Why Linux cannot be booted on KVM here, if it cannot.
pub fn missing() -> Option<String> {
    let found = probe();
    if found["kvm"] != true {
        return Some(format!("this host has no KVM: {}", found["error"]));
    }
    let flavour = match way(&found) {
        Way::Native => "patched",
        Way::Interpreted => "interpreted",
    };
    missing_guest("x86_64", &[flavour])
}

fn way(found: &Value) -> Way {
    if found["native"] == true {
        Way::Native
    } else {
        Way::Interpreted
    }
}

/// `hipri launch` on KVM, whichever way it can be.
fn launch(place: &Place) -> Command {
    let mut command = hipri(place);
    command.args(["launch", "--accel", "kvm", "--profile", "floor"]);
    if way(&probe()) == Way::Interpreted {
        command.env("HIPRI_TEST_INTERPRETED_KVM", "1");
        command.args(["--kernel", "interpreted"]);
    }
    command
}

/// I/Os of the polled job: each takes tens of milliseconds where KVM interprets.
const POLLED_READS: u64 = 32;

/// One boot, because it takes half a minute where KVM interprets: the polled queue is there, polled
/// AIO with user-mapped iocbs and fixed buffers goes through it, a command's output and exit code
/// come back, neither kernel nor device complains.
fn linux_on_kvm_boots_and_powers_off() {
    let place = Place::new();
    let logs = place.work.path().join("logs");
    let fio = format!(
        "fio --name=polled --output=/tmp/fio --thread --filename=/dev/nvme0n1 --direct=1 \
         --ioengine=external:/usr/lib/fio/hipri.so --hipri --useriocb --fixedbufs --rw=randread \
         --bs=4k --iodepth=4 --size=16m --norandommap --number_ios={POLLED_READS} \
         --clocksource=cpu || cat /tmp/fio"
    );
    let script = format!(
        "cat /sys/block/nvme0n1/queue/io_poll; \
         dd if=/dev/nvme0n1 of=/dev/null bs=64k count=4 2>/dev/null && echo read; {fio}; exit 7"
    );
    let output = output(
        launch(&place)
            .arg("--out")
            .arg(&logs)
            .args(["--", "sh", "-c", &script]),
    );
    assert_code(&output, 7);
    let words = String::from_utf8_lossy(&output.stdout);
    assert_eq!(words.split_whitespace().collect::<Vec<_>>(), ["1", "read"]);

    let console = std::fs::read_to_string(logs.join("console.log")).expect("a console");
    assert!(
        console.contains("1/0/1 default/read/poll queues"),
        "{console}"
    );
    let complaints = [" timeout, ", "controller is down", "resetting", "I/O error"];
    for line in console.lines().filter(|line| line.contains("nvme nvme0:")) {
        assert!(!complaints.iter().any(|word| line.contains(word)), "{line}");
    }
    let log = std::fs::read_to_string(logs.join("device.log")).expect("a log");
    for line in log.lines() {
        assert!(!line.contains("WARN") && !line.contains("ERROR"), "{line}");
    }
    let report = log
        .lines()
        .find_map(|line| serde_json::from_str::<Value>(line).ok())
        .expect("the monitor's report");
    assert_eq!(report["ending"], "power-off", "{report}");
    assert_eq!(report["device"]["total"]["errors"], 0, "{report}");
    let polled = &report["device"]["queues"][2];
    assert_eq!(polled["polled_commands"], POLLED_READS, "{report}");
    assert_eq!(polled["irq_commands"], 0, "{report}");
    assert!(report["device"]["total"]["bytes_read"].as_u64() > Some(4 * 65536));
    assert!(report["device"]["exits"]["guest_exits"].as_u64() > Some(100));
}
