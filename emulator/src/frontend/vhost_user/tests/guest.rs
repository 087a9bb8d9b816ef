// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest in this process: the other side of a ring, and of the socket.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use crate::dma::GuestRam;
use crate::frontend::vhost_user::vring::VringLayout;

/// A device-readable buffer.
pub const READ: u16 = 0;
/// A device-writable buffer.
pub const WRITE: u16 = 2;
const NEXT: u16 = 1;

/// A split ring from the driver's side, in 1 KiB of guest memory.
pub struct DriverRing {
    ram: GuestRam,
    base: u64,
    size: u16,
    available: u16,
    seen: u16,
}

impl DriverRing {
    /// An empty ring of `size` (at most 32) entries at `base`.
    pub fn new(ram: GuestRam, base: u64, size: u16) -> Self {
        let mut ring = Self {
            ram,
            base,
            size,
            available: 0,
            seen: 0,
        };
        ring.reset();
        ring
    }

    /// Empties it.
    pub fn reset(&mut self) {
        self.ram.write(self.base, &[0; 1024]).expect("in RAM");
        self.available = 0;
        self.seen = 0;
    }

    /// Where its parts are.
    pub fn layout(&self) -> VringLayout {
        VringLayout {
            size: u32::from(self.size),
            descriptors: self.base,
            available: self.base + 512,
            used: self.base + 640,
            next: 0,
        }
    }

    /// Makes a chain of `(address, length, flags)` available, from descriptor `head` on.
    pub fn add(&mut self, head: u16, buffers: &[(u64, u32, u16)]) {
        for (i, &(address, length, flags)) in buffers.iter().enumerate() {
            let index = (head + u16::try_from(i).expect("few")) % self.size;
            let last = i + 1 == buffers.len();
            let flags = if last { flags } else { flags | NEXT };
            self.set_descriptor(index, address, length, flags, (index + 1) % self.size);
        }
        self.add_raw(head);
    }

    /// Makes a descriptor available as it is.
    pub fn add_raw(&mut self, head: u16) {
        let slot = u64::from(self.available % self.size);
        self.put(self.layout().available + 4 + 2 * slot, &head.to_le_bytes());
        self.set_available_index(self.available.wrapping_add(1));
    }

    /// Moves the available index.
    pub fn set_available_index(&mut self, index: u16) {
        self.available = index;
        self.put(self.layout().available + 2, &index.to_le_bytes());
    }

    /// Fills in one descriptor.
    pub fn set_descriptor(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let mut bytes = Vec::new();
        bytes.extend(address.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.put(self.base + 16 * u64::from(index), &bytes);
    }

    /// The next chain that the device has given back: its head and length.
    pub fn used(&mut self) -> Option<(u32, u32)> {
        let used = self.layout().used;
        if u16::from_le_bytes(self.get(used + 2)) == self.seen {
            return None;
        }
        let slot = used + 4 + 8 * u64::from(self.seen % self.size);
        self.seen = self.seen.wrapping_add(1);
        Some((
            u32::from_le_bytes(self.get(slot)),
            u32::from_le_bytes(self.get(slot + 4)),
        ))
    }

    /// Whether the device wants to be notified.
    pub fn should_notify(&self) -> bool {
        u16::from_le_bytes(self.get(self.layout().used)) & 1 == 0
    }

    /// Says that calls are not wanted.
    pub fn refuse_calls(&mut self) {
        self.put(self.layout().available, &1_u16.to_le_bytes());
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        self.ram.write(address, bytes).expect("in RAM");
    }

    fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram.read(address, &mut bytes).expect("in RAM");
        bytes
    }
}

/// Memory as UML has it: one file, at the same offset in the file and in the guest.
pub struct GuestMemory {
    pub file: File,
    pub ram: GuestRam,
    pub base: u64,
    pub size: u64,
}

impl GuestMemory {
    /// `size` bytes at `base`.
    pub fn new(base: u64, size: u64) -> Self {
        let file = tempfile::tempfile().expect("a file for guest memory");
        file.set_len(base + size).expect("room for guest memory");
        let offset = FileOffset::new(file.try_clone().expect("a descriptor"), base);
        let length = usize::try_from(size).expect("small");
        let memory =
            GuestMemoryMmap::from_ranges_with_files([(GuestAddress(base), length, Some(offset))])
                .expect("a mapping");
        Self {
            file,
            ram: GuestRam::new(memory),
            base,
            size,
        }
    }
}

/// The guest's end of a vhost-user socket.
pub struct Master {
    pub stream: UnixStream,
}

impl Master {
    /// Sends a request with flags that ask for an acknowledgement.
    pub fn send(&self, code: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        self.send_with_flags(code, 1 | 8, payload, fds);
    }

