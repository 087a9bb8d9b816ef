// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lines on standard output. Whoever reads them may stop reading (`hipri probe | head -1`): that
//! is no failure, and the rest is not written. Any other error is one.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Writes a line, as `println!` does, and gives what went wrong instead of panicking.
macro_rules! tell {
    () => { $crate::cli::tell::line(format_args!("")) };
    ($($text:tt)+) => { $crate::cli::tell::line(format_args!($($text)+)) };
}
pub(crate) use tell;

/// Writes a line to standard output.
///
/// # Errors
/// When it cannot be written although somebody still reads.
pub fn line(text: fmt::Arguments<'_>) -> anyhow::Result<()> {
    write_line(&mut io::stdout().lock(), text).context("writing to stdout")
}

fn write_line(to: &mut impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    match writeln!(to, "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_reader_that_left_is_no_failure() {
        assert!(write_line(&mut Failing(ErrorKind::BrokenPipe), format_args!("x")).is_ok());
        let full = write_line(&mut Failing(ErrorKind::StorageFull), format_args!("x"));
        assert_eq!(full.unwrap_err().kind(), ErrorKind::StorageFull);
        let mut lines = Vec::new();
        write_line(&mut lines, format_args!("{}", 1)).unwrap();
        assert_eq!(lines, b"1\n");
    }
}
