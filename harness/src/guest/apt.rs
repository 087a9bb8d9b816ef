// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A private index of source packages, made from the host's own entries for binary ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::sha256_of;
use super::paths::Paths;
use super::process::{Log, command, output};
use crate::exit::Failure;

/// Where the host's entries are.
const SYSTEM: &str = "/etc/apt";

/// Downloads the source package that an installed package was built from and unpacks it as `to`,
/// a new directory. apt checks it against the archive's signature. Returns the SHA-256 of each of
/// its files. `scratch` is used meanwhile.
///
/// # Errors
/// Exit 3 if no archive has it.
pub fn unpack_source(
    package: &str,
    to: &Path,
    scratch: &Path,
    paths: &Paths,
    log: &mut Log,
) -> anyhow::Result<BTreeMap<String, String>> {
    let named = output(command("dpkg-query").args([
        "-W",
        "-f=${source:Package}=${source:Version}",
        package,
    ]))?;
    let index = SourceIndex::create(&paths.cache().join("apt"), package)?;
    index.update(log)?;
    let download = scratch.join("download");
    fs::create_dir(&download)
        .with_context(|| format!("cannot make a directory for the source of {named}"))?;
    index.download(&named, &download, log)?;
    let mut sources = BTreeMap::new();
    let mut description = None;
    for entry in fs::read_dir(&download).context("cannot read what apt downloaded")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dsc") {
            description = Some(path.clone());
        }
        let name = path.file_name().unwrap_or_default();
        sources.insert(name.to_string_lossy().into_owned(), sha256_of(&path)?);
    }
    let description = description
        .ok_or_else(|| Failure::infrastructure(format!("apt downloaded no source of {named}")))?;
    let mut unpack = command("dpkg-source");
    unpack.args(["--no-check", "-x"]).arg(&description).arg(to);
    log.run(
        &format!("unpacking the source of {named}"),
        &mut unpack,
        |_| {},
    )?;
    fs::remove_dir_all(&download)
        .with_context(|| format!("cannot remove the source package {named}"))?;
    Ok(sources)
}

/// Directories and options for an apt of our own.
struct SourceIndex {
    dir: PathBuf,
}

impl SourceIndex {
    /// Writes the source lists: the entries that `package` can come from, turned into those of
    /// source packages. All entries, if apt does not know where it comes from.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn create(dir: &Path, package: &str) -> anyhow::Result<Self> {
        let lists = dir.join("sources.list.d");
        let write = || -> std::io::Result<()> {
            if lists.exists() {
                fs::remove_dir_all(&lists)?;
            }
            for below in [
                "sources.list.d",
                "state/lists/partial",
                "cache/archives/partial",
            ] {
                fs::create_dir_all(dir.join(below))?;
            }
            Ok(())
        };
        write().with_context(|| format!("cannot make {}", dir.display()))?;
        // Without package lists, as in many containers, the policy is empty.
        let policy = output(command("apt-cache").args(["policy", package])).unwrap_or_default();
        let archives = archives(&policy);
        for (name, text) in system_lists() {
            let text = if name.ends_with(".sources") {
                from_stanzas(&text, &archives)
            } else {
                from_lines(&text, &archives)
            };
            if !text.is_empty() {
                let path = lists.join(&name);
                fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(Self {
            dir: dir.to_path_buf(),
        })
    }

    /// Fetches the indices. An archive that has no sources is no reason to give up: the download
    /// shows whether the right one has.
    ///
    /// # Errors
    /// When apt-get cannot be run at all.
    pub fn update(&self, log: &mut Log) -> anyhow::Result<()> {
        let mut update = self.apt_get();
        update.arg("update");
        match log.run("fetching the index of source packages", &mut update, |_| {}) {
            Err(error) if error.is::<std::io::Error>() => Err(error),
            _ => Ok(()),
        }
    }

    /// Downloads `NAME=VERSION` into a directory.
    ///
    /// # Errors
    /// Exit 3 if no archive has it or it fails apt's checks.
    pub fn download(&self, package: &str, to: &Path, log: &mut Log) -> anyhow::Result<()> {
        let mut source = self.apt_get();
        source
            .args(["source", "--download-only", package])
            .current_dir(to);
        log.run(
            &format!("downloading the source of {package}"),
            &mut source,
            |_| {},
        )
    }

    fn apt_get(&self) -> std::process::Command {
        let mut apt = command("apt-get");
        let directory = |option: &str, path: &Path| format!("{option}={}", path.display());
        apt.args(["-q", "-o", "Dir::Etc::SourceList=/dev/null", "-o"])
            .arg(directory(
                "Dir::Etc::SourceParts",
                &self.dir.join("sources.list.d"),
            ))
            .arg("-o")
            .arg(directory("Dir::State", &self.dir.join("state")))
            .args(["-o", "Dir::State::status=/var/lib/dpkg/status", "-o"])
            .arg(directory("Dir::Cache", &self.dir.join("cache")))
            // apt's own user need not reach into a home directory.
            .args(["-o", "APT::Sandbox::User="])
            .args(["-o", "Acquire::Retries=3"]);
        apt
    }
}

/// Name and text of every list of the host.
fn system_lists() -> Vec<(String, String)> {
    let parts = fs::read_dir(Path::new(SYSTEM).join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = parts
        .chain([Path::new(SYSTEM).join("sources.list")])
        .collect();
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            let is_list = name.ends_with(".sources") || name.ends_with(".list");
            is_list.then_some(())?;
            Some((name, fs::read_to_string(path).ok()?))
        })
        .collect()
}

