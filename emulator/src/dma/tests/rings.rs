// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queue memory and doorbells in memory.

use crate::dma::{CompletionRing, DoorbellPage, GuestRam, ShadowDoorbells, SubmissionRing};
use crate::spec::CompletionQueueEntry;

const BASE: u64 = 0x10_0000;

fn ram() -> GuestRam {
    GuestRam::anonymous(&[(BASE, 0x4000)]).unwrap()
}

#[test]
fn fetch_entry_has_every_field() {
    let ram = ram();
    let mut raw = [0_u8; 64];
    for (value, byte) in (0..).zip(raw.iter_mut()) {
        *byte = value;
    }
    ram.write(BASE + 3 * 64, &raw).unwrap();

    let entry = SubmissionRing::new(&ram, BASE, 4).unwrap().fetch(3);

    assert_eq!(entry.opcode, 0);
    assert_eq!(entry.flags, 1);
    assert_eq!(entry.cid.get(), 0x0302);
    assert_eq!(entry.nsid.get(), 0x0706_0504);
    assert_eq!(entry.prp1.get(), 0x1F1E_1D1C_1B1A_1918);
    assert_eq!(entry.prp2.get(), 0x2726_2524_2322_2120);
    assert_eq!(entry.cdw15.get(), 0x3F3E_3D3C);
}

#[test]
fn post_entry_has_every_field_and_leaves_neighbours() {
    let ram = ram();
    ram.write(BASE, &[0xAA; 64]).unwrap();
    let entry = CompletionQueueEntry {
        dw0: 0x0403_0201.into(),
        dw1: 0x0807_0605.into(),
        sq_head: 0x0A09.into(),
        sq_id: 0x0C0B.into(),
        cid: 0x0E0D.into(),
        status_and_phase: 0x100F.into(),
    };

    CompletionRing::new(&ram, BASE, 4).unwrap().post(1, entry);

    let mut raw = [0; 64];
    ram.read(BASE, &mut raw).unwrap();
    let expected: Vec<u8> = (1..=16).collect();
    assert_eq!(raw[16..32], expected);
    assert_eq!(raw[..16], [0xAA; 16]);
    assert_eq!(raw[32..], [0xAA; 32]);
}

#[test]
fn ring_at_end_of_ram_exact_fit_only() {
    let ram = ram();
    assert!(SubmissionRing::new(&ram, BASE + 0x3000, 64).is_ok());
    assert!(SubmissionRing::new(&ram, BASE + 0x3000, 65).is_err());
    assert!(CompletionRing::new(&ram, BASE + 0x3000, 256).is_ok());
    assert!(CompletionRing::new(&ram, BASE + 0x3000, 257).is_err());
    assert!(SubmissionRing::new(&ram, BASE - 64, 2).is_err());
    assert!(SubmissionRing::new(&ram, u64::MAX - 63, 2).is_err());
}

#[test]
fn ring_misaligned_refused() {
    let ram = ram();
    assert!(SubmissionRing::new(&ram, BASE + 4, 2).is_err());
    assert!(CompletionRing::new(&ram, BASE + 2, 2).is_err());
    assert!(ShadowDoorbells::new(&ram, BASE + 2, BASE + 0x1000, 4).is_err());
}

#[test]
#[should_panic(expected = "out of range")]
fn fetch_index_out_of_range_panics_instead_of_leaving_the_ring() {
    let ram = ram();
    let _ = SubmissionRing::new(&ram, BASE, 4).unwrap().fetch(4);
}

#[test]
fn ring_outlives_handles_of_ram() {
    let ram = ram();
    let sq = SubmissionRing::new(&ram, BASE, 4).unwrap();
    let cq = CompletionRing::new(&ram, BASE + 0x1000, 4).unwrap();
    drop(ram);
    cq.post(0, CompletionQueueEntry::default());
    assert_eq!(sq.fetch(0).opcode, 0);
}

