// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The timing model as an engine has it: to itself, or together with the engines of other pollers.
//!
//! The device has one medium, however many pollers serve it, so they share one model. That takes a
//! lock, which is held for some tens of nanoseconds; with a profile in which nothing takes time it
//! is not taken.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::timing::{Model, Nanos, Profile, Request};

/// When commands are due.
pub struct Admission {
    model: Owner,
    /// The model's own: it is looked at on every command.
    profile: Profile,
    /// The model's own.
    floor: Nanos,
}

enum Owner {
    One(Box<Model>),
    Several(Arc<Mutex<Model>>),
}

impl Admission {
    /// Of one engine.
    pub fn new(model: Model) -> Self {
        Self {
            profile: model.profile().clone(),
            floor: model.floor(),
            model: Owner::One(Box::new(model)),
        }
    }

    /// For another engine, with the same model.
    #[must_use]
    pub fn another(&mut self) -> Self {
        let placeholder = Owner::One(Box::new(Model::new(self.profile.clone(), 0)));
        let model = match std::mem::replace(&mut self.model, placeholder) {
            Owner::One(model) => Arc::new(Mutex::new(*model)),
            Owner::Several(model) => model,
        };
        self.model = Owner::Several(Arc::clone(&model));
        Self {
            model: Owner::Several(model),
            profile: self.profile.clone(),
            floor: self.floor,
        }
    }

    /// See [`Model::floor`].
    pub fn floor(&self) -> Nanos {
        self.floor
    }

    /// See [`Model::last_start`]; 0 where several engines share the model.
    pub fn last_start(&self) -> Nanos {
        match &self.model {
            Owner::One(model) => model.last_start(),
            Owner::Several(_) => 0,
        }
    }

    /// See [`Model::admit`].
    #[inline]
    pub fn admit(&mut self, now: Nanos, request: &Request) -> Nanos {
        match &mut self.model {
            Owner::One(model) => model.admit(now, request),
            Owner::Several(_) if self.profile.is_instant() => now,
            Owner::Several(model) => loop {
                match model.try_lock() {
                    Ok(mut model) => break model.admit(now, request),
                    Err(TryLockError::Poisoned(poisoned)) => {
                        break poisoned.into_inner().admit(now, request);
                    }
                    Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
                }
            },
        }
    }

    /// The speed that new commands get.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Changes the speed of the commands that arrive from now on.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile.clone();
        match &mut self.model {
            Owner::One(model) => model.set_profile(profile),
            Owner::Several(model) => {
                let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
                model.set_profile(profile);
            }
        }
    }

    /// Takes note of the speed that another engine with the same model has set.
    pub fn follow(&mut self, other: &Self) {
        if self.profile != other.profile {
            self.profile = other.profile.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::{Service, read_of};

    fn profile(time: Nanos) -> Profile {
        Profile::uniform("test", 2, 100, &Service::uniform(time, 50))
    }

    /// However many engines ask, it is one medium.
    #[test]
    fn another_asks_the_same_model() {
        let mut alone = Admission::new(Model::new(profile(5_000), 3));
        let mut first = Admission::new(Model::new(profile(5_000), 3));
        let mut second = first.another();
        for sequence in 0..50 {
            let now = 100 * sequence;
            let wanted = (
                alone.admit(now, &read_of(1, sequence)),
                alone.admit(now, &read_of(2, sequence)),
            );
            let got = (
                first.admit(now, &read_of(1, sequence)),
                second.admit(now, &read_of(2, sequence)),
            );
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn set_profile_is_followed_by_another() {
        let mut first = Admission::new(Model::new(profile(5_000), 3));
        let mut second = first.another();
        let instant = Profile::uniform("instant", 1, 0, &Service::default());
        first.set_profile(instant);
        second.follow(&first);
        assert_eq!(second.admit(7, &read_of(1, 0)), 7);
        first.set_profile(profile(5_000));
        second.follow(&first);
        assert!(second.admit(7, &read_of(1, 1)) > 7);
    }
}
