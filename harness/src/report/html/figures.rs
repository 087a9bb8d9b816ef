// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How figures are written beside axes and points.

/// A number, in thousands and millions where it has them.
pub fn count(figure: f64) -> String {
    match figure {
        figure if figure >= 1e6 => format!("{}M", short(figure / 1e6)),
        figure if figure >= 1e3 => format!("{}K", short(figure / 1e3)),
        figure => short(figure),
    }
}

/// Nanoseconds, in the unit that suits them.
pub fn time(figure: f64) -> String {
    match figure {
        figure if figure >= 1e9 => format!("{} s", short(figure / 1e9)),
        figure if figure >= 1e6 => format!("{} ms", short(figure / 1e6)),
        figure if figure >= 1e3 => format!("{} \u{b5}s", short(figure / 1e3)),
        figure => format!("{} ns", short(figure)),
    }
}

/// Bytes, in the unit that suits them.
pub fn bytes(figure: f64) -> String {
    const KIB: f64 = 1024.0;
    match figure {
        figure if figure >= KIB * KIB => format!("{} MiB", short(figure / KIB / KIB)),
        figure if figure >= KIB => format!("{} KiB", short(figure / KIB)),
        figure => format!("{} B", short(figure)),
    }
}

/// A share of 1 in percent.
pub fn share(figure: f64) -> String {
    // 0.999 * 100 is not quite 99.9.
    let percent = format!("{:.6}", figure * 100.0);
    let percent = percent.trim_end_matches('0').trim_end_matches('.');
    format!("{percent} %")
}

/// Three digits, without zeros at the end.
pub fn short(figure: f64) -> String {
    let digits = match figure {
        figure if figure >= 100.0 => 0,
        figure if figure >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{figure:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A time or a count as a figure.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
pub fn nanoseconds(time: u64) -> f64 {
    time as f64
}
