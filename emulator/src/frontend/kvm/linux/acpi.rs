// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ACPI tables (ACPI 6.5): processors, PCI, serial ports, power.

use acpi_tables::aml::{
    self, AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed,
    Name, Package, Path, ResourceTemplate, Scope,
};
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace as GasSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::layout::{
    ACPI, ACPI_END, COM_PORTS, COM1, COM1_IRQ, COM2, COM2_IRQ, ECAM, IOAPIC, LOCAL_APIC,
    PCI_MEMORY, PCI_MEMORY_SIZE, PM_TIMER, PM1_CONTROL, PM1_EVENT, RESET, RESET_VALUE, SCI_IRQ,
    SLEEP_TYPE_OFF,
};
use crate::frontend::kvm::pci_bus::ECAM_SIZE;

const OEM_ID: [u8; 6] = *b"HIPRI ";
const OEM_TABLE: [u8; 8] = *b"HIPRIVMM";
const OEM_REVISION: u32 = 1;

/// IAPC_BOOT_ARCH (ACPI 6.5, 5.2.9.3): there are serial ports, but no VGA and no CMOS clock.
const BOOT_ARCH: u16 = 1 << 0 | 1 << 2 | 1 << 5;

/// Tables that do not fit, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AcpiError {
    /// There is no room.
    #[error("the ACPI tables need {bytes} bytes, more than fit below 1 MiB")]
    TooLarge {
        /// What they need.
        bytes: u64,
    },
    /// Guest memory is smaller than that.
    #[error("the ACPI tables cannot be written: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

/// Writes all tables for `cpus` processors and returns the address of the root pointer.
///
/// # Errors
/// See [`AcpiError`].
pub fn write(memory: &GuestMemoryMmap, cpus: u8) -> Result<u64, AcpiError> {
    let mut writer = Writer {
        memory,
        next: ACPI + Rsdp::len() as u64,
    };
    let dsdt = writer.put(&Table(dsdt()))?;
    let facs = writer.put(&FACS::new())?;
    let fadt = writer.put(&fadt(dsdt, facs).finalize())?;
    let madt = writer.put(&madt(cpus))?;
    let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE, OEM_REVISION);
    mcfg.add_ecam(ECAM, 0, 0, 0);
    let mcfg = writer.put(&mcfg)?;
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE, OEM_REVISION);
    for table in [fadt, madt, mcfg] {
        xsdt.add_entry(table);
    }
    let xsdt = writer.put(&xsdt)?;
    let root = bytes(&Rsdp::new(OEM_ID, xsdt));
    memory.write_slice(&root, GuestAddress(ACPI))?;
    Ok(ACPI)
}

struct Writer<'a> {
    memory: &'a GuestMemoryMmap,
    next: u64,
}

impl Writer<'_> {
    fn put(&mut self, table: &dyn Aml) -> Result<u64, AcpiError> {
        let bytes = bytes(table);
        // The FACS must be aligned to 64 bytes; it hurts no other.
        let place = self.next.next_multiple_of(64);
        let end = place + bytes.len() as u64;
        if end > ACPI_END {
            return Err(AcpiError::TooLarge { bytes: end - ACPI });
        }
        self.memory.write_slice(&bytes, GuestAddress(place))?;
        self.next = end;
        Ok(place)
    }
}

/// A table as its bytes.
struct Table(Sdt);

impl Aml for Table {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(self.0.as_slice());
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// The tables are below 1 MiB.
fn low(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(0)
}

fn port(port: u16, bytes: u8) -> GAS {
    let access = match bytes {
        1 => AccessSize::ByteAccess,
        2 => AccessSize::WordAccess,
        _ => AccessSize::DwordAccess,
    };
    GAS::new(GasSpace::SystemIo, bytes * 8, 0, access, port.into())
}

fn fadt(dsdt: u64, facs: u64) -> FADTBuilder {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE, OEM_REVISION)
        .dsdt_32(low(dsdt))
        .dsdt_64(dsdt)
        .firmware_ctrl_32(low(facs))
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup);
    fadt.sci_int = u16::from(SCI_IRQ).into();
    fadt.pm1a_evt_blk = u32::from(PM1_EVENT).into();
    fadt.pm1a_cnt_blk = u32::from(PM1_CONTROL).into();
    fadt.pm_tmr_blk = u32::from(PM_TIMER).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1_cnt_len = 2;
    fadt.pm_tmr_len = 4;
    fadt.x_pm1a_evt_blk = port(PM1_EVENT, 4);
    fadt.x_pm1a_cnt_blk = port(PM1_CONTROL, 2);
    fadt.x_pm_tmr_blk = port(PM_TIMER, 4);
    // Latencies above 100 and 1000 say that C2 and C3 do not exist.
    fadt.p_lvl2_lat = 101.into();
    fadt.p_lvl3_lat = 1001.into();
    fadt.iapc_boot_arch = BOOT_ARCH.into();
    fadt.reset_reg = port(RESET, 1);
    fadt.reset_value = RESET_VALUE;
    fadt
}

