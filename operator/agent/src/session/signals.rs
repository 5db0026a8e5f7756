//! Signals by the names of RFC 4254 §6.10.

use russh::Sig;
use rustix::process::Signal;

/// The signal that a client names; `None` for what a session may not be sent.
pub fn from_name(name: &Sig) -> Option<Signal> {
    Some(match name {
        Sig::ABRT => Signal::ABORT,
        Sig::ALRM => Signal::ALARM,
        Sig::FPE => Signal::FPE,
        Sig::HUP => Signal::HUP,
        Sig::ILL => Signal::ILL,
        Sig::INT => Signal::INT,
        Sig::KILL => Signal::KILL,
        Sig::PIPE => Signal::PIPE,
        Sig::QUIT => Signal::QUIT,
        Sig::SEGV => Signal::SEGV,
        Sig::TERM => Signal::TERM,
        Sig::USR1 => Signal::USR1,
        Sig::Custom(name) => match name.as_str() {
            "USR2" => Signal::USR2,
            "WINCH" => Signal::WINCH,
            "STOP" => Signal::STOP,
            "TSTP" => Signal::TSTP,
            "CONT" => Signal::CONT,
            _ => return None,
        },
    })
}

/// The name of the signal that killed a program. One that the RFC does not name is given a name of ours, as it demands.
pub fn name_of(number: i32) -> Sig {
    match Signal::from_named_raw(number) {
        Some(Signal::ABORT) => Sig::ABRT,
        Some(Signal::ALARM) => Sig::ALRM,
        Some(Signal::FPE) => Sig::FPE,
        Some(Signal::HUP) => Sig::HUP,
        Some(Signal::ILL) => Sig::ILL,
        Some(Signal::INT) => Sig::INT,
        Some(Signal::KILL) => Sig::KILL,
        Some(Signal::PIPE) => Sig::PIPE,
        Some(Signal::QUIT) => Sig::QUIT,
        Some(Signal::SEGV) => Sig::SEGV,
        Some(Signal::TERM) => Sig::TERM,
        Some(Signal::USR1) => Sig::USR1,
        Some(Signal::USR2) => Sig::Custom("USR2".to_owned()),
        Some(_) | None => Sig::Custom(format!("SIG{number}@ws.dev")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_may_be_sent_is_reported_by_the_same_name() {
        let names = [
            Sig::ABRT,
            Sig::ALRM,
            Sig::FPE,
            Sig::HUP,
            Sig::ILL,
            Sig::INT,
            Sig::KILL,
            Sig::PIPE,
            Sig::QUIT,
            Sig::SEGV,
            Sig::TERM,
            Sig::USR1,
            Sig::Custom("USR2".into()),
        ];
        for name in names {
            let signal = from_name(&name).unwrap();
            assert_eq!(format!("{:?}", name_of(signal.as_raw())), format!("{name:?}"));
        }
    }

    #[test]
    fn other_names_are_not_guessed() {
        for name in ["", "SIGTERM", "term", "KILL ", "RTMIN"] {
            assert!(from_name(&Sig::Custom(name.into())).is_none(), "{name}");
        }
        assert_eq!(format!("{:?}", name_of(34)), r#"Custom("SIG34@ws.dev")"#);
    }
}
