// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The user's terminal while a guest has it.

use super::Console;

/// The terminal's settings, put back when dropped: a guest's process sets it to raw and its
/// descriptors to non-blocking, and does not tidy up when it is killed.
pub(super) struct TerminalState {
    saved: Option<(rustix::termios::Termios, rustix::fs::OFlags)>,
}

impl TerminalState {
    /// Saves them, if the guest gets the terminal.
    pub fn save(console: Console) -> Self {
        let stdin = std::io::stdin();
        let saved = (console == Console::Terminal)
            .then(|| {
                let settings = rustix::termios::tcgetattr(&stdin).ok()?;
                let flags = rustix::fs::fcntl_getfl(&stdin).ok()?;
                Some((settings, flags))
            })
            .flatten();
        Self { saved }
    }
}

impl Drop for TerminalState {
    fn drop(&mut self) {
        if let Some((settings, flags)) = &self.saved {
            let stdin = std::io::stdin();
            // A terminal that is gone needs no tidying.
            let _ = rustix::termios::tcsetattr(
                &stdin,
                rustix::termios::OptionalActions::Drain,
                settings,
            );
            let _ = rustix::fs::fcntl_setfl(&stdin, *flags);
        }
    }
}
