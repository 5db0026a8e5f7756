//! The rules against real packets. Each test first shows that the traffic passes where it should, so that silence
//! cannot be mistaken for enforcement.

#[cfg(test)]
#[path = "packets/node.rs"]
mod node;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use serde_json::json;
use ws_lab_enforcer::Unknown;

use node::{
    Address, NODE, OUTSIDE, Outcome, PORT, SERVICE, SERVICE_OF_NODE, Site, datagram, echo, eventually, pod,
    policy,
};

use Outcome::{Open, Refused, Silent};

const PORT_OF_IPV6: u16 = PORT + 1;

const TARGETS: [(&str, Address); 5] = [
    ("pod", pod(3)),
    ("Service", SERVICE),
    ("node", NODE),
    ("Service of the node", SERVICE_OF_NODE),
    ("outside", OUTSIDE),
];

/// What pod 2 gets from a pod, its Service, the node, its Service and a host outside.
#[track_caller]
fn assert_reach(site: &Site, expected: [Outcome; 5], when: &str) {
    for ((name, target), expected) in TARGETS.into_iter().zip(expected) {
        let client = site.pod(2);
        assert_eq!(client.tcp(target), expected, "TCP to the {name}, {when}");
        assert_eq!(client.udp(target), expected, "UDP to the {name}, {when}");
    }
}

#[test]
#[ignore = "needs root and nft"]
fn policies_decide_and_what_they_deny_is_refused_at_once() {
    let site = Site::new();
    let all = [2, 3, 4];
    site.enforce(&all, &[]);
    assert_reach(&site, [Open; 5], "no policy");
    site.enforce(&all, &[policy(2, "Egress", &json!([]))]);
    assert_reach(&site, [Refused; 5], "no egress");
    site.enforce(
        &all,
        &[policy(
            2,
            "Egress",
            &json!([{"to": [{"podSelector": {}}], "ports": [
        {"port": PORT}, {"port": PORT, "protocol": "UDP"}]}]),
        )],
    );
    assert_reach(&site, [Open, Open, Refused, Refused, Refused], "egress to pods");
    site.enforce(&all, &[policy(2, "Egress", &json!([{"to": [{"ipBlock": {"cidr": "10.88.0.2/32"}}]}]))]);
    assert_reach(&site, [Refused, Refused, Refused, Refused, Open], "egress to the outside");
    site.enforce(&all, &[policy(3, "Ingress", &json!([]))]);
    assert_reach(&site, [Refused, Refused, Open, Open, Open], "no ingress");
    assert_eq!(site.node.tcp(pod(3)), Open, "the node itself is never denied");
    assert_eq!(site.outside.tcp(pod(3)), Refused);
    assert_eq!(site.outside.tcp(pod(4)), Open);
    let from_four = json!([{"from": [{"podSelector": {"matchLabels": {"pod": "4"}}}]}]);
    site.enforce(&all, &[policy(3, "Ingress", &from_four)]);
    assert_reach(&site, [Refused, Refused, Open, Open, Open], "ingress from another");
    assert_eq!(site.pod(4).tcp(SERVICE), Open);
}

#[test]
#[ignore = "needs root and nft"]
fn refusals_do_not_run_out() {
    let site = Site::new();
    site.enforce(&[2, 3], &[policy(2, "Egress", &json!([]))]);
    for (name, target) in TARGETS {
        for attempt in 0..30 {
            assert_eq!(site.pod(2).tcp(target), Refused, "{name}, attempt {attempt}");
            assert_eq!(site.pod(2).udp(target), Refused, "{name}, attempt {attempt}");
        }
    }
}

#[test]
#[ignore = "needs root and nft"]
fn a_pod_is_mute_and_unreachable_until_it_is_known() {
    let site = Site::new();
    // Its questions for hardware addresses would go unanswered too, and that would be no answer of the rules'.
    site.pod(2).knows(NODE.0, &site.node.mac("cni0"));
    site.pod(2).knows(pod(3).0, &site.pod(3).mac("eth0"));
    site.enforce(&[3, 4], &[]);
    assert_reach(&site, [Silent; 5], "unknown client");
    assert_eq!(site.pod(4).tcp(pod(2)), Silent);
    assert_eq!(site.outside.tcp(pod(2)), Silent);
    site.enforce_with(&[3, 4], &[policy(2, "Egress", &json!([]))], Unknown::Pass);
    assert_reach(&site, [Open; 5], "slow mode");
    site.enforce(&[2, 3, 4], &[]);
    assert_reach(&site, [Open; 5], "known");
}

