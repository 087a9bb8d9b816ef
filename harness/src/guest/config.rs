// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel configurations: fragments, merged, and checked against what the kernel made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::exit::Failure;

/// What the fragments ask for, by option name without `CONFIG_`; `n` means "not set".
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fragments(BTreeMap<String, String>);

impl Fragments {
    /// Reads `names` from `dir`; of two that disagree, the later one wins.
    ///
    /// # Errors
    /// When one cannot be read or has a line that is no option.
    pub fn read(dir: &Path, names: &[&str]) -> anyhow::Result<Self> {
        let mut fragments = Self::default();
        for name in names {
            let path = dir.join(name);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for (number, line) in (1..).zip(text.lines()) {
                match option(line) {
                    Some((option, value)) => {
                        fragments.0.insert(option.to_owned(), value.to_owned());
                    }
                    None if line.trim().is_empty() || line.starts_with('#') => {}
                    None => {
                        return Err(Failure::usage(format!(
                            "{}:{number}: no configuration option: {line}",
                            path.display()
                        ))
                        .into());
                    }
                }
            }
        }
        Ok(fragments)
    }

    /// As a file for `KCONFIG_ALLCONFIG`.
    pub fn text(&self) -> String {
        self.0
            .iter()
            .map(|(option, value)| match value.as_str() {
                "n" => format!("# CONFIG_{option} is not set\n"),
                value => format!("CONFIG_{option}={value}\n"),
            })
            .collect()
    }

    /// What did not survive the kernel's own rules, with what became of it.
    pub fn lost(&self, config: &str) -> Vec<String> {
        let have: BTreeMap<&str, &str> = config.lines().filter_map(option).collect();
        self.0
            .iter()
            .filter_map(|(option, asked)| {
                let got = have.get(option.as_str()).copied().unwrap_or("n");
                (got != asked).then(|| format!("CONFIG_{option}: asked for {asked}, got {got}"))
            })
            .collect()
    }
}

/// `CONFIG_X=value` or `# CONFIG_X is not set`.
fn option(line: &str) -> Option<(&str, &str)> {
    match line.strip_prefix("# CONFIG_") {
        Some(rest) => Some((rest.strip_suffix(" is not set")?, "n")),
        None => line.strip_prefix("CONFIG_")?.split_once('='),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(one: &str, two: &str) -> anyhow::Result<Fragments> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), one).unwrap();
        fs::write(dir.path().join("two"), two).unwrap();
        Fragments::read(dir.path(), &["one", "two"])
    }

    #[test]
    fn read_later_fragment_wins() {
        let merged = fragments("# say\nCONFIG_A=y\n", "\n# CONFIG_A is not set\n").unwrap();
        assert_eq!(merged.text(), "# CONFIG_A is not set\n");
    }

    #[test]
    fn read_garbage_names_file_and_line() {
        let error = fragments("CONFIG_A=y\nwhat\n", "").unwrap_err().to_string();
        assert!(error.contains("one:2:"), "{error}");
    }

    #[test]
    fn lost_dropped_and_forced_options_are_named() {
        let merged = fragments("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=3\n", "").unwrap();
        let lost = merged.lost("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=3\n");
        assert_eq!(
            lost,
            [
                "CONFIG_A: asked for y, got n",
                "CONFIG_B: asked for n, got y"
            ]
        );
        assert!(merged.lost("CONFIG_A=y\nCONFIG_C=3\n").is_empty());
    }
}
