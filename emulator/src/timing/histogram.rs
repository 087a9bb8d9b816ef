// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Service times as somebody has measured them: a histogram in a CSV file.
//!
//! The columns are `up_to` (a duration with its unit) and `count`. The times of a row lie evenly
//! between the row before and its own `up_to`; the first row says where the first bin begins, and its
//! count is 0.

use serde::Deserialize;

use super::{LONGEST, Nanos, scale, units};

/// Most rows of a file.
const MOST_BINS: usize = 10_000;

/// A checked histogram: at least one bin that is not empty, bounds that grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: Vec<Nanos>,
    /// How many there are up to the end of each bin; one shorter than `bounds`.
    cumulative: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    up_to: String,
    count: u64,
}

impl Histogram {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// A sentence with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let mut histogram = Self {
            bounds: Vec::new(),
            cumulative: Vec::new(),
        };
        let headers = reader.headers().map_err(|error| error.to_string())?.clone();
        let mut record = csv::StringRecord::new();
        while reader
            .read_record(&mut record)
            .map_err(|error| error.to_string())?
        {
            let line = record.position().map_or(0, csv::Position::line);
            let row: Row = record
                .deserialize(Some(&headers))
                .map_err(|error| format!("line {line}: {error}"))?;
            histogram
                .push(&row)
                .map_err(|message| format!("line {line}: {message}"))?;
        }
        match histogram.cumulative.last() {
            Some(&total) if total > 0 => Ok(histogram),
            _ => Err("no times in it: write at least two rows of up_to,count".into()),
        }
    }

    fn push(&mut self, row: &Row) -> Result<(), String> {
        let bound = units::duration(&row.up_to)?;
        if bound > LONGEST {
            return Err(format!("{} is longer than a minute", row.up_to));
        }
        if self.bounds.len() > MOST_BINS {
            return Err(format!("more than {MOST_BINS} bins"));
        }
        match self.bounds.last() {
            None if row.count > 0 => {
                return Err("the first row says where the first bin begins: its count is 0".into());
            }
            None => {}
            Some(&last) if last >= bound => {
                return Err(format!("{} is not longer than the row before", row.up_to));
            }
            Some(_) => {
                let before = self.cumulative.last().copied().unwrap_or(0);
                let total = before
                    .checked_add(row.count)
                    .ok_or("the counts add up to more than 2^64")?;
                self.cumulative.push(total);
            }
        }
        self.bounds.push(bound);
        Ok(())
    }

    /// The time that two draws of 64 bits stand for: one for the bin, one for the place in it.
    pub fn at(&self, bin: u64, place: u64) -> Nanos {
        let total = self.cumulative.last().copied().unwrap_or(0);
        let rank = scale(bin, total.saturating_sub(1));
        let bin = self.cumulative.partition_point(|&upto| upto <= rank);
        let (low, high) = match self.bounds.get(bin..bin + 2) {
            Some(&[low, high]) => (low, high),
            _ => return 0,
        };
        low + scale(place, high - low)
    }

    /// The time in the middle.
    pub fn median(&self) -> Nanos {
        self.at(u64::MAX / 2, u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: &str =
        "# an imaginary device\nup_to, count\n4us, 0\n5us, 900\n6us, 0\n20us, 100\n";

    #[test]
    fn at_takes_bins_as_often_as_they_were_counted() {
        let histogram = Histogram::parse(MEASURED).unwrap();
        let mut low = 0;
        for step in 0..1000u64 {
            let draw = step * (u64::MAX / 1000);
            let time = histogram.at(draw, draw);
            assert!((4000..=5000).contains(&time) || (6000..=20_000).contains(&time));
            low += u32::from(time <= 5000);
        }
        assert!((898..=902).contains(&low), "{low}");
        assert_eq!(histogram.at(0, 0), 4000);
        assert_eq!(histogram.at(u64::MAX, u64::MAX), 20_000);
        assert_eq!(histogram.median(), 4500);
    }

    #[test]
    fn parse_of_a_bad_file_names_the_line() {
        let cases = [
            ("4us, 0", "4us, 1", "line 3: the first row"),
            ("5us", "3us", "line 4: 3us is not longer"),
            (
                "5us",
                "5 parsecs",
                "line 4: \"5 parsecs\" is not a duration",
            ),
            ("900", "-900", "line 4: "),
            ("20us", "61s", "line 6: 61s is longer than a minute"),
            ("count", "counts", "line 3: "),
        ];
        for (from, to, message) in cases {
            let error = Histogram::parse(&MEASURED.replace(from, to)).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        for text in [
            "",
            "up_to,count\n",
            "up_to,count\n4us,0\n",
            "up_to,count\n4us,0\n5us,0\n",
        ] {
            let error = Histogram::parse(text).unwrap_err();
            assert!(error.starts_with("no times in it"), "{error}");
        }
    }
}
