// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Profiles: how fast the device pretends to be, as a file that a user can read and change.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Nanos, Work, units};

/// Profiles that are part of the program, for when it runs without its `configs/` folder.
const BUNDLED: [(&str, &str); 3] = [
    (
        "high-iops",
        include_str!("../../../configs/profiles/high-iops.toml"),
    ),
    (
        "low-latency",
        include_str!("../../../configs/profiles/low-latency.toml"),
    ),
    (
        "floor",
        include_str!("../../../configs/profiles/floor.toml"),
    ),
];

/// Where profiles are looked up by name, from the folder where the program was started.
const FOLDER: &str = "configs/profiles";

/// Longest time that a profile may name: a minute.
const LONGEST: Nanos = 60_000_000_000;

/// How long a unit of the medium is busy with one stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Mean, in nanoseconds.
    pub time: Nanos,
    /// Each draw lies evenly between `time - jitter` and `time + jitter`.
    pub jitter: Nanos,
}

/// A speed profile, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    name: String,
    front_end: Nanos,
    units: u16,
    stripe: u32,
    read: Service,
    write: Service,
    other: Service,
}

/// A profile that cannot be used. The text names the file and the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// There is no such profile.
    #[error("there is no profile \"{name}\": take one of {known}, or give the path of a file")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("{origin}: {message}")]
    Unreadable {
        /// The file.
        origin: String,
        /// The host's message.
        message: String,
    },
    /// The file is not a profile.
    #[error("{origin}: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// What is wrong, with the line.
        message: String,
    },
    /// A value is not possible.
    #[error("{origin}: {key}: {message}")]
    Value {
        /// The file.
        origin: String,
        /// The key.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    front_end: String,
    units: u16,
    stripe: String,
    read: ServiceFile,
    write: ServiceFile,
    other: ServiceFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    time: String,
    #[serde(default)]
    jitter: Option<String>,
}

impl Profile {
    /// Loads the profile called `name` (a file of `configs/profiles/` below the current folder, or
    /// one that is built in), or the file at the path `name` when it contains a slash or ends in
    /// `.toml`.
    ///
    /// # Errors
    /// [`ProfileError`] when there is none or it is not valid.
    pub fn load(name: &str) -> Result<Self, ProfileError> {
        if name.contains('/') || name.ends_with(".toml") {
            return Self::read(Path::new(name));
        }
        let file = PathBuf::from(FOLDER).join(format!("{name}.toml"));
        if file.is_file() {
            return Self::read(&file);
        }
        match BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
            Some((_, text)) => Self::parse(text, &format!("{name}.toml")),
            None => Err(ProfileError::Unknown {
                name: name.to_owned(),
                known: BUNDLED.map(|(bundled, _)| bundled).join(", "),
            }),
        }
    }

    fn read(file: &Path) -> Result<Self, ProfileError> {
        let origin = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, &origin),
            Err(error) => Err(ProfileError::Unreadable {
                origin,
                message: error.to_string(),
            }),
        }
    }

    /// Parses a profile; `origin` is the file's name, for messages, and its stem the profile's name.
    ///
    /// # Errors
    /// [`ProfileError`] with file, key and what is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ProfileError> {
        let file: ProfileFile = toml::from_str(text).map_err(|error| ProfileError::Syntax {
            origin: origin.to_owned(),
            message: sentence(text, &error),
        })?;
        let at = Origin(origin);
        let units = match file.units {
            1..=1024 => file.units,
            other => return Err(at.wrong("units", format!("{other} is not between 1 and 1024"))),
        };
        let stem = Path::new(origin).file_stem();
        Ok(Self {
            name: stem.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            front_end: at.duration("front_end", &file.front_end)?,
            units,
            stripe: at.stripe(&file.stripe)?,
            read: at.service(["read.time", "read.jitter"], &file.read)?,
            write: at.service(["write.time", "write.jitter"], &file.write)?,
            other: at.service(["other.time", "other.jitter"], &file.other)?,
        })
    }

    /// A profile that serves every kind of work alike, in stripes of 4 KiB. `units` is at least 1.
    pub fn uniform(name: &str, units: u16, front_end: Nanos, service: Service) -> Self {
        Self {
            name: name.to_owned(),
            front_end,
            units: units.max(1),
            stripe: 4096,
            read: service,
            write: service,
            other: service,
        }
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What each command costs the device before a unit takes it, one command after another.
    pub fn front_end(&self) -> Nanos {
        self.front_end
    }

    /// Units that serve in parallel.
    pub fn units(&self) -> u16 {
        self.units
    }

    /// Bytes that one unit serves at a time.
    pub fn stripe(&self) -> u32 {
        self.stripe
    }

    /// Service time of a stripe.
    pub fn service(&self, work: Work) -> Service {
        match work {
            Work::Read => self.read,
            Work::Write => self.write,
            Work::Other => self.other,
        }
    }

    /// Whether nothing takes any time.
    pub fn is_instant(&self) -> bool {
        self.front_end == 0 && self.read.time == 0 && self.write.time == 0 && self.other.time == 0
    }
}

