//! Hears when the workspace is to end, from those who may say so.
//!
//! The workspace's processes have the agent's user id and may signal it: `pkill -u ws` is an ordinary thing to type, and must
//! not end the session with all that is not pulled yet. Whoever stops containers does it from outside the pod.

use std::{io, thread};

use signal_hook::{
    consts::SIGTERM,
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::{Cause, Sent},
};
use tokio::sync::oneshot;

/// The kernel's number for a sender whom the receiver's PID namespace does not show.
const OUTSIDE: i32 = 0;

/// Starts to listen; the future resolves when somebody outside asks for the end.
pub fn requested() -> io::Result<impl Future<Output = ()> + use<>> {
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGTERM])?;
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("terminate".into()).spawn(move || {
        let mut asked = signals.forever();
        if asked.any(|origin| is_from_outside(origin.process.map(|process| process.pid), origin.cause)) {
            tell.send(()).ok();
        }
    })?;
    Ok(async {
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Only kill(2) counts: what else sends signals lets the sender write the number itself.
fn is_from_outside(sender: Option<i32>, cause: Cause) -> bool {
    cause == Cause::Sent(Sent::User) && sender == Some(OUTSIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_outside_and_cannot_say_otherwise_is_heard() {
        for (sender, cause, heard) in [
            (Some(0), Cause::Sent(Sent::User), true),
            (Some(1), Cause::Sent(Sent::User), false),
            (Some(4_711), Cause::Sent(Sent::User), false),
            (Some(0), Cause::Sent(Sent::Queue), false),
            (Some(0), Cause::Sent(Sent::TKill), false),
            (None, Cause::Kernel, false),
            (None, Cause::Unknown, false),
        ] {
            assert_eq!(is_from_outside(sender, cause), heard, "{sender:?} {cause:?}");
        }
    }
}
