// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The distribution's packages that a guest is made from. `scripts/packages.txt` has the list,
//! `scripts/setup` installs them.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::paths::Paths;
use super::process::{Log, command, output};
use crate::exit::Failure;
use crate::progress::Progress;

/// The packages that are not installed, in the list's order.
///
/// # Errors
/// Exit 3 on a system without dpkg.
pub fn missing(paths: &Paths) -> anyhow::Result<Vec<String>> {
    let list = paths.root().join("scripts/packages.txt");
    let text =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let needed = parse(&text);
    // It fails when it does not know one of them, and still tells of the others.
    let told = Command::new("dpkg-query")
        .args(["-W", "-f=${binary:Package} ${db:Status-Status}\n"])
        .args(&needed)
        .stderr(Stdio::null())
        .output();
    let Ok(told) = told else {
        return Err(Failure::infrastructure(
            "this system has no dpkg: hipri makes its guest from Debian packages; \
             scripts/packages.txt lists them",
        )
        .into());
    };
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let installed: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(|name| name.split(':').next().unwrap_or(name))
        .collect();
    Ok(needed
        .into_iter()
        .filter(|package| !installed.contains(&package.as_str()))
        .collect())
}

/// Installs what is missing if this user may, else says what to type.
pub(super) fn ensure(paths: &Paths, progress: &dyn Progress) -> anyhow::Result<()> {
    let missing_now = missing(paths)?;
    if missing_now.is_empty() {
        return Ok(());
    }
    let names = missing_now.join(" ");
    let setup = paths.root().join("scripts/setup");
    if !may_install() {
        return Err(Failure::infrastructure(format!(
            "packages are missing ({names}); type: sudo {}",
            setup.display()
        ))
        .into());
    }
    let step = progress.step("packages");
    progress.line(&format!("installing {names}"));
    let mut log = Log::create(paths.log("packages"))?;
    log.run("installing packages", &mut command(&setup), |_| {})?;
    let still = missing(paths)?;
    if !still.is_empty() {
        return Err(Failure::infrastructure(format!(
            "packages are still missing after scripts/setup: {}",
            still.join(" ")
        ))
        .into());
    }
    step.done(&format!("{} installed", missing_now.len()));
    Ok(())
}

/// Root, or a sudo that asks nothing.
fn may_install() -> bool {
    rustix::process::geteuid().is_root()
        || Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

/// The installed version of a package.
pub(super) fn version(package: &str) -> anyhow::Result<String> {
    output(command("dpkg-query").args(["-W", "-f=${Version}", package]))
}

fn parse(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn parse_comments_are_dropped() {
        let list = "# a\n\nmake\n  gcc # b\n";
        assert_eq!(super::parse(list), ["make", "gcc"]);
    }
}