#[test]
#[ignore = "needs root and nft"]
fn a_new_policy_cuts_what_is_open() {
    let deny = |host, direction| [policy(host, direction, &json!([]))];
    for (policies, cut) in
        [(deny(2, "Egress"), [true; 5]), (deny(3, "Ingress"), [true, true, false, false, false])]
    {
        let site = Site::new();
        site.enforce(&[2, 3, 4], &[]);
        let streams = TARGETS.map(|(_, target)| site.pod(2).stream(target).unwrap());
        let sockets = TARGETS.map(|(_, target)| site.pod(2).udp_socket(None, target));
        for (stream, socket) in streams.iter().zip(&sockets) {
            assert_eq!((echo(stream), datagram(socket)), (Open, Open));
        }
        site.enforce(&[2, 3, 4], &policies);
        for (index, (name, _)) in TARGETS.into_iter().enumerate() {
            let after = (echo(&streams[index]), datagram(&sockets[index]));
            if cut[index] {
                assert!(after.0 != Open && after.1 != Open, "{name}: {after:?}");
            } else {
                assert_eq!(after, (Open, Open), "{name}");
            }
        }
    }
}

#[test]
#[ignore = "needs root and nft"]
fn nobody_sends_in_the_name_of_another() {
    let site = Site::new();
    let stolen = pod(4).0;
    site.pod(4).ip("link set eth0 down");
    site.pod(2).ip("addr add 10.90.0.4/32 dev eth0");
    let as_another = || datagram(&site.pod(2).udp_socket(Some(stolen), pod(3)));
    assert_eq!(eventually(as_another), Open, "no rules");
    site.enforce(&[2, 3, 4], &[]);
    assert_eq!(as_another(), Silent, "a known pod's address");
    site.enforce(&[2, 3], &[]);
    assert_eq!(as_another(), Silent, "nobody's address");
    assert_eq!(site.pod(2).udp(pod(3)), Open);
    site.pod(2).ip("link set eth0 address 0a:00:00:00:00:99");
    assert_eq!(site.pod(2).tcp(pod(3)), Silent, "another hardware address");
}

#[test]
#[ignore = "needs root and nft"]
fn ipv6_does_not_pass() {
    let site = Site::new();
    let link_local = |host: u8| format!("fe80::{host}");
    for host in [2, 3] {
        let pod = site.pod(host);
        pod.ip(&format!("addr add {}/64 dev eth0 nodad", link_local(host)));
    }
    site.pod(3).serve_datagrams((Ipv6Addr::UNSPECIFIED, PORT_OF_IPV6).into());
    let six = || SocketAddrV6::new(link_local(3).parse().unwrap(), PORT_OF_IPV6, 0, site.pod(2).interface());
    assert_eq!(
        eventually(|| site.pod(2).anyone(link_local(2).parse().unwrap(), six())),
        Open,
        "IPv6, no rules"
    );
    site.enforce(&[2, 3, 4], &[]);
    assert_eq!(site.pod(2).anyone(link_local(2).parse().unwrap(), six()), Silent, "IPv6");
    assert_eq!(site.pod(2).udp(pod(3)), Open);
}

#[test]
#[ignore = "needs root and nft"]
fn no_policy_is_passed_by_addressing_a_group() {
    let site = Site::new();
    let broadcast = SocketAddr::from(([255, 255, 255, 255], PORT));
    let group = SocketAddr::from(([224, 0, 0, 1], PORT));
    let from = |target| site.pod(2).anyone(pod(2).0.into(), target);
    assert_eq!((from(broadcast), from(group)), (Open, Open), "no rules");
    site.enforce(&[2, 3, 4], &[policy(3, "Ingress", &json!([]))]);
    assert_eq!((from(broadcast), from(group)), (Silent, Silent));
    assert_eq!(site.pod(2).udp(pod(4)), Open);
}

#[test]
#[ignore = "needs root and nft"]
fn a_frame_that_goes_around_the_bridge_does_not_reach_the_node() {
    let site = Site::new();
    let lldp = "01:80:c2:00:00:0e";
    let attempt = || {
        site.pod(2).knows(NODE.0, lldp);
        let outcome = site.pod(2).udp(NODE);
        site.pod(2).ip("neigh del 10.90.0.1 dev eth0");
        outcome
    };
    assert_eq!(attempt(), Open, "no rules");
    site.enforce(&[2, 3], &[]);
    assert_eq!(attempt(), Silent);
    assert_eq!(site.pod(2).udp(NODE), Open);
}
