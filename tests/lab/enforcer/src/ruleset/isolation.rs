//! The part of the `inet` table that comes from policies: for each direction a map from pods to chains, and one
//! chain for each combination of policies that some pod has.

use std::fmt::Write as _;

use crate::policy::{Allowed, Direction, Isolation, Port, PortNumber, Protocol};

use super::{CLIENT, SERVER, SERVER_PORT, elements, list};

/// nft refuses longer ones.
const COMMENT_LIMIT: usize = 127;

/// The map that leads an isolated pod to its chain.
pub(super) fn map(direction: Direction, isolations: &[Isolation]) -> String {
    let name = name(direction);
    let verdicts = isolations.iter().enumerate().flat_map(|(number, isolation)| {
        isolation.pods.iter().map(move |pod| format!("{pod} : jump {name}_{number}"))
    });
    format!("\tmap {name}_isolation {{ type ipv4_addr : verdict; {} }}\n", elements(verdicts))
}

/// The chains, which return for what the policies let through and refuse the rest.
pub(super) fn chains(direction: Direction, isolations: &[Isolation]) -> String {
    let mut text = String::new();
    for (number, isolation) in isolations.iter().enumerate() {
        let rules: String = isolation.allowed.iter().filter_map(|allowed| rule(direction, allowed)).collect();
        let name = name(direction);
        // An ICMP error is about a connection, but has not its protocol.
        let errors = "\t\tmeta l4proto icmp ct state related return\n";
        // Writing to a string cannot fail.
        let _ = write!(text, "\tchain {name}_{number} {{\n{errors}{rules}\t\tgoto refuse\n\t}}\n");
    }
    text
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// `None` if it lets nobody through.
fn rule(direction: Direction, allowed: &Allowed) -> Option<String> {
    let peer = match direction {
        Direction::Ingress => CLIENT,
        Direction::Egress => SERVER,
    };
    let peers = match &allowed.peers {
        None => String::new(),
        Some(peers) => format!("{peer} {} ", list(peers)?),
    };
    let port = match &allowed.port {
        None => String::new(),
        Some(port) => format!("{} ", server_port(port)?),
    };
    let comment: String = allowed.policy.chars().take(COMMENT_LIMIT).collect();
    Some(format!("\t\t{peers}{port}return comment \"{comment}\"\n"))
}

/// The protocol comes first: nft 1.0.6 takes a port of conntrack's only after it.
fn server_port(Port { protocol, number }: &Port) -> Option<String> {
    let protocol = match protocol {
        Protocol::Tcp => "meta l4proto tcp",
        Protocol::Udp => "meta l4proto udp",
        Protocol::Sctp => "meta l4proto sctp",
    };
    Some(match number {
        PortNumber::Any => protocol.to_owned(),
        PortNumber::Between(first, last) if first == last => format!("{protocol} {SERVER_PORT} {first}"),
        PortNumber::Between(first, last) => format!("{protocol} {SERVER_PORT} {first}-{last}"),
        PortNumber::Of(servers) => {
            let servers = list(servers.iter().map(|(server, port)| format!("{server} . {port}")))?;
            format!("{protocol} {SERVER} . {SERVER_PORT} {servers}")
        }
    })
}
