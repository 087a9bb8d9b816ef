// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is there, what is missing, and how to begin again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::cache::Hashes;
use super::paths::Paths;
use super::source::Sources;
use super::{
    Arch, BuildOptions, agent, engine, image, initramfs, kernel, libaio, lock, packages, selftests,
};
use crate::progress::Progress;

/// Something that `guest build` makes or needs.
#[derive(Debug, Clone, Serialize)]
pub struct Artifact {
    /// What it is.
    pub name: String,
    /// Whether it is up to date.
    pub state: State,
    /// Release, version or what is missing.
    pub detail: String,
    /// Where it is.
    pub path: Option<PathBuf>,
}

/// State of an [`Artifact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Up to date.
    Ready,
    /// Not there, or made from something else than what is there now.
    Missing,
}

impl Artifact {
    fn new(name: impl Into<String>, found: Option<(String, Option<PathBuf>)>) -> Self {
        let (state, (detail, path)) = match found {
            Some(found) => (State::Ready, found),
            None => (
                State::Missing,
                ("`hipri guest build` makes it".into(), None),
            ),
        };
        Self {
            name: name.into(),
            state,
            detail,
            path,
        }
    }
}

/// Looks at everything without making anything.
///
/// # Errors
/// When the source cannot be read; missing packages are no error.
pub fn status(options: &BuildOptions, progress: &dyn Progress) -> anyhow::Result<Vec<Artifact>> {
    options.check()?;
    let paths = Paths::discover()?;
    let missing = packages::missing(&paths)?;
    let found = missing.is_empty().then(|| ("all installed".into(), None));
    let mut artifacts = vec![Artifact::new("packages", found)];
    if !missing.is_empty() {
        artifacts[0].detail = missing.join(" ");
        return Ok(artifacts);
    }
    let mut hashes = Hashes::load(&paths);
    let sources = Sources::choose(options, &mut hashes, progress)?;
    for flavour in options.flavours() {
        let found = kernel::find(&paths, &sources, options.arch, flavour)?;
        let found = found.map(|kernel| (kernel.release, Some(kernel.path)));
        let name = format!("kernel {} {flavour}", options.arch);
        artifacts.push(Artifact::new(name, found));
    }
    let engine = engine::find_built(&paths, &mut hashes)?;
    let agent = agent::find(&paths, &mut hashes)?;
    let selftests = selftests::find_built(&paths, &mut hashes)?;
    let libaio = libaio::find_built(&paths)?;
    let root = match (&agent, &engine, &selftests, &libaio) {
        (Some(agent), Some(engine), Some(selftests), Some(libaio)) => {
            let parts = image::Parts {
                agent,
                engine,
                selftests,
                libaio,
            };
            image::find(&paths, &parts, &mut hashes)?
        }
        _ => None,
    };
    let engine =
        engine.map(|engine| (format!("for fio {}", engine.fio_version), Some(engine.path)));
    artifacts.push(Artifact::new("fio engine", engine));
    let agent = agent.map(|agent| (format!("sha256 {}", &agent.sha256[..16]), Some(agent.path)));
    artifacts.push(Artifact::new("agent", agent));
    let selftests = selftests.map(|path| (String::new(), Some(path)));
    artifacts.push(Artifact::new("selftests", selftests));
    let libaio = libaio.map(|made| (format!("of libaio {}", made.version), None));
    artifacts.push(Artifact::new("libaio's tests", libaio));
    if options.arch == Arch::X86_64 {
        let initramfs = root.as_deref().and_then(initramfs::find);
        let found = initramfs.map(|path| (String::new(), Some(path)));
        artifacts.push(Artifact::new("initramfs", found));
    }
    artifacts.push(Artifact::new(
        "image",
        root.map(|root| (String::new(), Some(root))),
    ));
    hashes.save()?;
    Ok(artifacts)
}

/// Removes everything that was made, kernel trees included. Returns the directory.
///
/// # Errors
/// When something cannot be removed.
pub fn clean(progress: &dyn Progress) -> anyhow::Result<PathBuf> {
    let paths = Paths::discover()?;
    let lock = lock::take(&paths, progress)?;
    let entries = fs::read_dir(paths.cache())
        .with_context(|| format!("cannot read {}", paths.cache().display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.file_name() != Some("lock".as_ref()) {
            remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    drop(lock);
    Ok(paths.cache().to_path_buf())
}

fn remove(path: &Path) -> std::io::Result<()> {
    let result = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
