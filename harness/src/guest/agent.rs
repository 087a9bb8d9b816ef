// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the guest's init: a static program, so that it runs in any image.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::Context;

use super::cache::{Hashes, Key, write_atomically};
use super::paths::Paths;
use super::process::{Log, command, output};
use crate::exit::Failure;
use crate::progress::Progress;

/// The init.
pub struct Agent {
    /// The executable.
    pub path: PathBuf,
    /// SHA-256 of it.
    pub sha256: String,
}

/// Raised when cargo is called in another way.
const RECIPE: u32 = 1;

/// Runs cargo if a source file, a dependency or the compiler has changed.
pub fn build(paths: &Paths, hashes: &mut Hashes, progress: &dyn Progress) -> anyhow::Result<Agent> {
    if let Some(agent) = find(paths, hashes)? {
        return Ok(agent);
    }
    let step = progress.step("guest agent");
    let about = rustc_about()?;
    run_cargo(paths, host(&about)?)?;
    write_atomically(&stamp(paths), key(paths, &about)?.as_bytes())?;
    let agent = find(paths, hashes)?
        .with_context(|| format!("cargo made no agent in {}", paths.agent_target().display()))?;
    step.done(&format!("sha256 {}", &agent.sha256[..16]));
    Ok(agent)
}

/// The agent, if it is up to date.
pub fn find(paths: &Paths, hashes: &mut Hashes) -> anyhow::Result<Option<Agent>> {
    let about = rustc_about()?;
    let path = paths
        .agent_target()
        .join(host(&about)?)
        .join("release/hipri-agent");
    let key = key(paths, &about)?;
    let built = fs::read_to_string(stamp(paths)).is_ok_and(|built| built == key);
    if !built || !path.is_file() {
        return Ok(None);
    }
    let sha256 = hashes.sha256(&path)?;
    Ok(Some(Agent { path, sha256 }))
}

/// Remembers what the agent was built from.
fn stamp(paths: &Paths) -> PathBuf {
    paths.agent_target().join("built-from")
}

fn run_cargo(paths: &Paths, host: &str) -> anyhow::Result<()> {
    let mut cargo = command(cargo());
    for (name, _) in env::vars_os() {
        // Those of the cargo that runs us are about another build.
        if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(paths.root())
        .args(["build", "--package=hipri-agent", "--release", "--locked"])
        // Naming the target keeps the flags from build scripts and procedural macros.
        .arg(format!("--target={host}"))
        .arg("--target-dir")
        .arg(paths.agent_target())
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    let mut log = Log::create(paths.log("agent"))?;
    log.run("building the guest's agent", &mut cargo, |_| {})
}

/// Everything that decides how the agent comes out.
fn key(paths: &Paths, about: &str) -> anyhow::Result<String> {
    let root = paths.root();
    let mut files = vec![root.join("Cargo.toml"), root.join("Cargo.lock")];
    let mut dirs = vec![root.join("guest-kernel/agent")];
    while let Some(dir) = dirs.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut key = Key::new("agent", RECIPE).with("rustc", about);
    for file in files {
        let data = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        key = key.with(&name.to_string_lossy(), data);
    }
    Ok(key.finish())
}

fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

fn rustc_about() -> anyhow::Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    output(command(rustc).arg("-vV"))
}

fn host(about: &str) -> anyhow::Result<&str> {
    about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| Failure::infrastructure("rustc -vV names no host").into())
}
