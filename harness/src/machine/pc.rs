// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel of a guest that is a PC is told, whoever plays the PC.

use hipri_agent::cmdline::{Options, RunSource};

use super::{Console, Spec};
use crate::exit::Failure;
use crate::guest;

/// The kernel's console.
const CONSOLE: &str = "ttyS0";
/// The agent's channel.
const CHANNEL: &str = "/dev/ttyS1";

/// The guest kernel's command line.
///
/// # Errors
/// Exit 2, when a word cannot be quoted.
pub fn kernel_words(spec: &Spec<'_>) -> anyhow::Result<Vec<String>> {
    let mut words: Vec<String> = vec![
        format!("console={CONSOLE},115200"),
        // A panic ends the machine at once.
        "panic=-1".into(),
        // On a busy host an emulated timer may look dead to the kernel's test.
        "no_timer_check".into(),
        "rdinit=/init".into(),
    ];
    if spec.console == Console::Terminal {
        // The shell shares its terminal with the kernel's log, whose errors and worse stay.
        words.push("loglevel=4".into());
    }
    let agent = Options {
        run: Some(RunSource::Image(guest::RUN_DIR.into())),
        channel: Some(CHANNEL.into()),
        console: Some(format!("/dev/{CONSOLE}")),
        ..Options::default()
    };
    let agent = agent
        .to_words()
        .ok_or_else(|| Failure::usage("the agent's words cannot be quoted"))?;
    words.extend(agent);
    words.extend(spec.kernel_args.iter().cloned());
    Ok(words)
}
