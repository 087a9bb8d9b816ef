// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a check must show.

use serde::Deserialize;

/// What a check's script must have done.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expectation {
    /// Its exit code; any but 0 when `fails` is set.
    pub exit: i32,
    /// It must fail. A command that is not found is no such failure.
    pub fails: bool,
    /// Texts that must occur in its output.
    pub output: Vec<String>,
    /// Texts that must not occur in its output.
    pub absent: Vec<String>,
    /// Texts that must occur in the kernel's log between its start and its end.
    pub kernel_log: Vec<String>,
    /// The kernel may complain (a warning with a stack, a hung task): the check is about that.
    pub complaints: bool,
    /// Its standard output is a KTAP document with at least this many results, all of which pass.
    pub ktap: Option<usize>,
    /// Results of that document that may be skipped; each must be in it.
    pub may_skip: Vec<String>,
    /// What the device must have counted meanwhile.
    pub counters: Option<CounterRule>,
    /// The medium holds what the script says, in lines `media OFFSET LENGTH SHA256`; looked at from
    /// outside, after the boot.
    pub media: bool,
    /// The script ends with the guest's power-off.
    pub power_off: bool,
}

/// How the job's I/Os must have been completed. Their number is what fio says in [`FIO_OUTPUT`].
///
/// [`FIO_OUTPUT`]: super::judge::FIO_OUTPUT
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CounterRule {
    /// All of them polled, and at most this many other commands by interrupt: a file system's
    /// own. On a raw device that is 0.
    pub polled_besides: u64,
}

impl Expectation {
    /// Why it can never be met, or never be missed, if that is so.
    pub fn mistake(&self) -> Option<String> {
        let texts = [
            ("output", &self.output),
            ("absent", &self.absent),
            ("kernel-log", &self.kernel_log),
            ("may-skip", &self.may_skip),
        ];
        for (key, texts) in texts {
            if texts.iter().any(String::is_empty) {
                return Some(format!(
                    "expect.{key} has an empty text, which matches anything"
                ));
            }
        }
        if self.fails && self.exit != 0 {
            return Some("expect.fails and expect.exit exclude each other".to_owned());
        }
        if self.ktap == Some(0) {
            return Some("expect.ktap = 0 would be met by no test at all".to_owned());
        }
        if self.ktap.is_none() && !self.may_skip.is_empty() {
            return Some("expect.may-skip means nothing without expect.ktap".to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistake_of_what_can_never_fail_is_named() {
        for (text, key) in [
            ("output = [\"\"]", "expect.output"),
            ("ktap = 0", "expect.ktap"),
            ("may-skip = [\"x\"]", "expect.may-skip"),
            ("fails = true\nexit = 3", "expect.exit"),
        ] {
            let expectation: Expectation = toml::from_str(text).unwrap();
            let mistake = expectation.mistake().unwrap_or_default();
            assert!(mistake.contains(key), "{text}: {mistake}");
        }
        assert_eq!(Expectation::default().mistake(), None);
    }
}
