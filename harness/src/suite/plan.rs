// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which checks are run on which kernels, and which of them share a boot.

use std::fmt;
use std::path::PathBuf;

use super::definition::{Check, KernelChoice, Suite};
use crate::guest::Flavour;
use crate::machine::DeviceKind;

/// The kernels that a run is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Each check's own.
    #[default]
    Own,
    /// One of ours: in place of the one with the series, unless it is the one without.
    Ours(Flavour),
    /// A file of the user's, in place of the one with the series.
    File(PathBuf),
}

impl Kernels {
    /// What `choice` is run on, or why it is not run.
    fn of(&self, choice: KernelChoice) -> Result<Vec<KernelName>, String> {
        let wanted = match self {
            Self::Own => {
                return Ok(choice
                    .flavours()
                    .iter()
                    .copied()
                    .map(KernelName::Ours)
                    .collect());
            }
            Self::Ours(flavour) => KernelName::Ours(*flavour),
            Self::File(_) => KernelName::File,
        };
        let vanilla = wanted == KernelName::Ours(Flavour::Vanilla);
        match choice {
            KernelChoice::Patched if vanilla => Err("needs a kernel with the series".to_owned()),
            KernelChoice::Vanilla if !vanilla => {
                Err("is about the kernel without the series".to_owned())
            }
            _ => Ok(vec![wanted]),
        }
    }
}

/// A kernel as it is named in a check's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelName {
    /// One of ours.
    Ours(Flavour),
    /// The user's file.
    File,
}

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(flavour) => flavour.fmt(f),
            Self::File => f.write_str("file"),
        }
    }
}

/// A check on one kernel.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The check.
    pub check: &'a Check,
    /// The kernel.
    pub kernel: KernelName,
}

impl Item<'_> {
    /// Suite, check and kernel.
    pub fn name(&self, suite: &str) -> String {
        format!("{suite}.{}.{}", self.check.name, self.kernel)
    }

    fn shares_boot(&self, other: &Self) -> bool {
        let (one, two) = (self.check, other.check);
        self.kernel == other.kernel
            && one.kernel_args == two.kernel_args
            && one.device == two.device
            && !one.is_alone()
            && !two.is_alone()
    }
}

/// What a suite's run consists of.
#[derive(Clone, Debug, Default)]
pub struct Plan<'a> {
    /// Boots, and the checks of each.
    pub boots: Vec<Vec<Item<'a>>>,
    /// Checks that are not run, and why; named as [`Item::name`] does.
    pub skipped: Vec<(String, String)>,
}

impl<'a> Plan<'a> {
    /// The plan for a suite called `name` on these kernels with this device.
    pub fn new(suite: &'a Suite, name: &str, kernels: &Kernels, device: DeviceKind) -> Self {
        let mut plan = Self::default();
        for check in &suite.checks {
            let unfit = check.unfit_for(device);
            match kernels.of(check.kernel) {
                Err(reason) => {
                    let name = format!("{name}.{}", check.name);
                    plan.skipped.push((name, reason));
                }
                Ok(kernels) => {
                    for kernel in kernels {
                        let item = Item { check, kernel };
                        match &unfit {
                            Some(reason) => {
                                plan.skipped.push((item.name(name), reason.clone()));
                            }
                            None => plan.add(item),
                        }
                    }
                }
            }
        }
        plan
    }

    fn add(&mut self, item: Item<'a>) {
        let boot = self
            .boots
            .iter_mut()
            .find(|boot| boot[0].shares_boot(&item));
        match boot {
            Some(boot) => boot.push(item),
            None => self.boots.push(vec![item]),
        }
    }

    /// Checks that are run.
    pub fn items(&self) -> impl Iterator<Item = &Item<'a>> {
        self.boots.iter().flatten()
    }

    /// Our kernels that it needs; one may occur several times.
    pub fn flavours(&self) -> Vec<Flavour> {
        let kernels = self.items().map(|item| item.kernel);
        kernels
            .filter_map(|kernel| match kernel {
                KernelName::Ours(flavour) => Some(flavour),
                KernelName::File => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = r#"
        description = "x"
        [[check]]
        name = "a"
        kernel = "both"
        run = "true"
        [[check]]
        name = "b"
        kernel = "patched"
        kernel-args = ["nvme.poll_queues=0"]
        run = "true"
        [[check]]
        name = "c"
        kernel = "patched"
        run = "true"
    "#;

    fn names(plan: &Plan<'_>) -> Vec<Vec<String>> {
        let names = |boot: &Vec<Item<'_>>| boot.iter().map(|item| item.name("s")).collect();
        plan.boots.iter().map(names).collect()
    }

    #[test]
    fn new_same_kernel_and_words_share_a_boot() {
        let suite = toml::from_str(THREE).unwrap();
        let plan = Plan::new(&suite, "s", &Kernels::Own, DeviceKind::Hipri);
        assert_eq!(
            names(&plan),
            [
                vec!["s.a.vanilla"],
                vec!["s.a.patched", "s.c.patched"],
                vec!["s.b.patched"]
            ]
        );
    }

    #[test]
    fn new_faults_or_own_boot_are_alone() {
        for more in ["own-boot = true", "fault = [{ act = \"drop\" }]"] {
            let text = THREE.replacen("name = \"c\"", &format!("name = \"c\"\n{more}"), 1);
            let suite = toml::from_str(&text).unwrap();
            let plan = Plan::new(&suite, "s", &Kernels::Own, DeviceKind::Hipri);
            assert!(
                names(&plan).contains(&vec!["s.c.patched".to_owned()]),
                "{more}"
            );
        }
    }

    #[test]
    fn new_one_kernel_replaces_the_one_with_the_series_and_skips_by_name() {
        let suite = toml::from_str(THREE).unwrap();
        let vanilla = Kernels::Ours(Flavour::Vanilla);
        let plan = Plan::new(&suite, "s", &vanilla, DeviceKind::Hipri);
        assert_eq!(names(&plan), [vec!["s.a.vanilla"]]);
        let skipped: Vec<_> = plan.skipped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(skipped, ["s.b", "s.c"]);
        let file = Kernels::File("/x".into());
        let plan = Plan::new(&suite, "s", &file, DeviceKind::Hipri);
        assert_eq!(names(&plan)[0], ["s.a.file", "s.c.file"]);
        assert!(plan.flavours().is_empty());
    }

    #[test]
    fn new_on_another_device_names_each_kernel_of_what_it_skips() {
        let text = THREE.replacen("run =", "hipri-device = true\n        run =", 1);
        let suite = toml::from_str(&text).unwrap();
        let plan = Plan::new(&suite, "s", &Kernels::Own, DeviceKind::Qemu);
        let skipped: Vec<_> = plan.skipped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(skipped, ["s.a.vanilla", "s.a.patched"]);
    }
}
