//! Decides whether the cluster isolates the pod: no clock, no sockets.
//!
//! The gateway's pods listen on two ports, of which the policy allows one. Reaching the first shows that the network works
//! and how fast; failing on the second, and on everything else that is forbidden, then shows the policy and nothing else, if
//! the first is still reached afterwards.

use std::time::Duration;

use ws_api::{
    agent::Target,
    termination::{Ending, Reason},
};

/// Attempts on each forbidden target that must fail, one after the other, with none succeeding anywhere.
pub const ATTEMPTS: u32 = 20;

/// Bounds of the time that an attempt on a forbidden target is given. What is allowed by mistake and farther away than the
/// gateway by more than [`MARGIN`] times is found by the [`Watch`], which begins with the session and gives a second.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));
/// An allowed connection's time, times this, is what a forbidden one is given.
const MARGIN: u32 = 8;
/// Bounds of the time that an attempt on the gateway is given; it doubles with each.
const GATEWAY_PATIENCE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));
/// What looks in a row that show nothing may add up to, and what each adds. Code in the workspace can keep a look from being
/// made, so that is borne for five minutes. A silent gateway is the cluster's trouble, and the work in the pod is not to be lost
/// to it: half an hour.
const MAX_DOUBT: u32 = 60;
const UNMADE: u32 = 6;
const SILENT: u32 = 1;

/// What was found so far.
#[derive(Debug)]
pub struct Proof {
    deadline: Duration,
    state: State,
    attempts: u32,
    evidence: Option<Round>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The gateway is not reached; the next attempt may take this long.
    Silent(Duration),
    /// The gateway was connected within this time.
    Reached(Duration),
    /// A round of attempts that were given this time has failed. The gateway has not answered since.
    Held(Duration),
    Proven,
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

/// What an attempt to connect showed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attempt {
    Reached,
    /// It was refused, or nobody answered in time.
    Denied,
    /// It could not be made, for this reason, which says nothing about the network.
    Unmade(String),
}

/// What attempts on all forbidden targets showed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Round {
    Reached(Target),
    /// All of them were denied.
    Denied,
    Unmade(String),
}

impl Proof {
    /// Begins a proof that may take until `deadline`, counted from its start.
    pub fn new(deadline: Duration) -> Self {
        Self { deadline, state: State::Silent(GATEWAY_PATIENCE.0), attempts: 0, evidence: None }
    }

    pub fn next(&self, elapsed: Duration) -> Next {
        match self.state {
            State::Proven => Next::Proven { attempts: self.attempts },
            _ if elapsed >= self.deadline => Next::Failed(self.ending()),
            State::Silent(patience) | State::Held(patience) => Next::AskGateway { patience },
            State::Reached(time) => Next::Probe { patience: patience(time) },
        }
    }

    pub fn gateway_reached(&mut self, within: Duration) {
        self.state = match self.state {
            State::Silent(_) => State::Reached(within),
            // The network worked before and after what failed, and as fast as it was given time for.
            State::Held(_) => State::Proven,
            State::Reached(_) | State::Proven => self.state,
        };
    }

    pub fn gateway_silent(&mut self) {
        if let State::Silent(patience) | State::Held(patience) = self.state {
            self.state = State::Silent((patience * 2).min(GATEWAY_PATIENCE.1));
        }
    }

    /// Takes the outcome of a [`Next::Probe`], and how many attempts were made for it.
    pub fn probed(&mut self, attempts: u32, round: &Round) {
        self.attempts += attempts;
        match (round, self.state) {
            (Round::Denied, State::Reached(time)) => self.state = State::Held(patience(time)),
            (Round::Denied, _) => (),
            (Round::Reached(_) | Round::Unmade(_), _) => self.evidence = Some(round.clone()),
        }
    }

    fn ending(&self) -> Ending {
        let seconds = self.deadline.as_secs();
        let not_enforced = |message| Ending { reason: Reason::EgressNotEnforced, message };
        match (&self.state, &self.evidence) {
            (State::Silent(_), _) => Ending {
                reason: Reason::GatewayUnreachable,
                message: format!("the gateway's proxy port was not reached within {seconds} s"),
            },
            (_, Some(Round::Reached(target))) => not_enforced(format!(
                "{target} was still reached after {seconds} s, {} attempts: the cluster does not enforce the network policy",
                self.attempts
            )),
            (_, Some(Round::Unmade(why))) => {
                not_enforced(format!("nothing was shown within {seconds} s: {why}"))
            }
            (_, Some(Round::Denied) | None) => {
                not_enforced(format!("no {ATTEMPTS} attempts were completed within {seconds} s"))
            }
        }
    }
}

fn patience(connected_within: Duration) -> Duration {
    (connected_within * MARGIN).clamp(PATIENCE.0, PATIENCE.1)
}

/// Decides, while a workspace is in use, whether it may go on.
///
/// Code in the workspace can use up what a connection needs on this side (ports, memory), so an attempt that could not be
/// made is no denial; and a look that shows nothing must not be followed by others like it for ever.
#[derive(Debug, Default)]
pub struct Watch {
    doubt: u32,
}

