// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Resets: what is gone, what stays.

use crate::host::*;

fn write_something(host: &mut Host, queue: &mut Queue) -> u64 {
    let page = host.page();
    host.put(page, &[0x5A; 4096]);
    let write = transfer(WRITE, 1, 0, 8).prp(page, 0);
    assert_eq!(host.run(queue, write).status(), SUCCESS);
    page
}

#[test]
fn controller_reset_drops_queues_and_keeps_data() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    let page = write_something(&mut host, &mut queue);
    host.disable();
    host.enable();
    assert_eq!(host.admin(delete_sq(1)).status(), INVALID_QUEUE_ID);
    let mut queue = host.create_queue(1, 16, None);
    host.put(page, &[0; 4096]);
    let read = transfer(READ, 1, 0, 8).prp(page, 0);
    assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
    assert_eq!(host.get(page, 4096), [0x5A; 4096]);
}

#[test]
fn controller_reset_with_commands_under_way_posts_nothing_afterwards() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    for _ in 0..10 {
        host.stage(&mut queue, Command::new(FLUSH).nsid(1));
    }
    host.ring(&queue);
    host.write32(CC, 0);
    host.settle();
    let before = host.get(queue.cq, 256);
    for _ in 0..10 {
        host.settle();
    }
    assert_eq!(host.get(queue.cq, 256), before);
    host.enable();
}

#[test]
fn reset_by_the_transport_is_as_thorough() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    write_something(&mut host, &mut queue);
    host.device.engine().reset();
    host.settle();
    assert_eq!(host.read32(CC), 0);
    assert_eq!(host.read32(CSTS), 0);
    assert_eq!(host.read32(AQA), 0, "a function reset clears AQA too");
    host.enable();
    assert_eq!(host.admin(delete_sq(1)).status(), INVALID_QUEUE_ID);
}

#[test]
fn guest_gone_and_another_one_comes() {
    let mut host = Host::new();
    let mut queue = host.create_queue(1, 16, None);
    let page = write_something(&mut host, &mut queue);
    host.device.engine().detach();
    host.write32(CC, CC_ENABLE);
    host.settle();
    let ram = host.ram.clone();
    host.device.engine().attach(ram);
    host.settle();
    assert_eq!(host.read32(CSTS), 0, "disabled for the next guest");
    host.enable();
    let mut queue = host.create_queue(1, 16, None);
    host.put(page, &[0; 4096]);
    let read = transfer(READ, 1, 0, 8).prp(page, 0);
    assert_eq!(host.run(&mut queue, read).status(), SUCCESS);
    assert_eq!(host.get(page, 4096), [0x5A; 4096], "media keep their data");
}

#[test]
fn many_resets_in_a_row_work() {
    let mut host = Host::new();
    for _ in 0..200 {
        host.disable();
        host.enable();
    }
    let mut queue = host.create_queue(1, 16, None);
    let completion = host.run(&mut queue, Command::new(FLUSH).nsid(1));
    assert_eq!(completion.status(), SUCCESS);
}
