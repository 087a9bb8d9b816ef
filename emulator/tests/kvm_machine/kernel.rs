// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernels of a few instructions, in the two formats that the machine boots.

/// Machine code that means the same in 32-bit and 64-bit mode, one piece after another.
#[derive(Clone, Default)]
pub struct Code(Vec<u8>);

const COM1: u16 = 0x3F8;
const COM2: u16 = 0x2F8;
const PM1_CONTROL: u16 = 0x604;
const RESET: u16 = 0xCF9;

impl Code {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of instructions.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// `mov dx, port`
    fn port(self, port: u16) -> Self {
        let [low, high] = port.to_le_bytes();
        self.raw(&[0x66, 0xBA, low, high])
    }

    /// `mov eax, value`
    fn eax(self, value: u32) -> Self {
        self.raw(&[0xB8]).raw(&value.to_le_bytes())
    }

    /// Writes to the console.
    pub fn print(self, text: &str) -> Self {
        self.print_on(COM1, text)
    }

    /// Writes to the second serial port.
    pub fn print_channel(self, text: &str) -> Self {
        self.print_on(COM2, text)
    }

    fn print_on(self, port: u16, text: &str) -> Self {
        // mov al, byte; out dx, al
        text.bytes()
            .fold(self.port(port), |code, byte| code.raw(&[0xB0, byte, 0xEE]))
    }

    /// Reads a register of PCI configuration space through the ports into EAX.
    pub fn pci_config(self, device: u32, register: u32) -> Self {
        let address = 0x8000_0000 | device << 11 | register;
        // out dx, eax; in eax, dx
        self.eax(address)
            .port(0xCF8)
            .raw(&[0xEF])
            .port(0xCFC)
            .raw(&[0xED])
    }

    /// Goes on only if EAX is `value`; else a fault.
    pub fn expect_eax(self, value: u32) -> Self {
        // cmp eax, value; je over; ud2
        self.raw(&[0x3D])
            .raw(&value.to_le_bytes())
            .raw(&[0x74, 0x02])
            .fault()
    }

    /// Soft off.
    pub fn power_off(self) -> Self {
        // mov ax, SLP_EN | 5 << 10; out dx, ax
        self.port(PM1_CONTROL)
            .raw(&[0x66, 0xB8, 0x00, 0x34, 0x66, 0xEF])
    }

    /// Hard reset.
    pub fn reset(self) -> Self {
        self.port(RESET).raw(&[0xB0, 0x06, 0xEE])
    }

    /// `ud2`, for which nobody has a handler.
    pub fn fault(self) -> Self {
        self.raw(&[0x0F, 0x0B])
    }

    /// `jmp .`
    pub fn spin(self) -> Self {
        self.raw(&[0xEB, 0xFE])
    }

    /// As a bzImage with a 64-bit entry point.
    pub fn bzimage(&self) -> Vec<u8> {
        const SETUP: usize = 1024;
        let mut image = vec![0; SETUP + 0x200];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x1F1, &[1]); // setup sectors behind the first
        put(0x1FE, &0xAA55_u16.to_le_bytes());
        put(0x202, b"HdrS");
        put(0x206, &0x020C_u16.to_le_bytes());
        put(0x211, &[1]); // loaded high
        put(0x214, &0x10_0000_u32.to_le_bytes());
        put(0x22C, &0x7FFF_FFFF_u32.to_le_bytes());
        put(0x236, &1_u16.to_le_bytes()); // there is a 64-bit entry point
        image.extend_from_slice(&self.0);
        image.resize(image.len().next_multiple_of(512), 0);
        image
    }

    /// As an ELF file with a PVH note, entered in 32-bit mode.
    pub fn pvh(&self) -> Vec<u8> {
        const BASE: u64 = 0x10_0000;
        const HEADERS: usize = 64 + 2 * 56;
        const NOTE: usize = 20;
        let code_at = HEADERS + NOTE;
        let mut image = Vec::new();
        let mut put = |bytes: &[u8]| image.extend_from_slice(bytes);
        put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        put(&2_u16.to_le_bytes()); // executable
        put(&62_u16.to_le_bytes()); // x86-64
        put(&1_u32.to_le_bytes());
        put(&BASE.to_le_bytes()); // entry, of which PVH has another
        put(&64_u64.to_le_bytes()); // program headers
        put(&0_u64.to_le_bytes());
        put(&0_u32.to_le_bytes());
        for half in [64_u16, 56, 2, 0, 0, 0] {
            put(&half.to_le_bytes());
        }
        let mut program_header = |kind: u32, offset: usize, address: u64, bytes: usize| {
            put(&kind.to_le_bytes());
            put(&7_u32.to_le_bytes());
            for word in [
                offset as u64,
                address,
                address,
                bytes as u64,
                bytes as u64,
                4,
            ] {
                put(&word.to_le_bytes());
            }
        };
        program_header(1, code_at, BASE, self.0.len());
        program_header(4, HEADERS, 0, NOTE);
        for word in [4_u32, 4, 18] {
            image.extend_from_slice(&word.to_le_bytes());
        }
        image.extend_from_slice(b"Xen\0");
        image.extend_from_slice(&0x10_0000_u32.to_le_bytes());
        image.extend_from_slice(&self.0);
        image
    }
}