#[test]
fn shadow_doorbells_are_little_endian_slots_of_four_bytes() {
    let ram = ram();
    let shadow = ShadowDoorbells::new(&ram, BASE, BASE + 0x1000, 6).unwrap();

    ram.write(BASE + 5 * 4, &[0x78, 0x56, 0x34, 0x12]).unwrap();
    assert_eq!(shadow.doorbell(5), 0x1234_5678);

    shadow.set_doorbell(0, 7);
    shadow.set_event_index(2, 0xFFFF);
    let mut slot = [0; 4];
    ram.read(BASE, &mut slot).unwrap();
    assert_eq!(slot, [7, 0, 0, 0]);
    ram.read(BASE + 0x1008, &mut slot).unwrap();
    assert_eq!(slot, [0xFF, 0xFF, 0, 0]);
}

#[test]
fn shadow_doorbells_out_of_ram_refused() {
    let ram = ram();
    assert!(ShadowDoorbells::new(&ram, BASE + 0x4000, BASE, 2).is_err());
    assert!(ShadowDoorbells::new(&ram, BASE, BASE + 0x3FFC, 2).is_err());
}

/// The phase must not be seen before the rest of the entry.
#[test]
fn post_seen_by_other_thread_is_whole() {
    use std::sync::atomic::{AtomicU32, Ordering};

    const ROUNDS: u16 = 2000;
    let ram = ram();
    let seen = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ring = CompletionRing::new(&ram, BASE, 1).unwrap();
            for round in 1..=ROUNDS {
                let stamp = u32::from(round);
                ring.post(
                    0,
                    CompletionQueueEntry {
                        dw0: stamp.into(),
                        dw1: stamp.into(),
                        sq_head: round.into(),
                        sq_id: round.into(),
                        cid: round.into(),
                        status_and_phase: round.into(),
                    },
                );
                while seen.load(Ordering::Acquire) != stamp {
                    std::thread::yield_now();
                }
            }
        });
        let reader = SubmissionRing::new(&ram, BASE, 1).unwrap();
        for round in 1..=ROUNDS {
            loop {
                // A CQE's dwords 0 to 3 read as an SQE's: dword 3 holds status and phase.
                if reader.fetch(0).cdw3.get() >> 16 == u32::from(round) {
                    break;
                }
                std::thread::yield_now();
            }
            std::sync::atomic::fence(Ordering::Acquire);
            let entry = reader.fetch(0);
            let stamp = u32::from(round);
            assert_eq!(u32::from(entry.opcode) | u32::from(entry.flags) << 8, stamp);
            assert_eq!(entry.nsid.get(), stamp);
            assert_eq!(entry.cdw2.get(), stamp << 16 | stamp);
            seen.store(u32::from(round), Ordering::Release);
        }
    });
}

#[test]
fn doorbell_page_is_a_page_of_little_endian_slots_at_its_address() {
    use std::sync::atomic::{AtomicU32, Ordering};

    let page = DoorbellPage::new().unwrap();
    assert_eq!(page.host_address() % DoorbellPage::BYTES as u64, 0);
    let address = usize::try_from(page.host_address()).unwrap();
    let first = std::ptr::with_exposed_provenance::<AtomicU32>(address);
    // SAFETY: `page` lives, and has SLOTS words from that address on.
    let guest = unsafe { std::slice::from_raw_parts(first, DoorbellPage::SLOTS as usize) };

    guest[5].store(
        u32::from_ne_bytes([0x78, 0x56, 0x34, 0x12]),
        Ordering::Release,
    );
    assert_eq!(page.doorbell(5), 0x1234_5678);
    page.set_doorbell(1023, 7);
    assert_eq!(
        guest[1023].load(Ordering::Acquire).to_ne_bytes(),
        [7, 0, 0, 0]
    );
    assert!(!page.line_is_clear(0) && !page.line_is_clear(63) && page.line_is_clear(1));

    page.clear();
    assert!((0..DoorbellPage::LINES).all(|line| page.line_is_clear(line)));
    assert_eq!(guest[5].load(Ordering::Acquire), 0);
}

#[test]
#[should_panic(expected = "out of range")]
fn doorbell_slot_out_of_range_panics_instead_of_leaving_the_page() {
    DoorbellPage::new()
        .unwrap()
        .set_doorbell(DoorbellPage::SLOTS, 1);
}