/// The file that values come from, for messages.
struct Origin<'a>(&'a str);

impl Origin<'_> {
    fn wrong(&self, key: &'static str, message: String) -> ProfileError {
        ProfileError::Value {
            origin: self.0.to_owned(),
            key,
            message,
        }
    }

    fn duration(&self, key: &'static str, text: &str) -> Result<Nanos, ProfileError> {
        match units::duration(text) {
            Ok(nanos) if nanos <= LONGEST => Ok(nanos),
            Ok(_) => Err(self.wrong(key, format!("{text} is longer than a minute"))),
            Err(message) => Err(self.wrong(key, message)),
        }
    }

    fn stripe(&self, text: &str) -> Result<u32, ProfileError> {
        let bytes = units::size(text).map_err(|message| self.wrong("stripe", message))?;
        match u32::try_from(bytes) {
            Ok(stripe) if (4096..=16 << 20).contains(&stripe) => Ok(stripe),
            _ => Err(self.wrong("stripe", format!("{text} is not between 4KiB and 16MiB"))),
        }
    }

    fn service(
        &self,
        keys: [&'static str; 2],
        file: &ServiceFile,
    ) -> Result<Service, ProfileError> {
        let [time_key, jitter_key] = keys;
        let time = self.duration(time_key, &file.time)?;
        let jitter = match &file.jitter {
            Some(text) => self.duration(jitter_key, text)?,
            None => 0,
        };
        if jitter > time {
            let message = format!("the jitter is larger than {time_key}, {}", file.time);
            return Err(self.wrong(jitter_key, message));
        }
        Ok(Service { time, jitter })
    }
}

/// What is wrong and in which line; the parser's own text spreads over several lines.
fn sentence(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        front_end = "0.4us"
        units = 16
        stripe = "4KiB"
        read = { time = "6.2us", jitter = "0.3us" }
        write = { time = "8us" }
        other = { time = "1us" }
    "#;

    #[test]
    fn parse_of_a_good_profile_takes_every_value() {
        let profile = Profile::parse(GOOD, "some/fast.toml").unwrap();
        assert_eq!(profile.name(), "fast");
        assert_eq!(profile.front_end(), 400);
        assert_eq!(profile.units(), 16);
        assert_eq!(profile.stripe(), 4096);
        let read = profile.service(Work::Read);
        assert_eq!((read.time, read.jitter), (6200, 300));
        assert_eq!(profile.service(Work::Write).jitter, 0);
        assert!(!profile.is_instant());
    }

    #[test]
    fn parse_of_an_unknown_key_names_file_and_key() {
        let text = format!("wings = 2\n{GOOD}");
        let message = Profile::parse(&text, "x.toml").unwrap_err().to_string();
        assert!(message.starts_with("x.toml: "), "{message}");
        assert!(message.contains("wings"), "{message}");
    }

    #[test]
    fn parse_of_a_bad_value_names_file_and_key() {
        let cases = [
            ("6.2us", "6.2 parsecs", "read.time"),
            ("\"0.3us\"", "\"7us\"", "read.jitter"),
            ("16", "0", "units"),
            ("4KiB", "1B", "stripe"),
            ("0.4us", "61s", "front_end"),
        ];
        for (from, to, key) in cases {
            let text = GOOD.replace(from, to);
            let message = Profile::parse(&text, "x.toml").unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("x.toml: {key}: ")),
                "{message}"
            );
        }
    }

    #[test]
    fn load_of_an_unknown_name_lists_what_there_is() {
        let message = Profile::load("warp").unwrap_err().to_string();
        assert!(
            message.contains("high-iops, low-latency, floor"),
            "{message}"
        );
    }

    #[test]
    fn load_of_a_missing_path_names_it() {
        let message = Profile::load("/nowhere/p.toml").unwrap_err().to_string();
        assert!(message.starts_with("/nowhere/p.toml: "), "{message}");
    }

    #[test]
    fn bundled_profiles_are_what_their_names_promise() {
        let [high, low, floor] = BUNDLED.map(|(name, _)| Profile::load(name).unwrap());
        assert!(floor.is_instant());
        let peak = |profile: &Profile| {
            let by_units =
                u64::from(profile.units()) * 1_000_000_000 / profile.service(Work::Read).time;
            by_units.min(1_000_000_000 / profile.front_end())
        };
        assert!(peak(&high) > 1_250_000, "{}", peak(&high));
        let alone = |profile: &Profile| profile.front_end() + profile.service(Work::Read).time;
        assert!((6_000..=7_000).contains(&alone(&high)));
        assert!((3_500..=4_000).contains(&alone(&low)));
    }
}