/// The archives of `apt-cache policy`, in lines such as
/// `        500 http://HOST/debian bookworm/main amd64 Packages`.
fn archives(policy: &str) -> Vec<String> {
    policy
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.parse::<i32>().ok()?;
            let archive = words.next()?;
            archive.contains(':').then(|| trimmed(archive).to_owned())
        })
        .collect()
}

fn trimmed(archive: &str) -> &str {
    archive.trim_end_matches('/')
}

fn is_wanted(archive: &str, archives: &[String]) -> bool {
    archives.is_empty() || archives.iter().any(|wanted| wanted == trimmed(archive))
}

/// Turns the one-line format around: `deb [options] URI suite component…`.
fn from_lines(text: &str, archives: &[String]) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let Some(entry) = line
            .trim()
            .strip_prefix("deb")
            .filter(|entry| entry.starts_with([' ', '\t']))
        else {
            continue;
        };
        let entry = entry.trim();
        let place = match entry
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((_, place)) => place,
            None => entry,
        };
        if place
            .split_whitespace()
            .next()
            .is_some_and(|archive| is_wanted(archive, archives))
        {
            lines.push_str("deb-src ");
            lines.push_str(entry);
            lines.push('\n');
        }
    }
    lines
}

/// Turns the deb822 format around.
fn from_stanzas(text: &str, archives: &[String]) -> String {
    let mut stanzas = String::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let is_binary =
            field("Types").is_some_and(|types| types.split_whitespace().any(|t| t == "deb"));
        let is_off = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
        let wanted = field("URIs")
            .is_some_and(|uris| uris.split_whitespace().any(|uri| is_wanted(uri, archives)));
        if !is_binary || is_off || !wanted {
            continue;
        }
        for line in stanza.lines().filter(|line| !line.is_empty()) {
            let is_types = line
                .split_once(':')
                .is_some_and(|(key, _)| key.eq_ignore_ascii_case("Types"));
            stanzas.push_str(if is_types { "Types: deb-src" } else { line });
            stanzas.push('\n');
        }
        stanzas.push('\n');
    }
    stanzas
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "fio:\n  Installed: 3.33-3\n  Version table:\n *** 3.33-3 500\n        \
                          500 http://one.invalid/debian bookworm/main amd64 Packages\n        \
                          100 /var/lib/dpkg/status\n";

    #[test]
    fn archives_policy_gives_uris_only() {
        assert_eq!(archives(POLICY), ["http://one.invalid/debian"]);
    }

    #[test]
    fn from_lines_wanted_entry_is_turned_around() {
        let text = "# deb http://one.invalid/debian x main\n\
                    deb [signed-by=/k] http://one.invalid/debian/ bookworm main\n\
                    deb-src http://one.invalid/debian bookworm main\n\
                    deb http://two.invalid/x stable main\n";
        assert_eq!(
            from_lines(text, &archives(POLICY)),
            "deb-src [signed-by=/k] http://one.invalid/debian/ bookworm main\n"
        );
        assert_eq!(from_lines(text, &[]).lines().count(), 2);
    }

    #[test]
    fn from_stanzas_wanted_entry_is_turned_around() {
        let text = "Types: deb\n# note\nURIs: http://one.invalid/debian\nSuites: bookworm\n\n\
                    Types: deb\nURIs: http://two.invalid/x\nSuites: y\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://one.invalid/debian\nSuites: z\n";
        assert_eq!(
            from_stanzas(text, &archives(POLICY)),
            "Types: deb-src\n# note\nURIs: http://one.invalid/debian\nSuites: bookworm\n\n"
        );
    }
}