impl Watch {
    /// Takes what one look showed of the gateway and of what is forbidden, and tells whether the workspace must end.
    pub fn looked(&mut self, gateway: &Attempt, forbidden: &Round) -> Option<Ending> {
        let (reason, doubt, why) = match (forbidden, gateway) {
            (Round::Reached(target), _) => {
                let message = format!("{target} was reached while the workspace was in use");
                return Some(Ending { reason: Reason::EgressBreach, message });
            }
            (Round::Denied, Attempt::Reached) => {
                self.doubt = 0;
                return None;
            }
            (Round::Unmade(why), _) | (Round::Denied, Attempt::Unmade(why)) => {
                (Reason::EgressBreach, UNMADE, why.as_str())
            }
            (Round::Denied, Attempt::Denied) => {
                (Reason::GatewayUnreachable, SILENT, "the gateway's proxy port was not reached")
            }
        };
        self.doubt += doubt;
        let message = format!("for too long, no look could show that the pod is isolated: {why}");
        (self.doubt >= MAX_DOUBT).then_some(Ending { reason, message })
    }
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
        for (took, patience) in [(0, 25), (3, 25), (4, 32), (10, 80), (40, 320), (900, 1_000)] {
            let mut proof = proof();
            proof.gateway_reached(MS(took));
            assert_eq!(proof.next(MS(0)), Next::Probe { patience: MS(patience) }, "{took}");
        }
    }

    #[test]
    fn one_round_without_an_answer_proves_it_and_any_answer_begins_anew() {
        let mut proof = proof();
        proof.gateway_reached(MS(1));
        for nothing in [Round::Reached(target()), Round::Unmade("no port is free".into())] {
            proof.probed(40, &nothing);
            assert!(matches!(proof.next(MS(50)), Next::Probe { .. }));
        }
        proof.probed(100, &Round::Denied);
        assert!(matches!(proof.next(MS(90)), Next::AskGateway { .. }));
        proof.gateway_reached(MS(1));
        assert_eq!(proof.next(MS(100)), Next::Proven { attempts: 180 });
        assert_eq!(proof.next(Duration::from_secs(61)), Next::Proven { attempts: 180 });
    }

    #[test]
    fn a_round_after_which_the_gateway_is_silent_for_as_long_shows_nothing() {
        let mut proof = proof();
        proof.gateway_reached(MS(5));
        proof.probed(100, &Round::Denied);
        assert_eq!(proof.next(MS(0)), Next::AskGateway { patience: MS(40) });
        proof.gateway_silent();
        assert_eq!(proof.next(MS(0)), Next::AskGateway { patience: MS(80) });
        proof.gateway_reached(MS(60));
        assert_eq!(proof.next(MS(0)), Next::Probe { patience: MS(480) });
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
        for (round, told) in [
            (Round::Denied, "no 20 attempts were completed within 60 s"),
            (Round::Unmade("no port is free".into()), "nothing was shown within 60 s: no port is free"),
            (Round::Reached(target()), "tcp/10.96.0.1:443 was still reached after 60 s, 9 attempts"),
        ] {
            proof.probed(3, &round);
            let (reason, message) = failed(&proof);
            assert_eq!(reason, Reason::EgressNotEnforced);
            assert!(message.starts_with(told), "{message}");
        }
    }

    #[test]
    fn a_workspace_in_use_ends_at_once_when_something_is_reached() {
        for gateway in [Attempt::Reached, Attempt::Denied, Attempt::Unmade("no port is free".into())] {
            let ending = Watch::default().looked(&gateway, &Round::Reached(target())).unwrap();
            assert_eq!(ending.reason, Reason::EgressBreach);
            assert_eq!(ending.message, "tcp/10.96.0.1:443 was reached while the workspace was in use");
        }
    }

    #[test]
    fn a_workspace_in_use_ends_when_too_many_looks_in_a_row_show_nothing() {
        let unmade = || "no port is free".to_owned();
        for (gateway, forbidden, looks, reason, why) in [
            (Attempt::Denied, Round::Denied, 60, Reason::GatewayUnreachable, "proxy port was not reached"),
            (Attempt::Unmade(unmade()), Round::Denied, 10, Reason::EgressBreach, "no port is free"),
            (Attempt::Reached, Round::Unmade(unmade()), 10, Reason::EgressBreach, "no port is free"),
            (Attempt::Denied, Round::Unmade(unmade()), 10, Reason::EgressBreach, "no port is free"),
        ] {
            let mut watch = Watch::default();
            for _ in 1..looks {
                assert_eq!(watch.looked(&gateway, &forbidden), None);
            }
            assert_eq!(watch.looked(&Attempt::Reached, &Round::Denied), None, "it begins anew");
            for _ in 1..looks {
                assert_eq!(watch.looked(&gateway, &forbidden), None);
            }
            let ending = watch.looked(&gateway, &forbidden).unwrap();
            assert_eq!(ending.reason, reason);
            assert!(ending.message.ends_with(why), "{}", ending.message);
        }
    }
}
