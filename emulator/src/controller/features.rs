// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Features (NVMe Base 2.0c, 5.15 and 5.27). None can be saved: all return to their defaults with a
//! controller reset.

use crate::spec::feature::{
    CAPABILITY_CHANGEABLE, CAPABILITY_NAMESPACE, FeatureId, HOST_BEHAVIOR_BYTES,
    TIMESTAMP_ORIGIN_HOST, TimestampData,
};
use crate::spec::{NSID_BROADCAST, Status};

use super::ControllerConfig;
use super::health::WARNING_KELVIN;
use super::io::IoUnit;

/// Asynchronous events that can be turned on: the SMART critical warnings, and namespace attribute
/// notices.
const EVENT_CONFIG_MASK: u32 = 0x0000_011F;

/// Event configuration: temperature warnings are reported.
pub const EVENT_TEMPERATURE: u32 = 1 << 1;

/// Event configuration: namespace attribute changes are reported.
pub const EVENT_NAMESPACE: u32 = 1 << 8;

/// Arbitration after a reset: bursts of 2^4 commands.
const ARBITRATION_DEFAULT: u32 = 4;

/// Time unit of interrupt coalescing: 100 microseconds.
const COALESCING_UNIT: u64 = 100_000;

/// The values in force.
#[derive(Clone, Debug)]
pub struct Features {
    arbitration: u32,
    power_state: u32,
    over_temperature: u16,
    under_temperature: u16,
    volatile_cache: bool,
    /// There is a volatile write cache that can be turned on and off.
    has_volatile_cache: bool,
    queues: u32,
    coalescing: u32,
    coalescing_disabled: Vec<bool>,
    atomicity: u32,
    events: u32,
    timestamp: Timestamp,
    host_behavior: [u8; 3],
}

#[derive(Clone, Copy, Debug, Default)]
struct Timestamp {
    milliseconds: u64,
    set_at: Option<u64>,
}

/// What a Set Features command changed that others must act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureEffect {
    /// Nothing beyond the value itself.
    None,
    /// The volatile write cache was turned on or off.
    VolatileCache(bool),
    /// A temperature threshold moved.
    TemperatureThreshold,
}

/// A feature's value as Get Features gives it back: dword 0, and data for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeatureValue {
    /// In dword 0 of the completion.
    Dword(u32),
    /// In the data buffer.
    Data(Vec<u8>),
}

impl Features {
    /// Defaults.
    pub fn new(config: &ControllerConfig) -> Self {
        let queues = u32::from(config.queue_pairs - 1);
        Self {
            arbitration: ARBITRATION_DEFAULT,
            power_state: 0,
            over_temperature: WARNING_KELVIN,
            under_temperature: 0,
            volatile_cache: config.volatile_write_cache,
            has_volatile_cache: config.volatile_write_cache,
            queues: queues << 16 | queues,
            coalescing: 0,
            coalescing_disabled: vec![false; config.vectors.into()],
            atomicity: 0,
            events: 0,
            timestamp: Timestamp::default(),
            host_behavior: [0; 3],
        }
    }

    /// Commands that one queue may have executed before it is another's turn (Arbitration Burst).
    /// "No limit" is as many as keep the device responsive.
    pub fn burst(&self) -> u32 {
        1 << (self.arbitration & 7)
    }

    /// Whether the volatile write cache is on.
    pub fn volatile_cache(&self) -> bool {
        self.volatile_cache
    }

    /// Over and under temperature thresholds in kelvins.
    pub fn temperature_thresholds(&self) -> (u16, u16) {
        (self.over_temperature, self.under_temperature)
    }

    /// Whether events of a kind were asked for ([`EVENT_TEMPERATURE`], [`EVENT_NAMESPACE`]).
    pub fn wants_event(&self, kind: u32) -> bool {
        self.events & kind != 0
    }

    /// Largest identifiers of submission and completion queues that the host may create.
    pub fn queue_limits(&self) -> (u16, u16) {
        let [a, b, c, d] = self.queues.to_le_bytes();
        let limit = |low, high| u16::from_le_bytes([low, high]).saturating_add(1);
        (limit(a, b), limit(c, d))
    }

    /// How many completions to gather on `vector`, and for how many nanoseconds at most, before an
    /// interrupt; `None`: do not gather.
    pub fn coalescing(&self, vector: u16) -> Option<(u32, u64)> {
        let [threshold, time, ..] = self.coalescing.to_le_bytes();
        let disabled = self.coalescing_disabled.get(usize::from(vector));
        if time == 0 || threshold == 0 || disabled.copied().unwrap_or(true) {
            return None;
        }
        Some((u32::from(threshold) + 1, u64::from(time) * COALESCING_UNIT))
    }

