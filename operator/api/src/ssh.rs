//! What the command and the agent agree on about SSH, beside the protocol itself (RFC 4251–4254).

/// Port on the pod's loopback on which the agent serves SSH.
pub const PORT: u16 = 2222;
/// The one user of a workspace.
pub const USER: &str = "ws";
/// Subsystem (RFC 4254 §6.5) that receives the project, once per workspace.
pub const RECEIVE_SUBSYSTEM: &str = "receive@ws.dev";
/// Subsystem that sends what changed since the project was received.
pub const CHANGES_SUBSYSTEM: &str = "changes@ws.dev";
/// Variables that a session may set; all others are refused. `LC_*` stands for every name with that prefix.
pub const ENVIRONMENT: [&str; 4] = ["LANG", "LC_*", "TERM", "COLORTERM"];

/// Whether a session may set this variable.
pub fn may_set(variable: &str) -> bool {
    ENVIRONMENT.iter().any(|allowed| match allowed.strip_suffix('*') {
        Some(prefix) => variable.starts_with(prefix),
        None => variable == *allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_language_and_terminal_variables_may_be_set() {
        for name in ["LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLORTERM"] {
            assert!(may_set(name), "{name}");
        }
        for name in ["PATH", "LD_PRELOAD", "LANGUAGE", "TERMCAP", "lc_all", "BASH_ENV", ""] {
            assert!(!may_set(name), "{name}");
        }
    }
}
