// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The poller's mailbox: `Shared::send`, `Loop::run_until_told`, `obey` and `wait` of
//! drive/poller.rs, with numbers for orders and no front end.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::Mutex;

use crate::drive::Event;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::model;

struct Shared {
    mailbox: Mutex<VecDeque<u32>>,
    mail: AtomicBool,
    wake: Event,
}

/// `Shared::send`.
fn send(shared: &Shared, order: u32) {
    let mut mailbox = shared.mailbox.lock().unwrap();
    mailbox.push_back(order);
    shared.mail.store(true, Ordering::Release);
    drop(mailbox);
    shared.wake.set();
}

/// `Loop::obey`. `late`: as it must not be, with the flag taken down after the mailbox was let go.
fn obey(shared: &Shared, late: bool) -> u32 {
    let mut sum = 0;
    loop {
        let order = {
            let mut mailbox = shared.mailbox.lock().unwrap();
            let order = mailbox.pop_front();
            if order.is_none() && !late {
                shared.mail.store(false, Ordering::Release);
            }
            order
        };
        match order {
            Some(order) => sum += order,
            None => break,
        }
    }
    if late {
        shared.mail.store(false, Ordering::Release);
    }
    sum
}

fn senders_and_poller(late: bool) {
    let shared = Arc::new(Shared {
        mailbox: Mutex::new(VecDeque::new()),
        mail: AtomicBool::new(false),
        wake: Event::new().unwrap(),
    });
    let senders = [1, 2].map(|order| {
        let shared = Arc::clone(&shared);
        loom::thread::spawn(move || send(&shared, order))
    });
    let mut sum = 0;
    loop {
        if shared.mail.load(Ordering::Acquire) {
            sum += obey(&shared, late);
        }
        if sum == 3 {
            break;
        }
        shared.wake.wait();
        shared.wake.clear();
    }
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn order_while_the_poller_falls_asleep_is_obeyed() {
    model(|| senders_and_poller(false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn order_with_the_flag_taken_down_late_may_be_lost() {
    model(|| senders_and_poller(true));
}
