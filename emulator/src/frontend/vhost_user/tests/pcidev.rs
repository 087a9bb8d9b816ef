// SPDX-License-Identifier: Apache-2.0 OR MIT
use std::fs::File;
use std::os::fd::OwnedFd;

use super::guest::{DriverRing, Notifications, READ, WRITE};
use crate::dma::GuestRam;
use crate::drive::FrontEnd;
use crate::frontend::vhost_user::pcidev::{Notifier, PciQueues, Queue, QueueError};
use crate::frontend::vhost_user::vring::Vring;
use crate::pci::tests::function;
use crate::pci::{Delivery, MsiMessage, MsiPort, NvmeFunction};

const RAM: u64 = 0x10_0000;
const OUT: u64 = RAM + 0x4000;
const IN: u64 = RAM + 0x8000;
const NOW: u64 = 1;

const CFG_READ: u8 = 1;
const CFG_WRITE: u8 = 2;
const MMIO_READ: u8 = 3;
const MMIO_WRITE: u8 = 4;
const MMIO_MEMSET: u8 = 5;

const MESSAGE: MsiMessage = MsiMessage {
    address: 0xA_0000,
    data: 0x1234,
};

/// Both queues, without a socket: the device's side and the driver's.
struct Bench {
    ram: GuestRam,
    queues: PciQueues,
    commands: DriverRing,
    interrupts: DriverRing,
    notifications: [Notifications; 2],
    function: NvmeFunction,
}

impl Bench {
    fn new() -> Self {
        let ram = GuestRam::anonymous(&[(RAM, 1 << 20)]).expect("memory for a test");
        let rings = [0, 1024].map(|offset| DriverRing::new(ram.clone(), RAM + offset, 8));
        let notifications = [Notifications::new(), Notifications::new()];
        let queue = |i: usize| Queue {
            vring: Vring::new(&ram, &rings[i].layout()).expect("a ring in RAM"),
            notifier: Notifier::Descriptors {
                kick: notifications[i].kick.try_clone().expect("a descriptor"),
                call: File::from(OwnedFd::from(notifications[i].call_end())),
            },
        };
        let mut queues = PciQueues::new(queue(0), queue(1));
        queues.resume_polling().expect("a ring in RAM");
        let mut function = function();
        function.attach(ram.clone());
        let [commands, interrupts] = rings;
        Self {
            ram,
            queues,
            commands,
            interrupts,
            notifications,
            function,
        }
    }

    fn message(op: u8, bar: u8, size: u32, address: u64, data: &[u8]) -> Vec<u8> {
        let mut message = vec![op, bar, 0, 0];
        message.extend(size.to_le_bytes());
        message.extend(address.to_le_bytes());
        message.extend(data);
        message
    }

    /// One access with `room` bytes for the answer; returns what was answered.
    fn access(&mut self, message: &[u8], room: u32) -> Result<Vec<u8>, QueueError> {
        self.ram.write(OUT, message).expect("in RAM");
        let length = u32::try_from(message.len()).expect("short");
        let mut buffers = vec![(OUT, length, READ)];
        if room > 0 {
            buffers.push((IN, room, WRITE));
        }
        self.commands.add(0, &buffers);
        assert!(self.queues.serve(NOW, &mut self.function)?);
        let (head, length) = self.commands.used().expect("given back");
        assert_eq!(head, 0);
        let mut answer = vec![0; usize::try_from(length).expect("short")];
        self.ram.read(IN, &mut answer).expect("in RAM");
        Ok(answer)
    }

    fn read(&mut self, op: u8, address: u64, size: u32) -> Vec<u8> {
        let message = Self::message(op, 0, size, address, &[]);
        self.access(&message, size.max(8)).expect("a valid access")
    }

    /// A configuration write as UML sends it: always with 8 bytes of data.
    fn write_config(&mut self, address: u64, size: u32, value: u64) {
        let message = Self::message(CFG_WRITE, 0, size, address, &value.to_le_bytes());
        let answer = self.access(&message, 0).expect("valid");
        assert!(answer.is_empty());
    }
}

