// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds our fio engine against the headers of the very fio that is installed.
//!
//! The distribution packages no headers; they are in fio's source package. It is fetched with a
//! package index of our own under `target/guest/`, made from the host's own entries, so that the
//! system's configuration of apt stays as it is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::apt;
use super::cache::{Hashes, Key, publish, read_json, sha256_of, write_json};
use super::packages;
use super::paths::Paths;
use super::process::{Log, command, output};
use crate::progress::Progress;

/// Where the engine is in the guest: `ioengine=external:PATH`.
pub const GUEST_PATH: &str = "/usr/lib/fio/hipri.so";

/// Raised when the engine is built in another way.
const RECIPE: u32 = 1;

/// The engine and what it was made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Engine {
    /// The shared object.
    pub path: PathBuf,
    /// SHA-256 of it.
    pub sha256: String,
    /// Version of the package, such as `3.33-3`.
    pub fio_version: String,
    /// SHA-256 of each file of the source package.
    pub sources: BTreeMap<String, String>,
}

/// The engine for the installed fio, built if need be.
pub fn build(
    paths: &Paths,
    hashes: &mut Hashes,
    progress: &dyn Progress,
) -> anyhow::Result<Engine> {
    let fio_version = packages::version("fio")?;
    let place = place(paths, &fio_version, hashes)?;
    if let Some(engine) = find(&place) {
        return Ok(engine);
    }
    let step = progress.step("fio engine");
    let scratch = paths.scratch("engine")?;
    let mut log = Log::create(paths.log("engine"))?;
    let source = scratch.path().join("source");
    let sources = apt::unpack_source("fio", &source, scratch.path(), paths, &mut log)?;
    compile(&source, &scratch.path().join("hipri.so"), paths, &mut log)?;
    fs::remove_dir_all(&source).context("cannot remove fio's source")?;
    let engine = Engine {
        path: place.join("hipri.so"),
        sha256: sha256_of(&scratch.path().join("hipri.so"))?,
        fio_version,
        sources,
    };
    write_json(&scratch.path().join("engine.json"), &engine)?;
    publish(scratch, &place)?;
    step.done(&format!("for fio {}", engine.fio_version));
    Ok(engine)
}

/// The engine if it has been built.
pub fn find_built(paths: &Paths, hashes: &mut Hashes) -> anyhow::Result<Option<Engine>> {
    let version = packages::version("fio")?;
    Ok(find(&place(paths, &version, hashes)?))
}

fn place(paths: &Paths, fio_version: &str, hashes: &mut Hashes) -> anyhow::Result<PathBuf> {
    let compiler = output(command("gcc").arg("--version"))?;
    let key = Key::new("engine", RECIPE)
        .with("code", hashes.sha256(&code(paths))?)
        .with("fio", fio_version)
        .with("compiler", compiler);
    Ok(paths.engines().join(key.finish()))
}

fn find(place: &Path) -> Option<Engine> {
    let mut engine: Engine = read_json(&place.join("engine.json"))?;
    engine.path = place.join("hipri.so");
    engine.path.is_file().then_some(engine)
}

fn code(paths: &Paths) -> PathBuf {
    paths.root().join("guest-kernel/fio-engine/hipri.c")
}

fn compile(source: &Path, engine: &Path, paths: &Paths, log: &mut Log) -> anyhow::Result<()> {
    let mut configure = command("./configure");
    configure.current_dir(source);
    log.run("configuring fio's source", &mut configure, |_| {})?;
    let code = code(paths);
    let mut include = OsString::from("-I");
    include.push(source);
    let mut gcc = command("gcc");
    gcc.args([
        "-std=gnu99",
        "-O2",
        "-Wall",
        "-D_GNU_SOURCE",
        "-shared",
        "-fPIC",
    ])
    // The linker's hash of itself; without it the same input gives the same file.
    .args(["-Wl,--build-id=none", "-include"])
    .arg(source.join("config-host.h"))
    .arg(include)
    .arg("-o")
    .arg(engine)
    // Named without its directory, which fio would print with every error.
    .arg(code.file_name().unwrap_or_default())
    .current_dir(code.parent().unwrap_or(source));
    log.run("compiling the fio engine", &mut gcc, |_| {})
}
