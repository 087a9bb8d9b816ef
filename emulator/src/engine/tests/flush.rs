// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands that wait for a medium to be stable.

use std::sync::{Arc, Mutex};

use vm_memory::VolatileSlice;

use super::super::*;
use super::host::*;
use crate::controller::BlockSize;
use crate::media::{FlushStart, FlushTicket, Media, MediaError, PowerCut};
use crate::spec::NvmOpcode;
use crate::timing::Service;

/// A medium whose flushes end when the test says so.
struct Held {
    tickets: Arc<Mutex<Vec<FlushTicket>>>,
    ended: Arc<Mutex<Vec<FlushTicket>>>,
    fail: bool,
}

impl Media for Held {
    fn size(&self) -> u64 {
        1 << 20
    }
    fn read(&mut self, _: u64, _: &VolatileSlice<'_>) -> Result<(), MediaError> {
        Ok(())
    }
    fn write(&mut self, _: u64, _: &VolatileSlice<'_>) -> Result<(), MediaError> {
        Ok(())
    }
    fn write_zeroes(&mut self, _: u64, _: u64, _: bool) -> Result<(), MediaError> {
        Ok(())
    }
    fn start_flush(&mut self, ticket: FlushTicket) -> Result<FlushStart, MediaError> {
        self.tickets.lock().unwrap().push(ticket);
        Ok(FlushStart::Pending)
    }
    fn poll_flush(&mut self) -> Option<(FlushTicket, Result<(), MediaError>)> {
        let ticket = self.ended.lock().unwrap().pop()?;
        let result = if self.fail {
            Err(MediaError::Write(std::io::Error::other("gone")))
        } else {
            Ok(())
        };
        Some((ticket, result))
    }
    fn set_volatile_cache(&mut self, _: bool) {}
    fn power_cut(&mut self, _: u64) -> PowerCut {
        PowerCut::default()
    }
}

type Tickets = Arc<Mutex<Vec<FlushTicket>>>;

fn held_host(fail: bool) -> (Host, Tickets, Tickets) {
    let (tickets, ended) = (Tickets::default(), Tickets::default());
    let media = Held {
        tickets: tickets.clone(),
        ended: ended.clone(),
        fail,
    };
    let namespace = NamespaceConfig {
        media: Box::new(media),
        block_size: BlockSize::B512,
    };
    let profile = Profile::uniform("test", 1, 0, &Service::default());
    let host = Host::with(profile, vec![namespace], ControllerConfig::default());
    (host, tickets, ended)
}

#[test]
fn flush_completes_when_the_medium_is_stable() {
    let (mut host, tickets, ended) = held_host(false);
    let queue = host.make_queue(16, true);
    let cid = host.put(queue, command(0x00, 0xFFFF_FFFF));
    host.ring(queue);
    host.settle();
    assert!(host.take(queue).is_none());
    assert!(!host.engine.is_idle());
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    assert_eq!(host.completions(queue), [cid]);
}

#[test]
fn fua_write_whose_flush_fails_is_a_write_fault() {
    let (mut host, tickets, ended) = held_host(true);
    let queue = host.make_queue(16, true);
    let mut write = transfer(NvmOpcode::WRITE, 0, 1);
    write.cdw12 = (1 << 30).into();
    host.put(queue, write);
    host.ring(queue);
    host.settle();
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    let cqe = host.take(queue).expect("no completion");
    assert_eq!(status(&cqe), Status::WRITE_FAULT);
}

#[test]
fn shutdown_is_complete_when_the_media_are_flushed() {
    let (mut host, tickets, ended) = held_host(false);
    host.engine.write_register(host.now, 0x14, 4, 0x0046_4001);
    assert_eq!(host.engine.read_register(0x1C, 4) >> 2 & 3, 1);
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    assert_eq!(host.engine.read_register(0x1C, 4) >> 2 & 3, 2);
}

#[test]
fn flush_dropped_by_a_reset_completes_nothing_later() {
    let (mut host, tickets, ended) = held_host(false);
    let queue = host.make_queue(16, true);
    host.put(queue, command(0x00, 1));
    host.ring(queue);
    host.settle();
    host.engine.write_register(host.now, 0x14, 4, 0x0046_0000);
    host.start();
    let queue = host.make_queue(16, true);
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    assert!(host.take(queue).is_none());
    assert!(host.engine.is_idle() || host.step().is_none());
}

#[test]
fn shutdown_after_many_that_resets_cut_short_completes_in_its_turn() {
    let (mut host, tickets, ended) = held_host(false);
    for cc in [0x0046_4001, 0x0046_0000, 0x0046_0001].repeat(1200) {
        host.engine.write_register(host.now, 0x14, 4, cc);
    }
    assert_eq!(tickets.lock().unwrap().len(), 1024);
    host.engine.write_register(host.now, 0x14, 4, 0x0046_4001);
    for _ in 0..2 {
        assert_eq!(host.engine.read_register(0x1C, 4) >> 2 & 3, 1);
        ended.lock().unwrap().append(&mut tickets.lock().unwrap());
        host.settle();
    }
    assert_eq!(host.engine.read_register(0x1C, 4) >> 2 & 3, 2);
    assert!(host.engine.flushes.is_empty());
}

#[test]
fn flushes_dropped_by_resets_pile_up_only_so_far() {
    let (mut host, tickets, ended) = held_host(false);
    for _ in 0..100 {
        let queue = host.make_queue(64, true);
        for _ in 0..63 {
            host.put(queue, command(0x00, 1));
        }
        host.ring(queue);
        host.settle();
        host.engine.write_register(host.now, 0x14, 4, 0x0046_0000);
        host.start();
    }
    assert!(tickets.lock().unwrap().len() < 1024 + 64);

    let queue = host.make_queue(64, true);
    let cid = host.put(queue, transfer(NvmOpcode::READ, 0, 1));
    host.ring(queue);
    host.settle();
    assert!(host.take(queue).is_none());
    ended.lock().unwrap().append(&mut tickets.lock().unwrap());
    host.settle();
    host.settle();
    assert_eq!(host.completions(queue), [cid]);
}

/// The timing model learns which writes may stay in the device's write cache.
#[test]
fn write_cache_keeps_flush_and_fua_waiting() {
    let text = r#"
        front_end = "0us"
        units = 1
        stripe = "4KiB"
        read = { time = "1us" }
        write = { time = "1us" }
        other = { time = "1us" }
        write_cache = { size = "1MiB", drain = "1MB/s" }
    "#;
    // 512 bytes take 512 us to leave the cache.
    let cases = [
        (NvmOpcode::WRITE, 0, 1_000),
        (NvmOpcode::WRITE, 1 << 30, 2 * 512_000 + 1_000),
        (NvmOpcode::FLUSH, 0, 512_000 + 1_000),
    ];
    for (opcode, cdw12, latency) in cases {
        let mut host = Host::new(Profile::parse(text, "cached").unwrap());
        let queue = host.make_queue(16, true);
        host.put(queue, transfer(NvmOpcode::WRITE, 0, 1));
        host.ring(queue);
        let started = host.now;
        host.settle();
        host.now += 1_000;
        host.settle();
        assert_eq!(host.completions(queue).len(), 1);
        host.now = started;
        let mut sqe = transfer(opcode, 0, 1);
        sqe.cdw12 = (sqe.cdw12.get() | cdw12).into();
        host.put(queue, sqe);
        host.ring(queue);
        assert_eq!(host.step(), Some(started + latency), "{opcode:?} {cdw12:x}");
    }
}
