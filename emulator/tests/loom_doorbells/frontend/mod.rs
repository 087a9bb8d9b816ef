// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses that wait for a poller, which may be about to sleep.

#[path = "../../../src/frontend/kvm/access.rs"]
#[expect(dead_code, reason = "where BAR0 is has no part in this")]
mod access;

use crate::pci::Region;
use crate::sync::{atomic, model};
use access::{AccessPort, AccessQueue, channel};

/// A vCPU that makes an access and then another.
fn two_accesses(port: &AccessPort, vcpu: usize) {
    port.write(vcpu, Region::Bar0, 0x1000, &[7, 0, 0, 0]);
    let mut data = [0; 4];
    port.read(vcpu, Region::Bar0, 0x1C, &mut data);
    assert_eq!(data, [0x1D, 0, 0, 0], "the answer to another access");
}

/// The poller's loop as far as accesses go: serve, perhaps sleep (drive/poller.rs, `Loop::turn` and
/// `Loop::sleep`).
fn serve(queue: &AccessQueue, accesses: usize) {
    let mut served = 0;
    while served < accesses {
        queue.serve(|_, access| {
            served += 1;
            assert_eq!(access.data, (access.offset == 0x1000).then_some(7));
            access.offset + 1
        });
        if served == accesses {
            break;
        }
        if queue.prepare_sleep() {
            queue.wake().wait();
            queue.wake().clear();
        }
        queue.resume_polling();
    }
}

fn one_vcpu() {
    let (port, queue) = channel(1).unwrap();
    let guest = loom::thread::spawn(move || two_accesses(&port, 0));
    serve(&queue, 2);
    guest.join().unwrap();
}

#[test]
fn access_while_the_poller_falls_asleep_is_served() {
    model(one_vcpu);
}

/// The vCPU then looks at its cell for ever, so that loom gives up.
#[test]
#[should_panic(expected = "maximum number of branches")]
fn access_without_fences_may_never_be_served() {
    atomic::without_fences();
    model(one_vcpu);
}
