// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A histogram of durations that costs a few instructions for each value, never allocates after it
//! was made, and can be subtracted.

use serde::Serialize;

/// Bits of a value that choose the bucket inside its power of two: buckets are 1/16 wide, so that
/// a percentile is at most 6.25 % above the true value.
pub const SUB_BUCKET_BITS: u32 = 4;

const SUB_BUCKETS: usize = 1 << SUB_BUCKET_BITS;

/// Values at and above 2^32 ns (4.3 s) count in the last bucket.
const VALUE_BITS: u32 = 32;

/// Number of buckets: one for each value below 16, then 16 for each power of two.
pub const BUCKETS: usize = SUB_BUCKETS + (VALUE_BITS - SUB_BUCKET_BITS) as usize * SUB_BUCKETS;

/// Counts of durations in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    sum: u64,
    max: u64,
}

/// The usual figures of a [`Histogram`], in nanoseconds; all 0 when it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Largest value.
    pub max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// Puts a histogram together from what a log page holds.
    pub fn from_parts(buckets: [u64; BUCKETS], sum: u64, max: u64) -> Self {
        let count = buckets.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        Self {
            buckets: Box::new(buckets),
            count,
            sum,
            max,
        }
    }

    /// Counts one value.
    pub fn record(&mut self, nanos: u64) {
        self.buckets[bucket_of(nanos)] += 1;
        self.count += 1;
        self.sum = self.sum.wrapping_add(nanos);
        self.max = self.max.max(nanos);
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all values in nanoseconds, modulo 2^64.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Largest value in nanoseconds.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The counts, in ascending order of value.
    pub fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }

    /// The upper end of the bucket in which the value of rank `per_mille`/1000 lies, never above
    /// the largest value; 0 when there is none.
    pub fn percentile(&self, per_mille: u32) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let rank = u128::from(self.count) * u128::from(per_mille.min(1000));
        let rank = rank.div_ceil(1000).max(1);
        let mut seen = 0u128;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return upper_end(index).min(self.max);
            }
        }
        self.max
    }

    /// The usual figures.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50_ns: self.percentile(500),
            p99_ns: self.percentile(990),
            p999_ns: self.percentile(999),
            max_ns: self.max,
        }
    }

    /// Adds the values of `other`.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// What was counted since `earlier`, an older state of this histogram. The largest value is
    /// then known only as the upper end of the highest bucket that grew, unless it grew itself.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = [0; BUCKETS];
        for (index, slot) in buckets.iter_mut().enumerate() {
            *slot = self.buckets[index].saturating_sub(earlier.buckets[index]);
        }
        let max = if self.max > earlier.max {
            self.max
        } else {
            let highest = buckets.iter().rposition(|n| *n != 0);
            highest.map_or(0, |index| upper_end(index).min(self.max))
        };
        Self::from_parts(buckets, self.sum.wrapping_sub(earlier.sum), max)
    }
}

/// The bucket that counts `value`.
fn bucket_of(value: u64) -> usize {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    let power = value.checked_ilog2().unwrap_or(0);
    if power < SUB_BUCKET_BITS {
        return value as usize;
    }
    let shift = power - SUB_BUCKET_BITS;
    let sub = (value >> shift) as usize - SUB_BUCKETS;
    (shift as usize + 1) * SUB_BUCKETS + sub
}

/// The largest value that bucket `index` counts.
fn upper_end(index: usize) -> u64 {
    if index < SUB_BUCKETS {
        return index as u64;
    }
    let shift = index / SUB_BUCKETS - 1;
    let sub = index % SUB_BUCKETS;
    (((SUB_BUCKETS + sub + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_of_every_power_of_two_is_ordered_and_in_range() {
        let mut last = 0;
        // From 4 on, the neighbours of one power are not beyond those of the next.
        for power in 2..64 {
            for value in [(1u64 << power) - 1, 1 << power, (1 << power) + 1] {
                let bucket = bucket_of(value);
                assert!(bucket < BUCKETS);
                assert!(bucket >= last, "value {value}");
                last = last.max(bucket);
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn upper_end_is_the_last_value_of_its_bucket() {
        for index in 0..BUCKETS {
            assert_eq!(bucket_of(upper_end(index)), index);
            if index + 1 < BUCKETS {
                assert_eq!(bucket_of(upper_end(index) + 1), index + 1);
            }
        }
    }

    #[test]
    fn percentile_of_a_ramp_is_within_a_sixteenth() {
        let mut histogram = Histogram::default();
        for value in 1..=10_000 {
            histogram.record(value);
        }
        let median = histogram.percentile(500);
        assert!((5_000..=5_313).contains(&median), "{median}");
        assert_eq!(histogram.percentile(1000), 10_000);
    }

    #[test]
    fn percentile_of_nothing_is_zero() {
        assert_eq!(Histogram::default().percentiles(), Percentiles::default());
    }

    #[test]
    fn since_leaves_only_later_values() {
        let mut histogram = Histogram::default();
        histogram.record(1_000_000);
        let earlier = histogram.clone();
        histogram.record(5);
        histogram.record(7);
        let difference = histogram.since(&earlier);
        assert_eq!(difference.count(), 2);
        assert_eq!(difference.sum(), 12);
        assert_eq!(difference.max(), 7);
        assert_eq!(difference.percentile(500), 5);
    }
}
