// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Profiles as files that a user can read and change. `docs/profiles.md` is their reference.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::histogram::Histogram;
use super::profile::{Interference, PerByte, Profile, WriteCache};
use super::service::{Service, Spread, Tail};
use super::{LONGEST, Nanos, units};

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
        key: String,
        /// What is wrong.
        message: String,
    },
}

/// What a profile was made from.
#[derive(Debug, Default, PartialEq)]
pub struct Source {
    table: toml::Table,
    origin: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    front_end: String,
    bandwidth: Option<String>,
    units: i64,
    stripe: String,
    read: ServiceFile,
    write: ServiceFile,
    other: ServiceFile,
    write_cache: Option<WriteCacheFile>,
    interference: Option<InterferenceFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    time: Option<String>,
    jitter: Option<String>,
    sigma: Option<f64>,
    histogram: Option<PathBuf>,
    tail: Option<TailFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TailFile {
    probability: f64,
    time: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteCacheFile {
    size: String,
    drain: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InterferenceFile {
    every: String,
    busy: String,
    units: i64,
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

    /// Parses a profile; `origin` is the file's name, for messages and for the files that it names,
    /// and its stem is the profile's name.
    ///
    /// # Errors
    /// [`ProfileError`] with file, key and what is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ProfileError> {
        let syntax = |error: toml::de::Error| ProfileError::Syntax {
            origin: origin.to_owned(),
            message: sentence(text, &error),
        };
        let file = toml::from_str(text).map_err(syntax)?;
        let source = Source {
            table: toml::from_str(text).map_err(syntax)?,
            origin: origin.to_owned(),
        };
        let stem = Path::new(origin).file_stem();
        let name = stem.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self::check(&file, name, source)
    }

    /// This profile with other values: pairs of a key such as `read.time` and what it is to be. A
    /// value that is no TOML is taken for a string, so that units need no quotes.
    ///
    /// # Errors
    /// [`ProfileError`] when there is no such key, or when the result is no profile.
    pub fn with(&self, changes: &[(String, String)]) -> Result<Self, ProfileError> {
        let mut table = self.source.table.clone();
        let mut name = self.name.clone();
        for (number, (key, text)) in changes.iter().enumerate() {
            let value = format!("value = {text}");
            let value = toml::from_str(&value)
                .ok()
                .and_then(|mut parsed: toml::Table| parsed.remove("value"))
                .unwrap_or_else(|| toml::Value::String(text.clone()));
            put(&mut table, key, value).map_err(|message| ProfileError::Value {
                origin: self.source.origin.clone(),
                key: key.clone(),
                message,
            })?;
            let joint = if number == 0 { " with" } else { "," };
            name.push_str(&format!("{joint} {key} = {text}"));
        }
        let origin = &self.source.origin;
        let changed = ProfileFile::deserialize(table.clone());
        let file = changed.map_err(|error| ProfileError::Syntax {
            origin: origin.clone(),
            message: format!("as changed: {}", one_line(error.message())),
        })?;
        let source = Source {
            table,
            origin: origin.clone(),
        };
        Self::check(&file, name, source)
    }

    /// The file that it was made from.
    pub(super) fn origin(&self) -> &str {
        &self.source.origin
    }

    /// The keys and values that it was made from.
    pub fn values(&self) -> &toml::Table {
        &self.source.table
    }

    fn check(file: &ProfileFile, name: String, source: Source) -> Result<Self, ProfileError> {
        let at = Origin(&source.origin);
        let units = at.count("units", file.units, 1024)?;
        Ok(Self {
            name,
            front_end: at.front_end(&file.front_end)?,
            bandwidth: match &file.bandwidth {
                Some(text) => Some(PerByte::of_bandwidth(at.bandwidth("bandwidth", text)?)),
                None => None,
            },
            units,
            stripe: at.stripe(&file.stripe)?,
            read: at.service("read", &file.read)?,
            write: at.service("write", &file.write)?,
            other: at.service("other", &file.other)?,
            write_cache: match &file.write_cache {
                Some(cache) => Some(at.write_cache(cache)?),
                None => None,
            },
            interference: match &file.interference {
                Some(interference) => Some(at.interference(interference, units)?),
                None => None,
            },
            source: Arc::new(source),
        })
    }
}

/// Puts a value at a dotted key, making tables on the way.
fn put(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), String> {
    match key.split_once('.') {
        None if key.is_empty() => Err("a key is missing".into()),
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => match table
            .entry(first)
            .or_insert_with(|| toml::Table::new().into())
        {
            toml::Value::Table(inner) => put(inner, rest, value),
            _ => Err(format!("{first} has no parts")),
        },
    }
}

/// The file that values come from, for messages.
pub(super) struct Origin<'a>(pub &'a str);

impl Origin<'_> {
    pub(super) fn wrong(&self, key: &str, message: impl Into<String>) -> ProfileError {
        ProfileError::Value {
            origin: self.0.to_owned(),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    fn duration(&self, key: &str, text: &str) -> Result<Nanos, ProfileError> {
        match units::duration(text) {
            Ok(nanos) if nanos <= LONGEST => Ok(nanos),
            Ok(_) => Err(self.wrong(key, format!("{text} is longer than a minute"))),
            Err(message) => Err(self.wrong(key, message)),
        }
    }

    /// A cost for each command, or how many commands a second there are at most.
    fn front_end(&self, text: &str) -> Result<Nanos, ProfileError> {
        let key = "front_end";
        if !text.ends_with("/s") {
            return self.duration(key, text);
        }
        match units::rate(text) {
            Ok(rate) if (1..=1_000_000_000).contains(&rate) => Ok(1_000_000_000u64.div_ceil(rate)),
            Ok(_) => Err(self.wrong(key, format!("{text} is not between 1/s and 1000M/s"))),
            Err(message) => Err(self.wrong(key, message)),
        }
    }

    fn bandwidth(&self, key: &str, text: &str) -> Result<u64, ProfileError> {
        match units::bandwidth(text) {
            Ok(rate) if (1_000_000..=1_000_000_000_000).contains(&rate) => Ok(rate),
            Ok(_) => Err(self.wrong(key, format!("{text} is not between 1MB/s and 1000GB/s"))),
            Err(message) => Err(self.wrong(key, message)),
        }
    }

    fn count(&self, key: &str, count: i64, most: u16) -> Result<u16, ProfileError> {
        match u16::try_from(count) {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(self.wrong(key, format!("{count} is not between 1 and {most}"))),
        }
    }

    fn stripe(&self, text: &str) -> Result<u32, ProfileError> {
        let bytes = units::size(text).map_err(|message| self.wrong("stripe", message))?;
        match u32::try_from(bytes) {
            Ok(stripe) if (4096..=16 << 20).contains(&stripe) => Ok(stripe),
            _ => Err(self.wrong("stripe", format!("{text} is not between 4KiB and 16MiB"))),
        }
    }

    fn service(&self, work: &str, file: &ServiceFile) -> Result<Service, ProfileError> {
        let key = |part: &str| format!("{work}.{part}");
        let tail = match &file.tail {
            None => None,
            Some(tail) if (0.0..=1.0).contains(&tail.probability) => Some(Tail::new(
                tail.probability,
                self.duration(&key("tail.time"), &tail.time)?,
            )),
            Some(tail) => {
                let message = format!("{} is not between 0 and 1", tail.probability);
                return Err(self.wrong(&key("tail.probability"), message));
            }
        };
        let spread = match (&file.histogram, &file.time) {
            (Some(path), None) => {
                if file.jitter.is_some() || file.sigma.is_some() {
                    let message = "the times are those of the file: leave jitter and sigma out";
                    return Err(self.wrong(&key("histogram"), message));
                }
                Spread::Empirical(Arc::new(self.histogram(&key("histogram"), path)?))
            }
            (None, Some(time)) => self.spread(work, time, file)?,
            (None, None) => return Err(self.wrong(&key("time"), "is missing")),
            (Some(_), Some(_)) => {
                let message = "the times are those of the file: leave time out";
                return Err(self.wrong(&key("histogram"), message));
            }
        };
        Ok(Service { spread, tail })
    }

    fn spread(&self, work: &str, text: &str, file: &ServiceFile) -> Result<Spread, ProfileError> {
        let key = |part: &str| format!("{work}.{part}");
        let time = self.duration(&key("time"), text)?;
        match (&file.jitter, file.sigma) {
            (None, None) => Ok(Spread::Constant(time)),
            (Some(text), None) => {
                let jitter = self.duration(&key("jitter"), text)?;
                if jitter > time {
                    let message =
                        format!("{text} is longer than {}, which is {time} ns", key("time"));
                    return Err(self.wrong(&key("jitter"), message));
                }
                Ok(Service::uniform(time, jitter).spread)
            }
            (None, Some(sigma)) if (0.0..=2.0).contains(&sigma) => Ok(Spread::LogNormal {
                median: time,
                sigma,
            }),
            (None, Some(sigma)) => {
                Err(self.wrong(&key("sigma"), format!("{sigma} is not between 0 and 2")))
            }
            (Some(_), Some(_)) => {
                let message = "times are either even (jitter) or lognormal (sigma)";
                Err(self.wrong(&key("sigma"), message))
            }
        }
    }

    /// A path is meant from the profile's own folder.
    fn histogram(&self, key: &str, path: &Path) -> Result<Histogram, ProfileError> {
        let folder = Path::new(self.0).parent().unwrap_or(Path::new(""));
        let path = folder.join(path);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| self.wrong(key, format!("{}: {error}", path.display())))?;
        Histogram::parse(&text)
            .map_err(|message| self.wrong(key, format!("{}: {message}", path.display())))
    }

    fn write_cache(&self, file: &WriteCacheFile) -> Result<WriteCache, ProfileError> {
        let key = "write_cache.size";
        let size = units::size(&file.size).map_err(|message| self.wrong(key, message))?;
        if !(4096..=1 << 40).contains(&size) {
            return Err(self.wrong(
                key,
                format!("{} is not between 4KiB and 1024GiB", file.size),
            ));
        }
        let drain = PerByte::of_bandwidth(self.bandwidth("write_cache.drain", &file.drain)?);
        Ok(WriteCache {
            full: drain.time(size),
            drain,
        })
    }

    fn interference(
        &self,
        file: &InterferenceFile,
        units: u16,
    ) -> Result<Interference, ProfileError> {
        let every = self.duration("interference.every", &file.every)?;
        let busy = self.duration("interference.busy", &file.busy)?;
        if busy >= every {
            let message = format!("{} is not shorter than every, {}", file.busy, file.every);
            return Err(self.wrong("interference.busy", message));
        }
        Ok(Interference {
            every,
            busy,
            units: self.count("interference.units", file.units, units)?,
        })
    }
}

/// What is wrong and in which line; the parser's own text spreads over several lines.
fn sentence(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.bytes().take(at).filter(|&byte| byte == b'\n').count();
    let written = text.lines().nth(line).unwrap_or_default().trim();
    let message = one_line(error.message());
    format!("line {}, \"{written}\": {message}", line + 1)
}

fn one_line(message: &str) -> String {
    message.trim_end().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::{Model, Work, read_of};
    use super::*;

    const GOOD: &str = r#"
        front_end = "0.4us"
        units = 16
        stripe = "4KiB"
        read = { time = "6.2us", jitter = "0.3us" }
        write = { time = "8us" }
        other = { time = "1us" }
    "#;

    fn parse(text: &str) -> Result<Profile, String> {
        Profile::parse(text, "some/x.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn parse_of_a_good_profile_takes_every_value() {
        let profile = parse(GOOD).unwrap();
        assert_eq!(profile.name(), "x");
        assert_eq!(profile.front_end(), 400);
        assert_eq!(profile.units(), 16);
        assert_eq!(profile.stripe(), 4096);
        assert_eq!(profile.service(Work::Read), &Service::uniform(6200, 300));
        assert_eq!(profile.service(Work::Write), &Service::uniform(8000, 0));
        assert!(!profile.is_instant());
    }

    #[test]
    fn parse_takes_what_can_be_left_out() {
        let text = r#"
            front_end = "2.5M/s"
            bandwidth = "3.2GB/s"
            units = 4
            stripe = "16KiB"
            read = { time = "60us", sigma = 0.2, tail = { probability = 0.001, time = "2ms" } }
            write = { time = "10us" }
            other = { time = "1us" }
            write_cache = { size = "64MiB", drain = "1GB/s" }
            interference = { every = "10ms", busy = "1ms", units = 2 }
        "#;
        let profile = parse(text).unwrap();
        assert_eq!(profile.front_end(), 400);
        assert_eq!(profile.bandwidth().map(|link| link.time(4096)), Some(1280));
        let read = profile.service(Work::Read);
        let wanted = Spread::LogNormal {
            median: 60_000,
            sigma: 0.2,
        };
        assert_eq!(read.spread(), &wanted);
        assert_eq!(read.tail, Some(Tail::new(0.001, 2_000_000)));
        let cache = profile.write_cache().unwrap();
        assert!(cache.full.abs_diff(67_108_864) < 100, "{}", cache.full);
        let interference = Interference {
            every: 10_000_000,
            busy: 1_000_000,
            units: 2,
        };
        assert_eq!(profile.interference(), Some(interference));
    }

    #[test]
    fn parse_of_an_unknown_key_names_file_and_key() {
        for text in [
            format!("wings = 2\n{GOOD}"),
            GOOD.replace("jitter", "wings"),
            format!("{GOOD}write_cache = {{ size = \"1MiB\", drain = \"1GB/s\", wings = 2 }}"),
        ] {
            let message = parse(&text).unwrap_err();
            assert!(message.starts_with("some/x.toml: line "), "{message}");
            assert!(message.contains("wings"), "{message}");
        }
    }

    /// A value of the wrong kind is told with the line that it stands in.
    #[test]
    fn parse_of_a_value_of_another_kind_names_file_and_key() {
        for (from, to) in [("16", "\"many\""), ("16", "1.5"), ("\"4KiB\"", "4")] {
            let message = parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(message.starts_with("some/x.toml: line "), "{message}");
            assert!(message.contains(&format!(" = {to}")), "{message}");
        }
    }

    #[test]
    fn parse_of_a_bad_value_names_file_and_key() {
        let cases = [
            ("6.2us", "6.2 parsecs", "read.time"),
            ("\"0.3us\"", "\"7us\"", "read.jitter"),
            ("\"0.3us\"", "\"0.3us\", sigma = 0.1", "read.sigma"),
            ("jitter = \"0.3us\"", "sigma = -0.1", "read.sigma"),
            ("jitter = \"0.3us\"", "sigma = 2.1", "read.sigma"),
            ("jitter = \"0.3us\"", "sigma = nan", "read.sigma"),
            (
                "\"8us\"",
                "\"8us\", tail = { probability = 2.0, time = \"1ms\" }",
                "write.tail.probability",
            ),
            (
                "time = \"8us\"",
                "histogram = \"none.csv\"",
                "write.histogram",
            ),
            ("time = \"8us\"", "", "write.time"),
            ("16", "0", "units"),
            ("16", "-1", "units"),
            ("16", "1025", "units"),
            ("4KiB", "1B", "stripe"),
            ("0.4us", "61s", "front_end"),
            ("0.4us", "-0.4us", "front_end"),
            ("0.4us", "0M/s", "front_end"),
            ("\"0.4us\"", "\"0.4us\"\nbandwidth = \"9TB/s\"", "bandwidth"),
            ("\"0.4us\"", "\"0.4us\"\nbandwidth = \"1B/s\"", "bandwidth"),
        ];
        for (from, to, key) in cases {
            let message = parse(&GOOD.replace(from, to)).unwrap_err();
            let wanted = format!("some/x.toml: {key}: ");
            assert!(message.starts_with(&wanted), "{message}, not {wanted}");
        }
        let parts = [
            (
                "write_cache = { size = \"1B\", drain = \"1GB/s\" }",
                "write_cache.size",
            ),
            (
                "write_cache = { size = \"1MiB\", drain = \"0B/s\" }",
                "write_cache.drain",
            ),
            (
                "interference = { every = \"1ms\", busy = \"1ms\", units = 1 }",
                "interference.busy",
            ),
            (
                "interference = { every = \"1ms\", busy = \"1us\", units = 17 }",
                "interference.units",
            ),
        ];
        for (part, key) in parts {
            let message = parse(&format!("{GOOD}{part}")).unwrap_err();
            assert!(
                message.starts_with(&format!("some/x.toml: {key}: ")),
                "{message}"
            );
        }
    }

    #[test]
    fn histogram_is_looked_for_beside_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("measured.toml");
        let times = "up_to,count\n70us,0\n80us,3\n";
        std::fs::write(folder.path().join("reads.csv"), times).unwrap();
        let text = GOOD.replace(
            "time = \"6.2us\", jitter = \"0.3us\"",
            "histogram = \"reads.csv\"",
        );
        std::fs::write(&file, text).unwrap();
        let profile = Profile::load(&file.display().to_string()).unwrap();
        let due = Model::new(profile, 0).admit(0, &read_of(1, 0));
        assert!((70_400..=80_400).contains(&due), "{due}");
        std::fs::write(folder.path().join("reads.csv"), "up_to,count\n70us,1\n").unwrap();
        let message = Profile::load(&file.display().to_string()).unwrap_err();
        let message = message.to_string();
        assert!(message.contains("reads.csv: line 2: "), "{message}");
    }

    #[test]
    fn with_changes_single_values_and_says_so() {
        let change = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let profile = parse(GOOD).unwrap();
        let changed = profile
            .with(&[change("read.time", "7us"), change("units", "8")])
            .unwrap();
        assert_eq!(changed.service(Work::Read), &Service::uniform(7000, 300));
        assert_eq!(changed.units(), 8);
        assert_eq!(changed.name(), "x with read.time = 7us, units = 8");
        let again = changed.with(&[change("write.tail.time", "1ms")]);
        let message = again.unwrap_err().to_string();
        assert!(message.contains("probability"), "{message}");
        for (key, value) in [
            ("wings", "2"),
            ("read.jitter", "8us"),
            ("units.x", "1"),
            ("", ""),
        ] {
            assert!(profile.with(&[change(key, value)]).is_err(), "{key}");
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
            let read = profile.service(Work::Read).median();
            let by_units = u64::from(profile.units()) * 1_000_000_000 / read;
            by_units.min(1_000_000_000 / profile.front_end())
        };
        assert!(peak(&high) > 1_250_000, "{}", peak(&high));
        // At depth 1 the seed's polled path takes 7.6 and 6.0 us a turn, a quarter of them the
        // processor's.
        let alone = |profile: &Profile| profile.front_end() + profile.service(Work::Read).median();
        assert!((5_000..=6_500).contains(&alone(&high)));
        assert!((3_500..=5_000).contains(&alone(&low)));
    }
}
