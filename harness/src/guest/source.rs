// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the kernels' source comes from, and the trees that they are built in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::{Hashes, Key, publish};
use super::paths::Paths;
use super::process::{Log, command};
use super::series::Series;
use super::{Arch, BuildOptions, Flavour, tree};
use crate::exit::Failure;
use crate::progress::Progress;

/// The tarball of the distribution's package.
const PACKAGED: &str = "/usr/src/linux-source-6.12.tar.xz";

/// The sources of both kernels.
pub struct Sources {
    vanilla: Source,
    /// `None` is the vanilla one with the series.
    patched: Option<Source>,
}

/// One source.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    kind: Kind,
    /// SHA-256 of a tarball, fingerprint of a tree.
    digest: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tarball,
    Tree,
}

/// A tree that is ready to build, and where its objects go.
pub struct Tree {
    /// The source.
    pub dir: PathBuf,
    /// The build directory.
    pub build: PathBuf,
}

impl Sources {
    /// What the user named, or the package.
    ///
    /// # Errors
    /// Exit 2 if what the user named is no source, 3 if it cannot be read.
    pub fn choose(
        options: &BuildOptions,
        hashes: &mut Hashes,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let path = options.kernel_source.as_deref();
        let named = Source::open(path.unwrap_or(Path::new(PACKAGED)), hashes)?;
        if options.as_is {
            return Ok(Self {
                vanilla: named.clone(),
                patched: Some(named),
            });
        }
        if named.kind == Kind::Tarball || !carries_series(&named.path) {
            return Ok(Self {
                vanilla: named,
                patched: None,
            });
        }
        progress.line(&format!(
            "{} has io_setup2 already: built as it is; vanilla comes from {PACKAGED}",
            named.path.display()
        ));
        Ok(Self {
            vanilla: Source::open(Path::new(PACKAGED), hashes)?,
            patched: Some(named),
        })
    }

    /// The source of one kernel, and whether the series is to be applied to it.
    pub fn of(&self, flavour: Flavour) -> (&Source, bool) {
        match (flavour, &self.patched) {
            (Flavour::Vanilla, _) => (&self.vanilla, false),
            (_, Some(source)) => (source, false),
            (_, None) => (&self.vanilla, true),
        }
    }
}

impl Source {
    fn open(path: &Path, hashes: &mut Hashes) -> anyhow::Result<Self> {
        let path = fs::canonicalize(path).map_err(|error| {
            Failure::usage(format!("kernel source {}: {error}", path.display()))
        })?;
        if path.is_file() {
            let digest = hashes.sha256(&path)?;
            return Ok(Self {
                path,
                kind: Kind::Tarball,
                digest,
            });
        }
        check_tree(&path)?;
        let digest =
            tree::fingerprint(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            path,
            kind: Kind::Tree,
            digest,
        })
    }

    /// What stands for the content in a cache key.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it is the distribution's package, and no tree of the user's.
    pub fn is_packaged(&self) -> bool {
        self.kind == Kind::Tarball
    }

    /// For people: path and hash.
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Tarball => format!("{} sha256:{}", self.path.display(), self.digest),
            Kind::Tree => format!("{} tree:{}", self.path.display(), self.digest),
        }
    }

    /// Makes the tree of one kernel.
    ///
    /// # Errors
    /// Exit 3 if it cannot be unpacked or a patch does not apply.
    pub fn prepare(
        &self,
        arch: Arch,
        flavour: Flavour,
        series: Option<&Series>,
        paths: &Paths,
        progress: &dyn Progress,
    ) -> anyhow::Result<Tree> {
        let build_dir = tree::build_dir(arch);
        let own = paths.sources().join(self.id(paths)?);
        let base = match self.kind {
            Kind::Tree => self.path.clone(),
            Kind::Tarball => self.unpack(&own.join(Flavour::Vanilla.name()), paths, progress)?,
        };
        check_tree(&base)?;
        let Some(series) = series else {
            let build = match self.kind {
                Kind::Tarball => base.join(build_dir),
                Kind::Tree => paths
                    .builds()
                    .join(self.id(paths)?)
                    .join(format!("{arch}-{flavour}")),
            };
            return Ok(Tree { dir: base, build });
        };
        let step = progress.step("kernel source: apply the series");
        let dir = own.join(flavour.name());
        let scratch = paths.scratch("series")?;
        series.apply(&base, &dir, scratch.path())?;
        step.done(&format!("{} patches", series.patches().len()));
        let build = dir.join(&build_dir);
        let others = base.join(&build_dir);
        // The other kernels are configured in another way: no object would fit.
        if flavour == Flavour::Patched && !build.exists() && others.exists() {
            take_over_objects(&others, &build, paths)?;
            // The objects may be younger than a tree that another architecture was built from.
            series.freshen(&dir)?;
        }
        Ok(Tree { dir, build })
    }

    /// A copy without the series, in a directory that must not exist yet.
    ///
    /// # Errors
    /// Exit 3 if it cannot be written.
    pub fn copy_to(&self, dir: &Path, log: &mut Log) -> anyhow::Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut copy = match self.kind {
            Kind::Tarball => untar(&self.path, dir),
            Kind::Tree => {
                let mut copy = command("cp");
                copy.args(["-a", "--reflink=auto", "-T"])
                    .arg(&self.path)
                    .arg(dir);
                copy
            }
        };
        log.run("copying the kernel source", &mut copy, |_| {})
    }

    /// Name of the directory for what is made of it: stays when a tree is edited.
    fn id(&self, paths: &Paths) -> anyhow::Result<String> {
        let key = match self.kind {
            Kind::Tarball => Key::new("tarball", 1).with("source", &self.digest),
            Kind::Tree => {
                Key::new("tree", 1).with("path", self.path.as_os_str().as_encoded_bytes())
            }
        };
        let mends = self.mends(paths)?;
        Ok(mends.fold_into(key).finish())
    }

    /// What is changed of the source itself: User-Mode Linux's own code mended, and what virtual time
    /// needs. A tree of the user's is taken as it is.
    ///
    /// # Errors
    /// When a patch cannot be read.
    pub fn mends(&self, paths: &Paths) -> anyhow::Result<Series> {
        match self.kind {
            Kind::Tarball => {
                let mends = Series::read(&paths.uml_patches())?;
                Ok(mends.followed_by(Series::read(&paths.time_patches())?))
            }
            Kind::Tree => Ok(Series::default()),
        }
    }

    fn unpack(
        &self,
        place: &Path,
        paths: &Paths,
        progress: &dyn Progress,
    ) -> anyhow::Result<PathBuf> {
        if !place.is_dir() {
            let step = progress.step("kernel source: unpack");
            let scratch = paths.scratch("source")?;
            let mut log = Log::create(paths.log("source"))?;
            let mut tar = untar(&self.path, scratch.path());
            log.run("unpacking the kernel source", &mut tar, |_| {})?;
            check_tree(scratch.path())?;
            self.mends(paths)?.apply_in_place(scratch.path())?;
            publish(scratch, place)?;
            step.done(&format!("sha256 {}", &self.digest[..16]));
        }
        Ok(place.to_path_buf())
    }
}

