// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's words on the kernel's command line.
//!
//! | word | meaning |
//! |---|---|
//! | `hipri.run=hostfs:/abs/dir` | mount that host directory at [`crate::RUN_DIR`] and take its command list |
//! | `hipri.run=/abs/dir` | the same from a directory in the image; kernel modules that it brings are loaded first |
//! | `hipri.exec="LINE"` | a shell line as a job; may occur several times, run after the list |
//! | `hipri.channel=/dev/ttyS0` | the device to report on; standard output when left out |
//! | `hipri.console=/dev/tty0` | the terminal of jobs on the console, when it is not the kernel's own |
//! | `hipri.processors=late` | bring those processors online that `maxcpus=` kept out of the boot |
//!
//! With neither `hipri.run` nor `hipri.exec` the agent offers a shell on the console.

/// What the command line asks of the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the command list is.
    pub run: Option<RunSource>,
    /// Shell lines, in the order given.
    pub exec: Vec<String>,
    /// Device node of the channel.
    pub channel: Option<String>,
    /// Device node of the terminal for people.
    pub console: Option<String>,
    /// Bring the processors online that were kept out of the boot.
    pub late_processors: bool,
}

/// Where the run directory comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunSource {
    /// A directory of the host, reached by hostfs (User-Mode Linux).
    Hostfs(String),
    /// A directory of the image.
    Image(String),
}

impl Options {
    /// Reads `/proc/cmdline`'s content. Words that are not the agent's are left alone.
    pub fn parse(cmdline: &str) -> Self {
        let mut options = Self::default();
        for word in split(cmdline) {
            match word.split_once('=') {
                Some(("hipri.run", value)) => {
                    options.run = Some(match value.strip_prefix("hostfs:") {
                        Some(dir) => RunSource::Hostfs(dir.to_owned()),
                        None => RunSource::Image(value.to_owned()),
                    });
                }
                Some(("hipri.exec", value)) => options.exec.push(value.to_owned()),
                Some(("hipri.channel", value)) => options.channel = Some(value.to_owned()),
                Some(("hipri.console", value)) => options.console = Some(value.to_owned()),
                Some(("hipri.processors", "late")) => options.late_processors = true,
                _ => {}
            }
        }
        options
    }

    /// The words that [`Options::parse`] reads back, to be put behind each other with spaces.
    /// The kernel knows no way to put a double quote inside a quoted word: `None` if one is needed.
    pub fn to_words(&self) -> Option<Vec<String>> {
        let mut words = Vec::new();
        match &self.run {
            Some(RunSource::Hostfs(dir)) => {
                words.push(quote("hipri.run", &format!("hostfs:{dir}"))?);
            }
            Some(RunSource::Image(dir)) => words.push(quote("hipri.run", dir)?),
            None => {}
        }
        for line in &self.exec {
            words.push(quote("hipri.exec", line)?);
        }
        if let Some(channel) = &self.channel {
            words.push(quote("hipri.channel", channel)?);
        }
        if let Some(console) = &self.console {
            words.push(quote("hipri.console", console)?);
        }
        if self.late_processors {
            words.push("hipri.processors=late".to_owned());
        }
        Some(words)
    }
}

/// The parameters of a module on the kernel's command line, without the module's name: built-in
/// code gets them from the kernel, a module from whoever loads it. `-` and `_` in names are the same.
pub fn module_parameters(cmdline: &str, module: &str) -> String {
    let plain = |name: &str| name.replace('-', "_");
    let own: Vec<String> = split(cmdline)
        .into_iter()
        .filter_map(|word| {
            let (name, parameter) = word.split_once('.')?;
            if plain(name) != plain(module) {
                return None;
            }
            let spaced = parameter.contains(char::is_whitespace);
            Some(match parameter.split_once('=') {
                Some((key, value)) if spaced => format!("{key}=\"{value}\""),
                _ => parameter.to_owned(),
            })
        })
        .collect();
    own.join(" ")
}

fn quote(key: &str, value: &str) -> Option<String> {
    if value.contains('"') || value.contains('\n') {
        None
    } else if value.contains(char::is_whitespace) {
        Some(format!("{key}=\"{value}\""))
    } else {
        Some(format!("{key}={value}"))
    }
}

/// Splits at white space outside double quotes and drops the quotes, as the kernel does.
fn split(cmdline: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in cmdline.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_quoted_exec_keeps_spaces() {
        let options = Options::parse("mem=1G hipri.exec=\"echo a  b\" quiet hipri.exec=true\n");
        assert_eq!(options.exec, ["echo a  b", "true"]);
        assert_eq!(options.run, None);
    }

    #[test]
    fn parse_quote_before_key_is_understood() {
        let options = Options::parse("\"hipri.run=hostfs:/a b\"");
        assert_eq!(options.run, Some(RunSource::Hostfs("/a b".into())));
    }

    #[test]
    fn module_parameters_only_its_own_without_name() {
        let cmdline = "quiet nvme.poll_queues=1 nvme-core.io_timeout=6 nvme.x=\"a b\" nvme=1";
        let of = |module| module_parameters(cmdline, module);
        assert_eq!(of("nvme"), "poll_queues=1 x=\"a b\"");
        assert_eq!(of("nvme_core"), "io_timeout=6");
        assert_eq!(of("ext4"), "");
    }

    #[test]
    fn to_words_round_trips() {
        let options = Options {
            run: Some(RunSource::Image("/etc/x".into())),
            exec: vec!["ls -l /".into()],
            channel: Some("/dev/ttyS0".into()),
            console: Some("/dev/tty0".into()),
            late_processors: true,
        };
        let words = options.to_words().unwrap().join(" ");
        assert_eq!(Options::parse(&words), options);
    }

    #[test]
    fn to_words_double_quote_is_refused() {
        let options = Options {
            exec: vec!["echo \"a\"".into()],
            ..Options::default()
        };
        assert_eq!(options.to_words(), None);
    }
}
