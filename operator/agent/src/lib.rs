//! The agent: the first process of a workspace's pod, and the only part of ws in it.
//!
//! ```text
//! ws-agent            takes the host key out of the environment        hand_over
//!    └─▶ ws-agent serve
//!         confines itself and what it starts                           confine, filter
//!         proves that the pod is isolated, and says so                 proof, prober, gateway
//!         makes the way out known to what it starts, and carries       way_out, trust, key_store, names, carry, relay,
//!           what that sends to the gateway                             accept
//!         serves SSH on the pod's loopback                             server, session, transfer
//!         waits for children, its own and orphans                      reaper
//!         ends on a breach, when unused, when asked                    workspace, idle, terminate
//! ws-agent stdio      carries a connection through `kubectl exec`      stdio
//! ```
//!
//! Until a user's code runs, what the agent says is true; afterwards nothing outside the pod may trust it. It is a library
//! so that tests can run the server in their own process.

pub mod accept;
pub mod activity;
pub mod carry;
pub mod confine;
pub mod filter;
pub mod gateway;
pub mod hand_over;
pub mod idle;
pub mod key_store;
pub mod lock;
pub mod names;
pub mod prober;
pub mod proof;
pub mod reaper;
pub mod relay;
pub mod server;
pub mod session;
pub mod stdio;
pub mod terminate;
pub mod transfer;
pub mod trust;
pub mod way_out;
pub mod workspace;