fn madt(cpus: u8) -> MADT {
    let mut madt = MADT::new(
        OEM_ID,
        OEM_TABLE,
        OEM_REVISION,
        LocalInterruptController::Address(LOCAL_APIC),
    );
    for cpu in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, IOAPIC, 0));
    madt
}

fn dsdt() -> Sdt {
    let mut sdt = Sdt::new(*b"DSDT", 36, 6, OEM_ID, OEM_TABLE, OEM_REVISION);
    let mut code = Vec::new();
    append_root(&mut code);
    append_devices(&mut code);
    sdt.append_slice(&code);
    sdt
}

/// What "soft off" is.
fn append_root(code: &mut Vec<u8>) {
    Name::new(
        Path::new("\\_S5_"),
        &Package::new(vec![&SLEEP_TYPE_OFF, &aml::ZERO, &aml::ZERO, &aml::ZERO]),
    )
    .to_aml_bytes(code);
}

fn append_devices(code: &mut Vec<u8>) {
    let ecam = Memory32Fixed::new(true, low(ECAM), low(ECAM_SIZE));
    let board_resources = ResourceTemplate::new(vec![&ecam]);
    let board_id = Name::new(Path::new("_HID"), &EISAName::new("PNP0C02"));
    let board_crs = Name::new(Path::new("_CRS"), &board_resources);
    let board = Device::new(Path::new("BRD0"), vec![&board_id, &board_crs]);

    let bus = AddressSpace::new_bus_number(0u16, 0u16);
    let config = IO::new(0xCF8, 0xCF8, 1, 8);
    let ports_below = AddressSpace::new_io(0u16, 0xCF7u16, None);
    let ports_above = AddressSpace::new_io(0xD00u16, 0xFFFFu16, None);
    let window = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        low(PCI_MEMORY),
        low(PCI_MEMORY + PCI_MEMORY_SIZE - 1),
        None,
    );
    let pci_resources =
        ResourceTemplate::new(vec![&bus, &config, &ports_below, &ports_above, &window]);
    let pci_hid = Name::new(Path::new("_HID"), &EISAName::new("PNP0A08"));
    let pci_cid = Name::new(Path::new("_CID"), &EISAName::new("PNP0A03"));
    let pci_uid = Name::new(Path::new("_UID"), &aml::ZERO);
    let pci_segment = Name::new(Path::new("_SEG"), &aml::ZERO);
    let pci_bus = Name::new(Path::new("_BBN"), &aml::ZERO);
    let pci_crs = Name::new(Path::new("_CRS"), &pci_resources);
    let pci = Device::new(
        Path::new("PCI0"),
        vec![
            &pci_hid,
            &pci_cid,
            &pci_uid,
            &pci_segment,
            &pci_bus,
            &pci_crs,
        ],
    );

    Scope::new(Path::new("_SB_"), vec![&board, &pci]).to_aml_bytes(code);
    append_serial(code, "COM1", 1, COM1, COM1_IRQ);
    append_serial(code, "COM2", 2, COM2, COM2_IRQ);
}

fn append_serial(code: &mut Vec<u8>, name: &str, number: u8, first: u16, irq: u32) {
    let ports = IO::new(first, first, 1, COM_PORTS.to_le_bytes()[0]);
    // A consumer; edge triggered, active high, not shared.
    let interrupt = Interrupt::new(true, true, false, false, irq);
    let resources = ResourceTemplate::new(vec![&ports, &interrupt]);
    let hid = Name::new(Path::new("_HID"), &EISAName::new("PNP0501"));
    let uid = Name::new(Path::new("_UID"), &number);
    let crs = Name::new(Path::new("_CRS"), &resources);
    let device = Device::new(Path::new(name), vec![&hid, &uid, &crs]);
    Scope::new(Path::new("_SB_"), vec![&device]).to_aml_bytes(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn table_at(memory: &GuestMemoryMmap, address: u64) -> Vec<u8> {
        let mut length = [0; 4];
        memory
            .read_slice(&mut length, GuestAddress(address + 4))
            .unwrap();
        let mut table = vec![0; u32::from_le_bytes(length) as usize];
        memory
            .read_slice(&mut table, GuestAddress(address))
            .unwrap();
        table
    }

    #[test]
    fn write_makes_tables_that_lead_to_each_other() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 2 << 20)]).unwrap();
        let root = write(&memory, 4).unwrap();

        let mut rsdp = [0; 36];
        memory.read_slice(&mut rsdp, GuestAddress(root)).unwrap();
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        assert_eq!(sum(&rsdp), 0);
        let xsdt = u64::from_le_bytes(rsdp[24..32].try_into().unwrap());
        let xsdt = table_at(&memory, xsdt);
        assert_eq!(&xsdt[..4], b"XSDT");
        let mut names = Vec::new();
        for entry in xsdt[36..].chunks_exact(8) {
            let table = table_at(&memory, u64::from_le_bytes(entry.try_into().unwrap()));
            assert_eq!(sum(&table), 0);
            names.push(String::from_utf8(table[..4].to_vec()).unwrap());
        }
        assert_eq!(names, ["FACP", "APIC", "MCFG"]);
    }

    #[test]
    fn write_sixteen_processors_fit() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 2 << 20)]).unwrap();
        assert!(write(&memory, 16).is_ok());
    }
}
