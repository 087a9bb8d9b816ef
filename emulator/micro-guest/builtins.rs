// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the compiler expects of a C library. String instructions, so that the compiler cannot turn
//! a loop in here into a call of the very same function.

use core::arch::asm;

/// # Safety
/// As the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller promises `bytes` readable bytes and as many writable ones, apart from each
    // other; the direction flag is clear in Rust code.
    unsafe {
        asm!("rep movsb", inout("rcx") bytes => _, inout("rdi") to => _, inout("rsi") from => _,
             options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= bytes {
        // SAFETY: copied upwards, no byte is overwritten before it was read.
        return unsafe { memcpy(to, from, bytes) };
    }
    // SAFETY: as in `memcpy`; the areas overlap with `to` behind `from`, so it is copied downwards,
    // beginning with the last byte (there is one), and the direction flag is cleared again.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") bytes => _,
             inout("rdi") to.add(bytes - 1) => _, inout("rsi") from.add(bytes - 1) => _,
             options(nostack));
    }
    to
}

/// # Safety
/// As the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    // SAFETY: the caller promises `bytes` writable bytes; the direction flag is clear.
    unsafe {
        asm!("rep stosb", inout("rcx") bytes => _, inout("rdi") to => _, in("eax") byte,
             options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, bytes: usize) -> i32 {
    for at in 0..bytes {
        // SAFETY: the caller promises `bytes` readable bytes in both.
        let (left, right) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// # Safety
/// As the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, bytes: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(a, b, bytes) }
}