    /// What can be done with a feature; `None` for one that is not supported.
    pub fn capabilities(&self, feature: FeatureId) -> Option<u32> {
        match feature {
            FeatureId::ERROR_RECOVERY => Some(CAPABILITY_NAMESPACE | CAPABILITY_CHANGEABLE),
            FeatureId::VOLATILE_WRITE_CACHE if !self.has_volatile_cache => None,
            FeatureId::VOLATILE_WRITE_CACHE
            | FeatureId::ARBITRATION
            | FeatureId::POWER_MANAGEMENT
            | FeatureId::TEMPERATURE_THRESHOLD
            | FeatureId::NUMBER_OF_QUEUES
            | FeatureId::INTERRUPT_COALESCING
            | FeatureId::INTERRUPT_VECTOR
            | FeatureId::WRITE_ATOMICITY
            | FeatureId::ASYNC_EVENT_CONFIG
            | FeatureId::TIMESTAMP
            | FeatureId::HOST_BEHAVIOR => Some(CAPABILITY_CHANGEABLE),
            _ => None,
        }
    }

    /// The value of a feature. `cdw11` selects where a feature has several values.
    ///
    /// # Errors
    /// Invalid Field for an unknown feature or selection, Invalid Namespace.
    pub fn get(
        &self,
        feature: FeatureId,
        cdw11: u32,
        nsid: u32,
        io: &IoUnit,
        now: u64,
    ) -> Result<FeatureValue, Status> {
        let value = match feature {
            FeatureId::ARBITRATION => self.arbitration,
            FeatureId::POWER_MANAGEMENT => self.power_state,
            FeatureId::TEMPERATURE_THRESHOLD => match threshold_kind(cdw11, false)? {
                Threshold::Over => self.over_temperature.into(),
                Threshold::Under => self.under_temperature.into(),
            },
            FeatureId::ERROR_RECOVERY => {
                let namespace = io.namespace(nsid).ok_or(Status::INVALID_NAMESPACE)?;
                namespace.error_recovery
            }
            FeatureId::VOLATILE_WRITE_CACHE => self.volatile_cache.into(),
            FeatureId::NUMBER_OF_QUEUES => self.queues,
            FeatureId::INTERRUPT_COALESCING => self.coalescing,
            FeatureId::INTERRUPT_VECTOR => {
                let vector = cdw11 & 0xFFFF;
                let disabled = self.coalescing_disabled.get(vector as usize);
                let disabled = *disabled.ok_or(Status::INVALID_FIELD)?;
                vector | u32::from(disabled) << 16
            }
            FeatureId::WRITE_ATOMICITY => self.atomicity,
            FeatureId::ASYNC_EVENT_CONFIG => self.events,
            FeatureId::TIMESTAMP => return Ok(FeatureValue::Data(self.timestamp.data(now))),
            FeatureId::HOST_BEHAVIOR => {
                let mut data = vec![0; HOST_BEHAVIOR_BYTES];
                data[..3].copy_from_slice(&self.host_behavior);
                return Ok(FeatureValue::Data(data));
            }
            _ => return Err(Status::INVALID_FIELD),
        };
        Ok(FeatureValue::Dword(value))
    }

    /// Sets a feature that is wholly in dword 11. Returns dword 0 of the completion, and what must
    /// follow.
    ///
    /// # Errors
    /// The status that the command completes with.
    pub fn set(
        &mut self,
        feature: FeatureId,
        cdw11: u32,
        config: &ControllerConfig,
    ) -> Result<(u32, FeatureEffect), Status> {
        match feature {
            FeatureId::ARBITRATION => self.arbitration = cdw11 & 0xFFFF_FF07,
            // There is one power state. The workload hint is kept.
            FeatureId::POWER_MANAGEMENT if cdw11 & 0x1F == 0 => self.power_state = cdw11 & 0xE0,
            FeatureId::TEMPERATURE_THRESHOLD => {
                let [low, high, ..] = cdw11.to_le_bytes();
                let kelvins = u16::from_le_bytes([low, high]);
                match threshold_kind(cdw11, true)? {
                    Threshold::Over => self.over_temperature = kelvins,
                    Threshold::Under => self.under_temperature = kelvins,
                }
                return Ok((0, FeatureEffect::TemperatureThreshold));
            }
            FeatureId::VOLATILE_WRITE_CACHE => {
                let on = cdw11 & 1 != 0;
                let changed = on != self.volatile_cache;
                self.volatile_cache = on;
                if changed {
                    return Ok((0, FeatureEffect::VolatileCache(on)));
                }
            }
            FeatureId::NUMBER_OF_QUEUES => return self.set_queues(cdw11, config),
            FeatureId::INTERRUPT_COALESCING => self.coalescing = cdw11 & 0xFFFF,
            FeatureId::INTERRUPT_VECTOR => {
                let vector = (cdw11 & 0xFFFF) as usize;
                let disabled = self.coalescing_disabled.get_mut(vector);
                *disabled.ok_or(Status::INVALID_FIELD)? = cdw11 & 1 << 16 != 0;
            }
            FeatureId::WRITE_ATOMICITY => self.atomicity = cdw11 & 1,
            FeatureId::ASYNC_EVENT_CONFIG => self.events = cdw11 & EVENT_CONFIG_MASK,
            _ => return Err(Status::INVALID_FIELD),
        }
        Ok((0, FeatureEffect::None))
    }