#[test]
fn config_read_returns_as_many_bytes_as_asked() {
    let mut bench = Bench::new();

    assert_eq!(bench.read(CFG_READ, 8, 4)[1..], [0x02, 0x08, 0x01]);
    assert_eq!(bench.read(CFG_READ, 0x0B, 1), [0x01]);
}

#[test]
fn config_write_uses_the_announced_size_only() {
    let mut bench = Bench::new();

    bench.write_config(0x04, 1, u64::MAX);
    assert_eq!(bench.read(CFG_READ, 0x04, 2), [0x46, 0x00]);
}

#[test]
fn registers_are_reached_through_bar_0_only() {
    let mut bench = Bench::new();
    bench.write_config(0x04, 2, 6);

    assert_eq!(bench.read(MMIO_READ, 8, 4), [0, 0, 2, 0]);
    let other = Bench::message(MMIO_READ, 1, 4, 8, &[]);
    assert_eq!(bench.access(&other, 4).expect("valid"), [0xFF; 4]);
}

#[test]
fn register_write_in_two_buffers_arrives() {
    let mut bench = Bench::new();
    bench.write_config(0x04, 2, 6);
    let message = Bench::message(MMIO_WRITE, 0, 4, 0x2008, &[1, 2, 3, 4]);
    bench.ram.write(OUT, &message).expect("in RAM");

    bench
        .commands
        .add(2, &[(OUT, 16, READ), (OUT + 16, 4, READ)]);
    bench.queues.serve(NOW, &mut bench.function).expect("valid");

    assert_eq!(bench.commands.used(), Some((2, 0)));
    assert_eq!(bench.read(MMIO_READ, 0x2008, 4), [1, 2, 3, 4]);
}

#[test]
fn memset_fills_registers() {
    let mut bench = Bench::new();
    bench.write_config(0x04, 2, 6);

    let message = Bench::message(MMIO_MEMSET, 0, 16, 0x2000, &[0x44]);
    bench.access(&message, 0).expect("valid");

    assert_eq!(bench.read(MMIO_READ, 0x2004, 8), [0x44; 8]);
}

#[test]
fn memset_disguised_as_config_write_is_ignored() {
    let mut bench = Bench::new();
    let before = bench.read(CFG_READ, 0, 64);

    let message = Bench::message(CFG_WRITE, 1, 4096, 0, &[0; 8]);
    bench.access(&message, 0).expect("ignored");

    assert_eq!(bench.read(CFG_READ, 0, 64), before);
}

#[test]
fn nonsense_is_an_error() {
    let nonsense = [
        Bench::message(0, 0, 4, 0, &[0; 4]),
        Bench::message(6, 0, 4, 0, &[0; 4]),
        Bench::message(MMIO_WRITE, 0, 8, 0, &[0; 4]),
        Bench::message(MMIO_WRITE, 0, u32::MAX, 0, &[0; 8]),
        Bench::message(CFG_WRITE, 0, 8, 0, &[]),
        Bench::message(MMIO_MEMSET, 0, 8, 0, &[]),
        Bench::message(MMIO_MEMSET, 0, 0, 0, &[]),
        Bench::message(MMIO_READ, 0, 4097, 0, &[]),
        Bench::message(CFG_READ, 0, 4, 0, &[])[..15].to_vec(),
        Vec::new(),
    ];
    for message in nonsense {
        let mut bench = Bench::new();
        assert!(bench.access(&message, 8).is_err(), "{message:?}");
    }
}

#[test]
fn answer_longer_than_its_buffer_is_an_error() {
    let mut bench = Bench::new();

    let message = Bench::message(CFG_READ, 0, 64, 0, &[]);

    assert!(bench.access(&message, 8).is_err());
}

