//! Why an agent ended, as the container's
//! [termination message](https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).

use serde::{Deserialize, Serialize};

/// File that the kubelet reads when the container has ended.
pub const PATH: &str = "/dev/termination-log";
/// Longest termination message that Kubernetes keeps, in bytes.
pub const MAX_BYTES: usize = 4096;

/// Why an agent ended its pod.
///
/// Until user code has run in the pod this is the agent's word; afterwards it is hostile, so it is only shown, escaped.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    pub reason: Reason,
    /// One sentence for people: what was seen.
    pub message: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reason {
    /// The cluster let the pod reach what its policy forbids, until the deadline.
    EgressNotEnforced,
    /// The gateway could not be reached, so nothing can be said about the isolation.
    GatewayUnreachable,
    /// A forbidden address was reached while the session ran.
    EgressBreach,
    /// Nobody was connected and nothing ran for longer than the class allows.
    Idle,
    /// The agent was given settings it cannot work with.
    Misconfigured,
    /// The agent was asked to end.
    Terminated,
}

impl Ending {
    /// Reads a termination message; anything but what [`Ending::to_message`] writes is `None`.
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }

    /// The termination message, at most [`MAX_BYTES`] long.
    pub fn to_message(&self) -> String {
        let encode = |ending: &Self| serde_json::to_string(ending).unwrap_or_default();
        let whole = encode(self);
        if whole.len() <= MAX_BYTES {
            return whole;
        }
        // Escapes can double what a character takes, and the rest of the object needs less than the reserve.
        let short: String = self.message.chars().take(MAX_BYTES / 16).collect();
        encode(&Self { reason: self.reason, message: short })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_back() {
        let ending = Ending { reason: Reason::EgressBreach, message: "tcp 10.0.0.1:443 answered".into() };
        assert_eq!(Ending::parse(&ending.to_message()), Some(ending));
    }

    #[test]
    fn a_long_message_is_cut_and_still_read() {
        for text in ["x".repeat(10_000), "\u{1}".repeat(10_000), "🦀".repeat(10_000)] {
            let message = Ending { reason: Reason::Idle, message: text }.to_message();
            assert!(message.len() <= MAX_BYTES);
            assert_eq!(Ending::parse(&message).unwrap().reason, Reason::Idle);
        }
    }

    #[test]
    fn what_an_agent_does_not_write_is_not_believed() {
        for text in ["", "panicked at src/main.rs", "{}", r#"{"reason":"Fine","message":""}"#] {
            assert_eq!(Ending::parse(text), None, "{text}");
        }
    }
}
