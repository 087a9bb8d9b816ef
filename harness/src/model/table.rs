// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tables of what devices did: CSV files of `device,path,depth,block_size,iops,lat_p50_us`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::sweep::IoPath;

/// Deepest queue that a table may speak of.
const DEEPEST: u32 = 4096;

/// The seed's table, for programs without their `configs/`.
const SEED: &str = include_str!("../../../configs/tables/seed.csv");

/// What was measured in one place.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The device; also the name of the profile that stands for it.
    pub device: String,
    /// The software path.
    pub path: IoPath,
    /// Queue depth, 1 to 4096.
    pub depth: u32,
    /// Bytes of an I/O: a multiple of 512, at most 16 MiB.
    pub block_size: u32,
    /// I/Os a second, more than 0.
    pub iops: f64,
    /// Median completion latency, if it was measured.
    pub lat_p50_us: Option<f64>,
}

impl Cell {
    /// Whether two cells tell of the same place.
    fn is_of_the_same_place(&self, other: &Self) -> bool {
        let place = |cell: &Self| (cell.path, cell.depth, cell.block_size);
        self.device == other.device && place(self) == place(other)
    }

    fn check(&self) -> Result<(), String> {
        let positive = |figure: f64| figure.is_finite() && figure > 0.0;
        if self.device.is_empty() || self.device.contains(['/', '.']) {
            return Err(format!(
                "device \"{}\" is no name that a profile can have",
                self.device
            ));
        }
        if !IoPath::SEED.contains(&self.path) {
            return Err(format!(
                "path {} is none that the model knows: mainline, aio-poll, aio-poll-all",
                self.path
            ));
        }
        if !(1..=DEEPEST).contains(&self.depth) {
            return Err(format!(
                "depth {} is not between 1 and {DEEPEST}",
                self.depth
            ));
        }
        if !self.block_size.is_multiple_of(512) || !(512..=16 << 20).contains(&self.block_size) {
            return Err(format!(
                "block_size {} is no multiple of 512 between 512 and 16777216",
                self.block_size
            ));
        }
        if !positive(self.iops) {
            return Err(format!("iops {} is not more than 0", self.iops));
        }
        match self.lat_p50_us {
            Some(latency) if !positive(latency) => {
                Err(format!("lat_p50_us {latency} is not more than 0"))
            }
            _ => Ok(()),
        }
    }
}

/// The cells of the seed's table.
pub fn seed() -> Vec<Cell> {
    parse(SEED, "seed.csv").unwrap_or_else(|failure| unreachable!("{failure}"))
}

/// Reads a table.
///
/// # Errors
/// Exit 2, with file and line.
pub fn load(file: &Path) -> Result<Vec<Cell>, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    parse(&text, &file.display().to_string())
}

fn parse(text: &str, origin: &str) -> Result<Vec<Cell>, Failure> {
    let wrong = |message: String| Failure::usage(format!("{origin}: {message}"));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let headers = reader
        .headers()
        .map_err(|error| wrong(error.to_string()))?
        .clone();
    let mut cells: Vec<Cell> = Vec::new();
    for record in reader.into_records() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell: Cell = record
            .deserialize(Some(&headers))
            .map_err(|error| wrong(format!("line {line}: {}", kind(&error))))?;
        cell.check()
            .map_err(|message| wrong(format!("line {line}: {message}")))?;
        if cells.iter().any(|other| other.is_of_the_same_place(&cell)) {
            return Err(wrong(format!("line {line}: this cell was there before")));
        }
        cells.push(cell);
    }
    if cells.is_empty() {
        let columns = "device,path,depth,block_size,iops,lat_p50_us";
        return Err(wrong(format!("no figures in it: write rows of {columns}")));
    }
    Ok(cells)
}

/// Without the position: it is told already.
fn kind(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_has_thirty_cells_nine_with_latencies() {
        let cells = seed();
        assert_eq!(cells.len(), 30);
        let with_latency = cells.iter().filter(|cell| cell.lat_p50_us.is_some());
        assert_eq!(with_latency.count(), 9);
        let peak = cells.iter().map(|cell| cell.iops).fold(0.0, f64::max);
        assert!((peak - 1_230_000.0).abs() < 1.0);
    }

    #[test]
    fn parse_of_a_bad_table_names_file_and_line() {
        let header = "device,path,depth,block_size,iops,lat_p50_us";
        let cases = [
            (
                "d,mainline,1,4096,77000,8.5\nd,mainline,1,4096,1,",
                "line 3: this cell",
            ),
            ("d,warp,1,4096,77000,", "line 2: "),
            ("d,io-uring,1,4096,77000,", "line 2: path io-uring"),
            ("d,mainline,0,4096,77000,", "line 2: depth 0"),
            ("d,mainline,1,100,77000,", "line 2: block_size 100"),
            ("d,mainline,1,4096,-1,", "line 2: iops -1"),
            ("d,mainline,1,4096,NaN,", "line 2: iops NaN"),
            ("d,mainline,1,4096,77000,0", "line 2: lat_p50_us 0"),
            ("d,mainline,one,4096,77000,", "line 2: "),
            ("../d,mainline,1,4096,77000,", "line 2: device"),
            ("d,mainline,1", "CSV error"),
            ("", "no figures"),
        ];
        for (rows, message) in cases {
            let failure = parse(&format!("{header}\n{rows}"), "t.csv").unwrap_err();
            let text = failure.to_string();
            assert!(text.starts_with(&format!("t.csv: {message}")), "{text}");
        }
        let failure = parse("device,wings\nd,2", "t.csv").unwrap_err().to_string();
        assert!(failure.starts_with("t.csv: line 2: "), "{failure}");
    }
}
