// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MSI-X: table, masks and pending bits (PCI Express Base 4.0, 6.1.4 and 7.7.2).

/// The vectors that fit the table's page in BAR0, and those a function of 64 queue pairs and more
/// ever needs.
pub const MAX_VECTORS: u16 = 256;

/// Bytes of a table entry: address, upper address, data, vector control.
const ENTRY: usize = 16;
/// Where vector control's mask bit is in an entry.
const ENTRY_CONTROL: usize = 12;
const ENTRY_MASKED: u8 = 1;

/// The memory write that signals an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Where it goes.
    pub address: u64,
    /// What is written.
    pub data: u32,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is on its way.
    Sent,
    /// There is no room for it now: it stays pending and is tried again.
    Busy,
}

/// Takes messages to the guest. Implemented by front ends.
pub trait MsiPort {
    /// Sends the message of table entry `vector`.
    fn send(&mut self, vector: u16, message: MsiMessage) -> Delivery;
}

/// A function's MSI-X state, or a copy of it for a thread that raises interrupts of its own while
/// the guest cannot change anything. Disabled, it loses what is raised, as a function without an
/// interrupt pin does.
#[derive(Clone)]
pub struct Msix {
    table: Vec<u8>,
    pending: Vec<u8>,
    enabled: bool,
    function_masked: bool,
    /// Something may have become deliverable since the last [`Msix::deliver_pending`].
    recheck: bool,
}

impl Msix {
    /// A table of `vectors` entries, limited to [`MAX_VECTORS`], each masked as after a reset.
    pub fn new(vectors: u16) -> Self {
        let vectors = usize::from(vectors.clamp(1, MAX_VECTORS));
        let mut msix = Self {
            table: vec![0; vectors * ENTRY],
            // The array consists of 64-bit words.
            pending: vec![0; vectors.div_ceil(64) * 8],
            enabled: false,
            function_masked: false,
            recheck: false,
        };
        msix.reset();
        msix
    }

    /// Back to the state after a reset: disabled, nothing pending, each entry masked.
    pub fn reset(&mut self) {
        self.table.fill(0);
        for entry in self.table.chunks_exact_mut(ENTRY) {
            entry[ENTRY_CONTROL] = ENTRY_MASKED;
        }
        self.pending.fill(0);
        self.enabled = false;
        self.function_masked = false;
        self.recheck = false;
    }

    /// Takes over the message control register.
    pub fn set_control(&mut self, enabled: bool, function_masked: bool) {
        if self.enabled && !enabled {
            self.pending.fill(0);
        }
        self.enabled = enabled;
        self.function_masked = function_masked;
        self.recheck = true;
    }

    /// Reads the table; bytes outside read as 0.
    pub fn read_table(&self, offset: u64, data: &mut [u8]) {
        read_bytes(&self.table, offset, data);
    }

    /// Writes the table; bytes outside are ignored.
    pub fn write_table(&mut self, offset: u64, data: &[u8]) {
        let Ok(start) = usize::try_from(offset) else {
            return;
        };
        for (at, &byte) in (start..self.table.len()).zip(data) {
            self.table[at] = match at % ENTRY {
                0 => byte & !0b11, // messages are aligned to 4 bytes
                ENTRY_CONTROL => byte & ENTRY_MASKED,
                13.. => 0,
                _ => byte,
            };
        }
        self.recheck = true;
    }

    /// Reads the pending bit array; bytes outside read as 0.
    pub fn read_pending(&self, offset: u64, data: &mut [u8]) {
        read_bytes(&self.pending, offset, data);
    }

    /// Signals `vector`: sends its message, or notes it as pending while a mask or a full port is
    /// in the way. A vector that does not exist is ignored.
    pub fn raise(&mut self, vector: u16, port: &mut dyn MsiPort) {
        if !self.enabled {
            return;
        }
        let Some((message, masked)) = self.entry(vector) else {
            return;
        };
        if masked || self.function_masked {
            self.set_pending(vector, true);
        } else if port.send(vector, message) == Delivery::Busy {
            self.set_pending(vector, true);
            self.recheck = true;
        }
    }

    /// Sends what was pending and is no longer masked. Costs one test when nothing can have
    /// changed.
    pub fn deliver_pending(&mut self, port: &mut dyn MsiPort) {
        if !self.recheck || !self.enabled || self.function_masked {
            return;
        }
        self.recheck = false;
        if self.pending.iter().all(|&byte| byte == 0) {
            return;
        }
        for vector in 0..self.vectors() {
            if !self.is_pending(vector) {
                continue;
            }
            if let Some((message, false)) = self.entry(vector) {
                match port.send(vector, message) {
                    Delivery::Sent => self.set_pending(vector, false),
                    Delivery::Busy => self.recheck = true,
                }
            }
        }
    }

    /// Whether a pending message waits for nothing but room in the port.
    pub fn wants_retry(&self) -> bool {
        self.recheck && self.enabled && !self.function_masked
    }

    /// Makes `copy` one of this state, with nothing pending.
    pub fn copy_to(&self, copy: &mut Self) {
        copy.clone_from(self);
        copy.pending.fill(0);
        copy.recheck = false;
    }

    /// Takes over what became pending in a copy.
    pub fn take_over(&mut self, copy: &mut Self) {
        for (mine, theirs) in self.pending.iter_mut().zip(&mut copy.pending) {
            *mine |= std::mem::take(theirs);
        }
        self.recheck |= std::mem::take(&mut copy.recheck);
    }

    /// Number of vectors.
    pub fn vectors(&self) -> u16 {
        u16::try_from(self.table.len() / ENTRY).unwrap_or(MAX_VECTORS)
    }

    /// The message of a table entry, and whether the entry is masked.
    fn entry(&self, vector: u16) -> Option<(MsiMessage, bool)> {
        let start = usize::from(vector) * ENTRY;
        let entry: &[u8; ENTRY] = self.table.get(start..start + ENTRY)?.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| entry[at + i]));
        let message = MsiMessage {
            address: u64::from(word(4)) << 32 | u64::from(word(0)),
            data: word(8),
        };
        Some((message, entry[ENTRY_CONTROL] & ENTRY_MASKED != 0))
    }

    fn is_pending(&self, vector: u16) -> bool {
        let vector = usize::from(vector);
        self.pending[vector / 8] & 1 << (vector % 8) != 0
    }

    fn set_pending(&mut self, vector: u16, pending: bool) {
        let vector = usize::from(vector);
        let bit = 1 << (vector % 8);
        if pending {
            self.pending[vector / 8] |= bit;
        } else {
            self.pending[vector / 8] &= !bit;
        }
    }
}

fn read_bytes(from: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    if let Ok(start) = usize::try_from(offset)
        && let Some(tail) = from.get(start..)
    {
        let length = data.len().min(tail.len());
        data[..length].copy_from_slice(&tail[..length]);
    }
}
