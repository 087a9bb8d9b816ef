// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The scan of a page of doorbells, by time.

use std::sync::Arc;

use super::*;
use crate::controller::DoorbellMode;
use crate::timing::Service;

/// Steps `apart` nanoseconds from each other until a stray doorbell in the page's last slot is
/// noticed; gives how many there were.
fn steps_until_noticed(apart: Nanos) -> u64 {
    let config = ControllerConfig {
        doorbells: DoorbellMode::Mapped,
        ..ControllerConfig::default()
    };
    let profile = Profile::uniform("test", 1, 0, &Service::default());
    let mut host = Host::with(profile, vec![ram_namespace()], config);
    // The scan is where it is after a while.
    for _ in 0..1000 {
        host.now += apart;
        host.step();
    }
    let page = Arc::clone(host.engine.doorbell_page().expect("a page"));
    page.set_doorbell(DoorbellPage::SLOTS - 1, 1);
    for steps in 1..=10_000 {
        host.now += apart;
        host.step();
        if page.doorbell(DoorbellPage::SLOTS - 1) == 0 {
            return steps;
        }
    }
    panic!("not noticed");
}

#[test]
fn scan_goes_round_in_a_quarter_of_a_millisecond() {
    for apart in [50, 1_000, 4_000, 20_000] {
        let time = steps_until_noticed(apart) * apart;
        assert!(time <= 300_000, "{time} ns with steps {apart} ns apart");
    }
}

#[test]
fn scan_keeps_up_with_long_steps() {
    assert!(steps_until_noticed(1_000_000) <= 8);
}
