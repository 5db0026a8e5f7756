//! Which pods count as known: the decision that makes a new pod's policies certain before its traffic passes.
//!
//! A pod becomes known only while all watches are live. When one is broken, whoever is known stays so with the
//! link that it was admitted with, and whoever comes then is mute: a policy for it may exist that nobody has told
//! of. In slow mode a pod also waits for its delay.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::{cluster::LinkedPod, link::Link};

/// A pod may get another address when its sandbox is made anew.
type Attachment = (String, Ipv4Addr);

/// Remembers when each attachment was first seen, and who is known.
#[derive(Debug)]
pub(crate) struct Gate {
    delay: Duration,
    seen: BTreeMap<Attachment, Instant>,
    known: BTreeMap<Attachment, Link>,
}

/// What the gate decided.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) pods: Vec<LinkedPod>,
    /// When the next pod's delay is over, if one is waiting.
    pub(crate) next: Option<Instant>,
}

impl Gate {
    /// A gate that lets a pod become known `delay` after it is first seen.
    pub(crate) fn new(delay: Duration) -> Self {
        Self { delay, seen: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// Decides about all pods of the node; `live` says whether every watch is.
    pub(crate) fn admit(&mut self, pods: &[Arc<Pod>], links: &[Link], live: bool, now: Instant) -> Admitted {
        let pods: BTreeMap<String, &Arc<Pod>> =
            pods.iter().filter_map(|pod| Some((pod.uid()?, pod))).collect();
        let present: Vec<&Link> = links.iter().filter(|link| pods.contains_key(&link.pod_uid)).collect();
        let attachments: BTreeSet<Attachment> = present.iter().map(|link| attachment(link)).collect();
        self.seen.retain(|attachment, _| attachments.contains(attachment));
        self.known.retain(|attachment, _| attachments.contains(attachment));
        let mut next: Option<Instant> = None;
        for link in present {
            let due = *self.seen.entry(attachment(link)).or_insert(now) + self.delay;
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if live {
                self.known.insert(attachment(link), link.clone());
            }
        }
        let linked =
            |link: &Link| Some(LinkedPod { pod: Arc::clone(pods.get(&link.pod_uid)?), link: link.clone() });
        Admitted { pods: self.known.values().filter_map(linked).collect(), next }
    }
}

fn attachment(link: &Link) -> Attachment {
    (link.pod_uid.clone(), link.address)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pods(uids: &[&str]) -> Vec<Arc<Pod>> {
        let pod = |uid| Arc::new(from_value(json!({"metadata": {"uid": uid}})).unwrap());
        uids.iter().map(pod).collect()
    }

    fn link(uid: &str, host: u8, port: &str) -> Link {
        Link {
            pod_uid: uid.to_owned(),
            address: Ipv4Addr::new(10, 90, 0, host),
            port: port.parse().unwrap(),
            mac: "0a:00:00:00:00:01".parse().unwrap(),
        }
    }

    /// Port names of the known pods.
    fn ports(admitted: &Admitted) -> Vec<String> {
        let mut ports: Vec<_> = admitted.pods.iter().map(|known| known.link.port.to_string()).collect();
        ports.sort();
        ports
    }

    #[test]
    fn a_pod_is_known_once_it_has_both_an_object_and_a_link() {
        let mut gate = Gate::new(Duration::ZERO);
        let now = Instant::now();
        let mut admit = |pods: &[Arc<Pod>], links: &[Link]| ports(&gate.admit(pods, links, true, now));
        assert!(admit(&pods(&["a"]), &[]).is_empty());
        assert!(admit(&[], &[link("a", 2, "veth1")]).is_empty());
        assert_eq!(admit(&pods(&["a"]), &[link("a", 2, "veth1"), link("b", 3, "veth2")]), ["veth1"]);
        assert!(admit(&pods(&["a"]), &[]).is_empty(), "the link is gone");
    }

    #[test]
    fn while_a_watch_is_broken_nobody_becomes_known_and_nobody_is_forgotten() {
        let mut gate = Gate::new(Duration::ZERO);
        let now = Instant::now();
        let old = link("a", 2, "veth1");
        gate.admit(&pods(&["a"]), std::slice::from_ref(&old), true, now);
        let both = [old, link("b", 3, "veth2")];
        assert_eq!(ports(&gate.admit(&pods(&["a", "b"]), &both, false, now)), ["veth1"]);
        assert_eq!(ports(&gate.admit(&pods(&["a", "b"]), &both, true, now)), ["veth1", "veth2"]);
    }

    #[test]
    fn while_a_watch_is_broken_a_known_pod_keeps_the_link_it_was_admitted_with() {
        let mut gate = Gate::new(Duration::ZERO);
        let now = Instant::now();
        gate.admit(&pods(&["a"]), &[link("a", 2, "veth1")], true, now);
        let moved = [link("a", 2, "veth9")];
        assert_eq!(ports(&gate.admit(&pods(&["a"]), &moved, false, now)), ["veth1"]);
        assert_eq!(ports(&gate.admit(&pods(&["a"]), &moved, true, now)), ["veth9"]);
    }

    #[test]
    fn in_slow_mode_a_pod_waits_from_the_moment_it_got_its_address() {
        let delay = Duration::from_millis(300);
        let mut gate = Gate::new(delay);
        let start = Instant::now();
        let (pods, links) = (pods(&["a"]), [link("a", 2, "veth1")]);
        let first = gate.admit(&pods, &links, true, start);
        assert_eq!((ports(&first), first.next), (vec![], Some(start + delay)));
        let early = gate.admit(&pods, &links, true, start + Duration::from_millis(299));
        assert_eq!((ports(&early), early.next), (vec![], Some(start + delay)));
        let due = gate.admit(&pods, &links, true, start + delay);
        assert_eq!((ports(&due), due.next), (vec!["veth1".to_owned()], None));
    }
}