#[test]
fn access_at_the_end_of_the_address_space_is_safe() {
    let mut bench = Bench::new();
    bench.write_config(0x04, 2, 6);

    for op in [CFG_READ, MMIO_READ] {
        assert_eq!(bench.read(op, u64::MAX - 1, 8).len(), 8);
    }
    let message = Bench::message(MMIO_WRITE, 0, 8, u64::MAX - 3, &[0; 8]);
    bench.access(&message, 0).expect("ignored");
}

#[test]
fn message_goes_into_a_buffer_and_the_guest_is_called_once() {
    let mut bench = Bench::new();
    for head in 0..2 {
        bench
            .interrupts
            .add(head, &[(IN + 32 * u64::from(head), 20, WRITE)]);
    }

    assert_eq!(bench.queues.send(0, MESSAGE), Delivery::Sent);
    assert_eq!(bench.queues.send(1, MESSAGE), Delivery::Sent);
    bench
        .queues
        .flush(&mut bench.function)
        .expect("a ring in RAM");
    bench
        .queues
        .flush(&mut bench.function)
        .expect("a ring in RAM");

    assert_eq!(bench.interrupts.used(), Some((0, 20)));
    assert_eq!(bench.interrupts.used(), Some((1, 20)));
    assert_eq!(bench.notifications[1].calls(), 1);
    let mut wire = [0; 20];
    bench.ram.read(IN, &mut wire).expect("in RAM");
    let expected = Bench::message(7, 0, 4, MESSAGE.address, &MESSAGE.data.to_le_bytes());
    assert_eq!(wire[..], expected);
}

#[test]
fn message_without_a_buffer_is_refused_for_now() {
    let mut bench = Bench::new();

    assert_eq!(bench.queues.send(0, MESSAGE), Delivery::Busy);
    bench.interrupts.add(0, &[(IN, 20, WRITE)]);
    assert_eq!(bench.queues.send(0, MESSAGE), Delivery::Sent);
}

#[test]
fn message_into_a_short_buffer_breaks_the_queue() {
    let mut bench = Bench::new();
    bench.interrupts.add(0, &[(IN, 19, WRITE)]);

    bench.queues.send(0, MESSAGE);

    assert!(bench.queues.serve(NOW, &mut bench.function).is_err());
}

#[test]
fn guest_that_reads_no_calls_does_not_stop_the_device() {
    let mut bench = Bench::new();

    for round in 0..20_000_u32 {
        let head = u16::try_from(round % 8).expect("small");
        bench.interrupts.add(head, &[(IN, 20, WRITE)]);
        assert_eq!(bench.queues.send(0, MESSAGE), Delivery::Sent);
        bench
            .queues
            .flush(&mut bench.function)
            .expect("a ring in RAM");
    }

    assert!(bench.notifications[1].calls() > 0);
}

#[test]
fn sleep_is_refused_while_an_access_waits() {
    let mut bench = Bench::new();
    assert!(!bench.commands.should_notify());
    assert!(bench.queues.prepare_sleep().expect("a ring in RAM"));
    assert!(bench.commands.should_notify());
    assert!(!bench.interrupts.should_notify());
    bench.queues.resume_polling().expect("a ring in RAM");
    assert!(!bench.commands.should_notify());

    let message = Bench::message(CFG_READ, 0, 4, 0, &[]);
    bench.ram.write(OUT, &message).expect("in RAM");
    bench.commands.add(0, &[(OUT, 16, READ), (IN, 8, WRITE)]);

    assert!(!bench.queues.prepare_sleep().expect("a ring in RAM"));
}

#[test]
fn guest_is_told_of_served_accesses_before_its_queue_runs_full() {
    let mut bench = Bench::new();

    for _ in 0..256 {
        bench.read(CFG_READ, 0, 4);
        bench
            .queues
            .flush(&mut bench.function)
            .expect("a ring in RAM");
    }

    assert_eq!(bench.notifications[0].calls(), 2);
}
