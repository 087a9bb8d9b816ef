// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest that does anything at all: no panic, no hang, nothing outside its buffers, and a reset
//! makes all well again.

use proptest::prelude::*;

use crate::host::*;

/// An address that is likely to do harm.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0_u64..256).prop_map(|page| RAM + page * PAGE),
        2 => (0_u64..(RAM_BYTES as u64)).prop_map(|offset| RAM + offset),
        1 => Just(0),
        1 => Just(RAM + RAM_BYTES as u64 - PAGE),
        1 => Just(RAM + RAM_BYTES as u64),
        1 => Just(!0xFFF),
        1 => any::<u64>(),
    ]
}

/// Mostly opcodes that exist.
fn opcode() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => prop::sample::select(vec![
            0x00_u8, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0A, 0x0C, 0x7C, 0x80,
        ]),
        1 => any::<u8>(),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let small = prop_oneof![4 => 0_u32..8, 1 => any::<u32>()];
    let dword = || prop_oneof![3 => 0_u32..0x40, 2 => any::<u32>(), 1 => Just(u32::MAX)];
    (
        opcode(),
        prop_oneof![9 => Just(0_u8), 1 => any::<u8>()],
        small,
        address(),
        address(),
        prop::array::uniform6(dword()),
    )
        .prop_map(|(opcode, flags, nsid, prp1, prp2, dwords)| {
            let mut command = Command::new(opcode).flags(flags).nsid(nsid).prp(prp1, prp2);
            command.0[10..16].copy_from_slice(&dwords);
            command
        })
}

#[derive(Clone, Debug)]
enum Act {
    Admin(Command),
    Io(Command),
    Doorbell(u64, u32),
    Register(u64, usize, u64),
    ReadRegister(u64, usize),
    Memory(u64, u64),
    Work,
    Sleep,
    Wake,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x?}", self.0)
    }
}

fn act() -> impl Strategy<Value = Act> {
    let size = || prop::sample::select(vec![1_usize, 2, 4, 8]);
    let register = || prop_oneof![3 => 0_u64..0x80, 1 => 0_u64..0x4000, 1 => any::<u64>()];
    prop_oneof![
        6 => command().prop_map(Act::Admin),
        6 => command().prop_map(Act::Io),
        2 => (0_u64..24, 0_u32..80).prop_map(|(slot, value)| Act::Doorbell(slot, value)),
        1 => (0_u64..1024, any::<u32>()).prop_map(|(slot, value)| Act::Doorbell(slot, value)),
        1 => (register(), size(), any::<u64>()).prop_map(|(o, s, v)| Act::Register(o, s, v)),
        1 => (register(), size()).prop_map(|(o, s)| Act::ReadRegister(o, s)),
        3 => (0_u64..(RAM_BYTES as u64 / 8), address()).prop_map(|(at, v)| Act::Memory(RAM + at * 8, v)),
        3 => Just(Act::Work),
        1 => Just(Act::Sleep),
        1 => Just(Act::Wake),
    ]
}

fn perform(host: &mut Host, queue: &mut Queue, act: &Act) {
    match *act {
        Act::Admin(command) => {
            host.submit_admin(command);
        }
        Act::Io(command) => {
            host.submit(queue, command);
        }
        Act::Doorbell(slot, value) => host.write32(DOORBELLS + slot * 4, value),
        Act::Register(offset, size, value) => host.device.write(offset, size, value),
        Act::ReadRegister(offset, size) => {
            host.device.read(offset, size);
        }
        Act::Memory(address, value) => host.put(address, &value.to_le_bytes()),
        Act::Work => {
            host.device.work();
            while host.reap_admin().is_some() {}
            while host.reap(queue).is_some() {}
        }
        Act::Sleep => {
            host.device.engine().prepare_sleep();
        }
        Act::Wake => host.device.engine().resume_polling(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn anything_at_all_is_survived(acts in prop::collection::vec(act(), 1..80)) {
        let mut host = Host::new();
        let mut queue = host.create_queue(1, 16, Some(1));
        for act in &acts {
            perform(&mut host, &mut queue, act);
        }
        host.settle();
        // Whatever happened: a reset, and the device is as good as new.
        host.write32(CC, 0);
        host.settle();
        host.device.engine().resume_polling();
        host.enable();
        let page = host.page();
        host.admin_ok(identify(0x01, 0, page));
    }
}

#[test]
fn registers_of_every_size_at_every_offset_survive() {
    let mut host = Host::new();
    for offset in 0..0x80 {
        for size in [1, 2, 4, 8] {
            host.device.read(offset, size);
            host.device.write(offset, size, u64::MAX);
        }
    }
    host.settle();
    host.write32(CC, 0);
    host.settle();
    host.enable();
}

#[test]
fn queues_on_top_of_each_other_survive() {
    let mut host = Host::new();
    let page = host.page();
    // Submission and completion queue are the same memory, and its own data buffer as well.
    host.admin_ok(create_cq(1, 16, page, None));
    host.admin_ok(create_sq(1, 16, page, 1));
    let mut queue = Queue {
        id: 1,
        sq: page,
        cq: page,
        entries: 16,
        tail: 0,
        head: 0,
        phase: 1,
    };
    for _ in 0..100 {
        host.submit(&mut queue, transfer(READ, 1, 0, 8).prp(page, page));
        host.settle();
    }
    host.disable();
    host.enable();
}

#[test]
fn device_writes_nowhere_but_where_it_was_told() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    let page = host.page();
    let rest = host.pages(1);
    let length = usize::try_from(RAM + RAM_BYTES as u64 - rest).unwrap();
    host.put(rest, &vec![0xEE; length]);
    for _ in 0..50 {
        let read = transfer(READ, 1, 0, 8).prp(page, 0);
        assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
        let status = host
            .run(&mut queue, transfer(READ, 1, 0, 8).prp(page + 4, rest))
            .status();
        assert_eq!(status, SUCCESS);
    }
    let data = host.get(rest, length);
    assert!(
        data[..4].iter().all(|&byte| byte == 0),
        "the four bytes asked for"
    );
    assert!(
        data[4..].iter().all(|&byte| byte == 0xEE),
        "and no byte more"
    );
}
