//! Decides whether the cluster isolates the pod: no clock, no sockets.
//!
//! The gateway's pods listen on two ports, of which the policy allows one. Reaching the first shows that the network works
//! and how fast; failing on the second, and on everything else that is forbidden, then shows the policy and nothing else.

use std::time::Duration;

use ws_api::{
    agent::Target,
    termination::{Ending, Reason},
};

/// Attempts on each forbidden target that must fail, one after the other, with none succeeding anywhere.
pub const ATTEMPTS: u32 = 20;

/// Bounds of the time that an attempt on a forbidden target is given.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
/// An allowed connection's time, times this, is what a forbidden one is given.
const MARGIN: u32 = 8;
/// Bounds of the time that an attempt on the gateway is given; it doubles with each.
const GATEWAY_PATIENCE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

/// What was found so far.
#[derive(Debug)]
pub struct Proof {
    deadline: Duration,
    gateway: Gateway,
    attempts: u32,
    reached: Option<Target>,
    proven: bool,
}

#[derive(Debug)]
enum Gateway {
    /// Not reached yet; the next attempt may take this long.
    Silent(Duration),
    /// Connected within this time.
    Reached(Duration),
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Try to connect to the gateway's proxy port.
    AskGateway { patience: Duration },
    /// Try every forbidden target [`ATTEMPTS`] times, or until one is reached.
    Probe { patience: Duration },
    /// The pod is isolated, by so many attempts.
    Proven { attempts: u32 },
    /// Time is up.
    Failed(Ending),
}

impl Proof {
    /// Begins a proof that may take until `deadline`, counted from its start.
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            gateway: Gateway::Silent(GATEWAY_PATIENCE.0),
            attempts: 0,
            reached: None,
            proven: false,
        }
    }

    pub fn next(&self, elapsed: Duration) -> Next {
        if self.proven {
            return Next::Proven { attempts: self.attempts };
        }
        if elapsed >= self.deadline {
            return Next::Failed(self.ending());
        }
        match self.gateway {
            Gateway::Silent(patience) => Next::AskGateway { patience },
            Gateway::Reached(time) => Next::Probe { patience: patience(time) },
        }
    }

    pub fn gateway_reached(&mut self, within: Duration) {
        self.gateway = Gateway::Reached(within);
    }

    pub fn gateway_silent(&mut self) {
        if let Gateway::Silent(patience) = &mut self.gateway {
            *patience = (*patience * 2).min(GATEWAY_PATIENCE.1);
        }
    }

    /// Takes the outcome of a [`Next::Probe`]: how many attempts were made, and the target that answered, if one did.
    pub fn probed(&mut self, attempts: u32, reached: Option<Target>) {
        self.attempts += attempts;
        self.proven = reached.is_none();
        self.reached = reached.or(self.reached);
    }

    fn ending(&self) -> Ending {
        let seconds = self.deadline.as_secs();
        match (&self.gateway, self.reached) {
            (Gateway::Reached(_), Some(target)) => Ending {
                reason: Reason::EgressNotEnforced,
                message: format!(
                    "{target} was still reached after {seconds} s, {} attempts: the cluster does not enforce the network policy",
                    self.attempts
                ),
            },
            (Gateway::Reached(_), None) => Ending {
                reason: Reason::EgressNotEnforced,
                message: format!("no {ATTEMPTS} attempts were completed within {seconds} s"),
            },
            (Gateway::Silent(_), _) => Ending {
                reason: Reason::GatewayUnreachable,
                message: format!("the gateway's proxy port was not reached within {seconds} s"),
            },
        }
    }
}

fn patience(connected_within: Duration) -> Duration {
    (connected_within * MARGIN).clamp(PATIENCE.0, PATIENCE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn target() -> Target {
        "tcp/10.96.0.1:443".parse().unwrap()
    }

    fn proof() -> Proof {
        Proof::new(Duration::from_mins(1))
    }

    #[test]
    fn nothing_is_concluded_from_failures_before_the_network_works() {
        let mut proof = proof();
        let mut patience = Vec::new();
        for _ in 0..7 {
            let Next::AskGateway { patience: next } = proof.next(MS(0)) else { panic!() };
            patience.push(next);
            proof.gateway_silent();
        }
        assert_eq!(patience, [25, 50, 100, 200, 400, 800, 1000].map(MS));
        proof.gateway_reached(MS(1));
        assert_eq!(proof.next(MS(0)), Next::Probe { patience: MS(25) });
    }

    #[test]
    fn a_forbidden_target_is_given_more_time_than_the_gateway_took() {
        for (took, patience) in [(0, 25), (3, 25), (4, 32), (10, 80), (40, 250), (900, 250)] {
            let mut proof = proof();
            proof.gateway_reached(MS(took));
            assert_eq!(proof.next(MS(0)), Next::Probe { patience: MS(patience) }, "{took}");
        }
    }

    #[test]
    fn one_round_without_an_answer_proves_it_and_any_answer_begins_anew() {
        let mut proof = proof();
        proof.gateway_reached(MS(1));
        proof.probed(80, Some(target()));
        assert!(matches!(proof.next(MS(50)), Next::Probe { .. }));
        proof.probed(100, None);
        assert_eq!(proof.next(MS(100)), Next::Proven { attempts: 180 });
        assert_eq!(proof.next(Duration::from_secs(61)), Next::Proven { attempts: 180 });
    }

    #[test]
    fn the_end_names_the_evidence() {
        let late = Duration::from_mins(1);
        let failed = |proof: &Proof| match proof.next(late) {
            Next::Failed(ending) => (ending.reason, ending.message),
            next => panic!("{next:?}"),
        };
        let mut proof = proof();
        assert_eq!(failed(&proof).0, Reason::GatewayUnreachable);
        proof.gateway_reached(MS(1));
        proof.probed(3, Some(target()));
        let (reason, message) = failed(&proof);
        assert_eq!(reason, Reason::EgressNotEnforced);
        assert!(
            message.starts_with("tcp/10.96.0.1:443 was still reached after 60 s, 3 attempts"),
            "{message}"
        );
    }
}