fn untar(tarball: &Path, dir: &Path) -> std::process::Command {
    let mut tar = command("tar");
    tar.arg("-xf")
        .arg(tarball)
        .arg("-C")
        .arg(dir)
        .args(["--strip-components=1", "--no-same-owner"]);
    tar
}

/// Starts the patched kernel's build from the vanilla one's objects: only what the series touches,
/// and what depends on it, is compiled again.
fn take_over_objects(from: &Path, to: &Path, paths: &Paths) -> anyhow::Result<()> {
    let scratch = paths.scratch("objects")?;
    let mut copy = command("cp");
    copy.args(["-a", "--reflink=auto", "-T"])
        .arg(from)
        .arg(scratch.path());
    super::process::output(&mut copy)?;
    publish(scratch, to)
}

/// Whether a tree has the series (or another version of it) in it.
fn carries_series(dir: &Path) -> bool {
    fs::read_to_string(dir.join("arch/x86/entry/syscalls/syscall_64.tbl"))
        .is_ok_and(|table| table.contains("io_setup2"))
}

/// Refuses what is no tree of the Linux that the series is for, and what has been built in place.
fn check_tree(dir: &Path) -> anyhow::Result<()> {
    let version = version(dir)
        .ok_or_else(|| Failure::usage(format!("{} is no Linux source tree", dir.display())))?;
    if !version.starts_with("6.12.") {
        return Err(Failure::usage(format!(
            "{} is Linux {version}; the polled-AIO series is for 6.12",
            dir.display()
        ))
        .into());
    }
    if dir.join(".config").exists() || dir.join("include/config").exists() {
        return Err(Failure::usage(format!(
            "{0} has been built in place, which a build elsewhere cannot follow; \
             type: make -C {0} mrproper",
            dir.display()
        ))
        .into());
    }
    Ok(())
}

/// Such as `6.12.117`.
pub fn version(dir: &Path) -> Option<String> {
    let makefile = fs::read_to_string(dir.join("Makefile")).ok()?;
    let field = |name: &str| {
        makefile.lines().take(10).find_map(|line| {
            let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?;
            Some(value.trim().to_owned())
        })
    };
    Some(format!(
        "{}.{}.{}",
        field("VERSION")?,
        field("PATCHLEVEL")?,
        field("SUBLEVEL")?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn tree(sublevel: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("# SPDX\nVERSION = 6\nPATCHLEVEL = {sublevel}\nSUBLEVEL = 117\n");
        fs::write(dir.path().join("Makefile"), text).unwrap();
        dir
    }

    /// A bisection has commits with and without the series, and means each of them.
    #[test]
    fn choose_as_is_takes_the_tree_whatever_it_has() {
        let dir = tree("12");
        let table = dir.path().join("arch/x86/entry/syscalls/syscall_64.tbl");
        fs::create_dir_all(table.parent().unwrap()).unwrap();
        for text in ["", "335 common io_setup2 sys_io_setup2\n"] {
            fs::write(&table, text).unwrap();
            let options = BuildOptions {
                kernel_source: Some(dir.path().to_owned()),
                as_is: true,
                ..BuildOptions::default()
            };
            let mut hashes = Hashes::load(&Paths::new(dir.path().to_owned()));
            let sources = Sources::choose(&options, &mut hashes, &Silent).unwrap();
            for flavour in [Flavour::Vanilla, Flavour::Patched] {
                let (source, with_series) = sources.of(flavour);
                assert_eq!(source.path, dir.path().canonicalize().unwrap());
                assert!(!with_series && source.kind == Kind::Tree);
            }
        }
    }

    #[test]
    fn check_tree_right_version_is_taken() {
        let dir = tree("12");
        assert_eq!(version(dir.path()).unwrap(), "6.12.117");
        check_tree(dir.path()).unwrap();
    }

    #[test]
    fn check_tree_other_things_are_refused() {
        let message = |dir: &Path| check_tree(dir).unwrap_err().to_string();
        assert!(message(tree("13").path()).contains("is Linux 6.13.117"));
        assert!(message(tempfile::tempdir().unwrap().path()).contains("no Linux source"));
        let built = tree("12");
        fs::write(built.path().join(".config"), "").unwrap();
        assert!(message(built.path()).contains("mrproper"));
    }
}
