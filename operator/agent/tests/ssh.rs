//! The server, in this process, against the stock OpenSSH client and against russh with our settings.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test needs and does not get fails it")]

mod ssh {
    pub mod fixture;

    mod carrier;
    mod forwards;
    mod login;
    mod programs;
    mod stalls;
    mod terminals;
    mod transfers;
}
