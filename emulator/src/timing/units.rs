// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Values with units, as people write them: `6.2us`, `4KiB`.

/// Nanoseconds of a duration such as `6.2us`: a decimal number and `ns`, `us`, `ms` or `s`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn duration(text: &str) -> Result<u64, String> {
    let units = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
    ];
    quantity(text, &units).ok_or_else(|| {
        format!("\"{text}\" is not a duration: write a number and ns, us, ms or s, as in \"6.2us\"")
    })
}

/// Bytes of a size such as `4KiB`: a decimal number and `B`, `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("B", 1),
    ];
    quantity(text, &units).ok_or_else(|| {
        format!("\"{text}\" is not a size: write a number and B, KiB, MiB or GiB, as in \"4KiB\"")
    })
}

/// The first unit that the text ends with decides. The value must be whole in the smallest unit and
/// below 2^63.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (digits, scale) = units
        .iter()
        .find_map(|(name, scale)| Some((text.strip_suffix(name)?, *scale)))?;
    let digits = digits.trim_end();
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let tenths = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = number(fraction)?.checked_mul(scale)?;
    if part % tenths != 0 {
        return None;
    }
    let value = number(whole)?
        .checked_mul(scale)?
        .checked_add(part / tenths)?;
    i64::try_from(value).is_ok().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_with_every_unit_is_nanoseconds() {
        assert_eq!(duration("0ns"), Ok(0));
        assert_eq!(duration("6.2us"), Ok(6_200));
        assert_eq!(duration("0.4 us"), Ok(400));
        assert_eq!(duration("1.5ms"), Ok(1_500_000));
        assert_eq!(duration("2s"), Ok(2_000_000_000));
    }

    #[test]
    fn duration_that_is_none_is_refused() {
        for text in [
            "", "us", "6", "6.2", "-1us", "1.us", ".5us", "1e3us", "0.5ns", "1m",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("99999999999999999999s").is_err());
        assert!(duration("9999999999999999s").is_err());
    }

    #[test]
    fn size_with_every_unit_is_bytes() {
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("4KiB"), Ok(4096));
        assert_eq!(size("1.5MiB"), Ok(3 << 19));
        assert!(size("4KB").is_err());
        assert!(size("4k").is_err());
    }
}
