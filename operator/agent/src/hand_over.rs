//! Takes the host key out of the environment for good.
//!
//! Unsetting a variable leaves its text where the kernel put it, readable in `/proc/1/environ`. So the agent replaces
//! itself, with the key in a pipe on standard input: the pipe is empty when the key is read, and the new process never had
//! the variable.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    process::Command,
};

use russh::keys::{PrivateKey, ssh_key};
use ws_api::agent::HOST_KEY;

/// Argument of the process that finds the key on standard input.
pub const SERVE: &str = "serve";

/// More than any Ed25519 key takes, and less than a pipe holds without a reader.
const MAX_KEY: u64 = 4_096;

#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    #[error("{HOST_KEY} is not set")]
    Missing,
    #[error("{HOST_KEY} is no host key: {0} bytes")]
    Length(usize),
    #[error("{HOST_KEY} is no host key")]
    Key(#[from] ssh_key::Error),
    #[error("handing the host key over")]
    Io(#[from] io::Error),
}

/// Replaces this process with one that reads the host key by [`receive`]. Returns only if it cannot.
pub fn replace() -> HandOverError {
    prepare().map_or_else(|error| error, |mut command| HandOverError::Io(command.exec()))
}

fn prepare() -> Result<Command, HandOverError> {
    let key = env::var_os(HOST_KEY).ok_or(HandOverError::Missing)?;
    if key.len() as u64 > MAX_KEY {
        return Err(HandOverError::Length(key.len()));
    }
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(key.as_bytes())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ws-agent").arg(SERVE).env_remove(HOST_KEY).stdin(reader);
    Ok(command)
}

/// Reads the key that [`replace`] left on standard input, and closes it.
pub fn receive() -> Result<PrivateKey, HandOverError> {
    let mut text = Vec::new();
    io::stdin().lock().take(MAX_KEY).read_to_end(&mut text)?;
    let nothing = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing).map_err(io::Error::from)?;
    let key = PrivateKey::from_openssh(&text)?;
    text.fill(0);
    Ok(key)
}