    /// Sends a request with any flags.
    pub fn send_with_flags(&self, code: u32, flags: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        let size = u32::try_from(payload.len()).expect("short");
        let mut message = Vec::new();
        for word in [code, flags, size] {
            message.extend(word.to_ne_bytes());
        }
        message.extend(payload);
        self.send_raw(&message, fds);
    }

    /// Sends any bytes.
    pub fn send_raw(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        // The other side may have left: that is what some tests are about.
        let _ = sendmsg(
            &self.stream,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
    }

    /// Receives a reply: its code, flags and value.
    pub fn reply(&self) -> Option<(u32, u32, u64)> {
        let mut bytes = [0; 20];
        (&self.stream).read_exact(&mut bytes).ok()?;
        let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        assert_eq!(word(8), 8, "every reply has 8 bytes");
        let value = u64::from(word(12)) | u64::from(word(16)) << 32;
        Some((word(0), word(4), value))
    }

    /// Sends a request and expects its acknowledgement.
    pub fn ask(&self, code: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        self.send(code, payload, fds);
        assert_eq!(self.reply(), Some((code, 5, 0)), "request {code}");
    }

    /// Everything that UML says before its first PCI access. Returns the ends of the notifications.
    pub fn set_up(&self, memory: &GuestMemory, rings: [&DriverRing; 2]) -> [Notifications; 2] {
        let (mine, theirs) = UnixStream::pair().expect("a socket pair");
        self.ask(3, &[], &[]);
        self.send_with_flags(1, 1, &[], &[]);
        assert_eq!(self.reply(), Some((1, 5, 1 << 30 | 1 << 32)));
        self.send_with_flags(15, 1, &[], &[]);
        assert_eq!(self.reply(), Some((15, 5, 1 << 3 | 1 << 5)));
        self.ask(16, &(1_u64 << 3 | 1 << 5).to_ne_bytes(), &[]);
        self.ask(21, &[], &[theirs.as_fd()]);
        drop(mine);
        self.ask(2, &(1_u64 << 30 | 1 << 32).to_ne_bytes(), &[]);
        self.ask(5, &memory_table(memory), &[memory.file.as_fd()]);
        [0, 1].map(|i| self.set_up_ring(u32::try_from(i).expect("small"), rings[i]))
    }

    fn set_up_ring(&self, index: u32, ring: &DriverRing) -> Notifications {
        let notifications = Notifications::new();
        let layout = ring.layout();
        let pair = |value: u32| [index.to_ne_bytes(), value.to_ne_bytes()].concat();
        let fd_index = u64::from(index).to_ne_bytes();
        self.ask(13, &fd_index, &[notifications.call_end.as_fd()]);
        self.ask(8, &pair(layout.size), &[]);
        self.ask(10, &pair(0), &[]);
        let mut addresses = pair(0);
        for address in [layout.descriptors, layout.used, layout.available, u64::MAX] {
            addresses.extend(address.to_ne_bytes());
        }
        self.ask(9, &addresses, &[]);
        self.ask(12, &fd_index, &[notifications.kick.as_fd()]);
        self.ask(18, &pair(1), &[]);
        notifications
    }
}

/// UML's table for one region: always 72 bytes, with room for a second region.
pub fn memory_table(memory: &GuestMemory) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(1_u32.to_ne_bytes());
    payload.extend(0_u32.to_ne_bytes());
    for word in [memory.base, memory.size, memory.base, memory.base] {
        payload.extend(word.to_ne_bytes());
    }
    payload.resize(72, 0);
    payload
}

/// A ring's notifications, as UML makes them: an eventfd and a socket pair.
pub struct Notifications {
    pub kick: File,
    call: UnixStream,
    call_end: UnixStream,
}

impl Notifications {
    /// Nothing signalled yet.
    pub fn new() -> Self {
        let kick = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty());
        let (call, call_end) = UnixStream::pair().expect("a socket pair");
        call.set_nonblocking(true).expect("a socket option");
        Self {
            kick: File::from(kick.expect("an eventfd")),
            call,
            call_end,
        }
    }

    /// What the device calls through, as it gets it: it may not block there.
    pub fn call_end(&self) -> UnixStream {
        let end = self.call_end.try_clone().expect("a descriptor");
        end.set_nonblocking(true).expect("a socket option");
        end
    }

    /// Notifies the device.
    pub fn kick(&self) {
        (&self.kick)
            .write_all(&1_u64.to_ne_bytes())
            .expect("an eventfd takes 8 bytes");
    }

    /// How many calls have come since the last question.
    pub fn calls(&self) -> usize {
        let mut count = 0;
        while (&self.call).read(&mut [0; 8]).is_ok_and(|got| got == 8) {
            count += 1;
        }
        count
    }
}
