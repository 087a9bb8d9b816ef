// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Values with units, as people write them: `6.2us`, `4KiB`, `1.25M/s`, `3.2GB/s`.

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

/// A key and the value that it is to have, as in `read.time=7us`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// How often in a second: a decimal number and `/s`, `k/s` or `M/s`, as in `1.25M/s`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn rate(text: &str) -> Result<u64, String> {
    let units = [("k/s", 1_000), ("M/s", 1_000_000), ("/s", 1)];
    quantity(text, &units).ok_or_else(|| {
        format!("\"{text}\" is not a rate: write a number and /s, k/s or M/s, as in \"1.25M/s\"")
    })
}

/// Bytes a second of a bandwidth such as `3.2GB/s`: a decimal number and `B/s`, `kB/s`, `MB/s` or
/// `GB/s` (powers of ten), `KiB/s`, `MiB/s` or `GiB/s` (powers of two).
///
/// # Errors
/// A sentence that says what is wrong.
pub fn bandwidth(text: &str) -> Result<u64, String> {
    let units = [
        ("kB/s", 1_000),
        ("MB/s", 1_000_000),
        ("GB/s", 1_000_000_000),
        ("KiB/s", 1 << 10),
        ("MiB/s", 1 << 20),
        ("GiB/s", 1 << 30),
        ("B/s", 1),
    ];
    quantity(text, &units).ok_or_else(|| {
        format!(
            "\"{text}\" is not a bandwidth: write a number and kB/s, MB/s, GB/s, KiB/s, MiB/s or \
             GiB/s, as in \"3.2GB/s\""
        )
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

    #[test]
    fn rate_with_every_unit_is_a_number_a_second() {
        assert_eq!(rate("1.25M/s"), Ok(1_250_000));
        assert_eq!(rate("80k/s"), Ok(80_000));
        assert_eq!(rate("7/s"), Ok(7));
        assert!(rate("7").is_err());
        assert!(rate("7G/s").is_err());
    }

    #[test]
    fn bandwidth_with_every_unit_is_bytes_a_second() {
        assert_eq!(bandwidth("3.2GB/s"), Ok(3_200_000_000));
        assert_eq!(bandwidth("1.5MiB/s"), Ok(3 << 19));
        assert_eq!(bandwidth("9B/s"), Ok(9));
        assert!(bandwidth("3.2GB").is_err());
        assert!(bandwidth("-1GB/s").is_err());
    }
}
