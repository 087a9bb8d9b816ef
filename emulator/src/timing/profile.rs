// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Profiles: how fast the device pretends to be, as a file that a user can read and change.

/// A speed profile, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    name: String,
}

/// A profile that cannot be used. The text names the file and the key.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ProfileError {
    origin: String,
    message: String,
}

impl Profile {
    /// Loads the profile called `name` (a file of `configs/profiles/`, or one that is built in), or
    /// the file at the path `name` when it contains a slash or ends in `.toml`.
    ///
    /// # Errors
    /// [`ProfileError`] when there is none or it is not valid.
    pub fn load(_name: &str) -> Result<Self, ProfileError> {
        unimplemented!()
    }

    /// Parses a profile; `origin` is the file's name, for messages, and its stem the profile's name.
    ///
    /// # Errors
    /// [`ProfileError`] with file, key and what is wrong.
    pub fn parse(_text: &str, _origin: &str) -> Result<Self, ProfileError> {
        unimplemented!()
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