    /// Number of Queues: what is asked for, at most what there is. Both numbers are 0's based.
    fn set_queues(
        &mut self,
        cdw11: u32,
        config: &ControllerConfig,
    ) -> Result<(u32, FeatureEffect), Status> {
        let most = u32::from(config.queue_pairs) - 1;
        let (submission, completion) = (cdw11 & 0xFFFF, cdw11 >> 16);
        if submission == 0xFFFF || completion == 0xFFFF {
            return Err(Status::INVALID_FIELD);
        }
        self.queues = completion.min(most) << 16 | submission.min(most);
        Ok((self.queues, FeatureEffect::None))
    }

    /// Sets the timestamp from the host's data.
    pub fn set_timestamp(&mut self, data: &TimestampData, now: u64) {
        let mut milliseconds = [0; 8];
        milliseconds[..6].copy_from_slice(&data.milliseconds);
        self.timestamp = Timestamp {
            milliseconds: u64::from_le_bytes(milliseconds),
            set_at: Some(now),
        };
    }

    /// Sets the host's behaviour: three flags, each 0 or 1.
    ///
    /// # Errors
    /// Invalid Field for another value.
    pub fn set_host_behavior(&mut self, data: &[u8; HOST_BEHAVIOR_BYTES]) -> Result<(), Status> {
        let [acre, etdas, lbafee, ..] = *data;
        if acre > 1 || etdas > 1 || lbafee > 1 {
            return Err(Status::INVALID_FIELD);
        }
        self.host_behavior = [acre, etdas, lbafee];
        Ok(())
    }
}

impl Timestamp {
    fn data(self, now: u64) -> Vec<u8> {
        let elapsed = self
            .set_at
            .map_or(0, |at| now.saturating_sub(at) / 1_000_000);
        let milliseconds = self.milliseconds.wrapping_add(elapsed).to_le_bytes();
        let mut data = milliseconds[..6].to_vec();
        data.push(self.set_at.map_or(0, |_| TIMESTAMP_ORIGIN_HOST));
        data.push(0);
        data
    }
}

/// Sets Error Recovery on one namespace or on all. DULBE is not offered.
///
/// # Errors
/// Invalid Field for DULBE, Invalid Namespace.
pub fn set_error_recovery(io: &mut IoUnit, nsid: u32, cdw11: u32) -> Result<(), Status> {
    if cdw11 & 1 << 16 != 0 {
        return Err(Status::INVALID_FIELD);
    }
    let value = cdw11 & 0xFFFF;
    if nsid == NSID_BROADCAST {
        for namespace in io.namespaces_mut() {
            namespace.error_recovery = value;
        }
        return Ok(());
    }
    let namespace = io.namespace_mut(nsid).ok_or(Status::INVALID_NAMESPACE)?;
    namespace.error_recovery = value;
    Ok(())
}

enum Threshold {
    Over,
    Under,
}

/// Which threshold TMPSEL and THSEL name: of the composite temperature or of its one sensor, which
/// are the same here. Set Features may also name all sensors.
fn threshold_kind(cdw11: u32, setting: bool) -> Result<Threshold, Status> {
    let sensor = cdw11 >> 16 & 0xF;
    if sensor > 1 && !(setting && sensor == 0xF) {
        return Err(Status::INVALID_FIELD);
    }
    match cdw11 >> 20 & 3 {
        0 => Ok(Threshold::Over),
        1 => Ok(Threshold::Under),
        _ => Err(Status::INVALID_FIELD),
    }
}
