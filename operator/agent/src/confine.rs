//! What the agent takes from itself, and so from everything it starts, before it does anything else.

use std::{fs, io};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::filter::{self, FilterError};

/// Processes and threads that a workspace may have, where that limit is the workspace's own.
const MAX_PROCESSES: u64 = 8_192;

/// A user namespace that maps all of the machine's users is the machine's own.
const ALL_USERS: u64 = 0xFFFF_FFFF;

#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    #[error("hiding the agent from the workspace's processes")]
    Hide(#[source] io::Error),
    #[error("limiting what the workspace's processes may use")]
    Limit(#[source] io::Error),
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Confines this process. It must still have one thread.
pub fn confine() -> Result<(), ConfineError> {
    // The workspace's processes have the agent's user id; without this they could read its memory, and in it the host key.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| ConfineError::Hide(error.into()))?;
    limit(Resource::Core, 0)?;
    // The kernel counts processes per user and user namespace. On the machine's own, other pods of the same user id count.
    if fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_own_namespace(&map)) {
        limit(Resource::Nproc, MAX_PROCESSES)?;
    }
    Ok(filter::install()?)
}

fn limit(resource: Resource, most: u64) -> Result<(), ConfineError> {
    let most = Some(rustix::process::getrlimit(resource).maximum.map_or(most, |before| before.min(most)));
    setrlimit(resource, Rlimit { current: most, maximum: most })
        .map_err(|error| ConfineError::Limit(error.into()))
}

/// Reads `/proc/PID/uid_map`, described in `user_namespaces(7)`.
fn is_own_namespace(uid_map: &str) -> bool {
    let mapped = |line: &str| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok();
    !uid_map.lines().any(|line| mapped(line).is_none_or(|count| count >= ALL_USERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_user_namespace_is_recognized() {
        let cases = [
            ("         0          0 4294967295\n", false),
            ("         0    3276800      65536\n", true),
            ("0 1000 1\n1 100000 65535\n", true),
            ("unreadable", false),
        ];
        for (map, own) in cases {
            assert_eq!(is_own_namespace(map), own, "{map}");
        }
    }
}
