//! How the lab treats NetworkPolicy: clusters of all three kinds exist, and ws must notice which it is on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde::{Deserializer, Serializer};

/// Whether and when policies are enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// Before a pod's first packet.
    #[default]
    On,
    /// Never: policies are accepted and mean nothing.
    Off,
    /// So long after the pod started; until then it reaches everything.
    Slow(Duration),
}

/// What is wrong with a mode on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMode;

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected on, off or slow:MILLISECONDS")
    }
}

impl std::error::Error for UnknownMode {}

impl FromStr for Enforcement {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => {
                let delay =
                    text.strip_prefix("slow:").and_then(|delay| delay.parse().ok()).ok_or(UnknownMode)?;
                Ok(Self::Slow(Duration::from_millis(delay)))
            }
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Off => f.write_str("off"),
            Self::Slow(delay) => write!(f, "slow:{}", delay.as_millis()),
        }
    }
}

impl Serialize for Enforcement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Enforcement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_reads_as_it_prints() {
        for text in ["on", "off", "slow:0", "slow:1500"] {
            assert_eq!(text.parse::<Enforcement>().unwrap().to_string(), text);
        }
        for text in ["", "slow", "slow:", "slow:-1", "slow:1s", "ON"] {
            assert_eq!(text.parse::<Enforcement>(), Err(UnknownMode), "{text}");
        }
    }
}
