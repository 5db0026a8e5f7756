//! The index of running workspaces by their pods' addresses. Pure: the watch feeds it, connections ask it.
//!
//! ```text
//! pods ──▶ Observed ──▶ Sessions: address ─▶ Session { identity, what this process counted for it }
//! ```

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

mod observed;

pub use observed::{Identity, Observed};

use crate::session::Session;

/// Sessions by pod and by address.
#[derive(Debug, Default)]
pub struct Sessions {
    by_pod: HashMap<String, Entry>,
    by_address: HashMap<IpAddr, Vec<Arc<Session>>>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    addresses: Vec<IpAddr>,
}

impl Sessions {
    /// The session of the pod with this address; of several, which a cluster shows while it hands an address on, the
    /// youngest pod's.
    pub fn at(&self, address: IpAddr) -> Option<&Arc<Session>> {
        let sessions = self.by_address.get(&address.to_canonical())?;
        sessions.iter().max_by_key(|session| session.identity().age_order())
    }

    /// Whether the session's pod is still running.
    pub fn contains(&self, identity: &Identity) -> bool {
        self.by_pod.contains_key(&identity.pod_uid)
    }

    pub fn len(&self) -> usize {
        self.by_pod.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_pod.is_empty()
    }

    /// Adds a pod, or moves it to other addresses. A pod that is known keeps its session and what was counted for it. What is to be
    /// written of one that ends has little time.
    pub fn insert(&mut self, observed: Observed) {
        let Observed { identity, addresses, is_ending } = observed;
        let pod_uid = identity.pod_uid.clone();
        let session = match self.take(&pod_uid) {
            Some(entry) => entry.session,
            None => Arc::new(Session::new(identity)),
        };
        if is_ending {
            session.end();
        }
        for address in &addresses {
            self.by_address.entry(*address).or_default().push(session.clone());
        }
        self.by_pod.insert(pod_uid, Entry { session, addresses });
    }

    pub fn remove(&mut self, pod_uid: &str) {
        if let Some(entry) = self.take(pod_uid) {
            entry.session.end();
        }
    }

    /// Makes these all the pods there are.
    pub fn replace(&mut self, all: Vec<Observed>) {
        let kept: HashSet<&str> = all.iter().map(|observed| observed.identity.pod_uid.as_str()).collect();
        let gone: Vec<String> =
            self.by_pod.keys().filter(|uid| !kept.contains(uid.as_str())).cloned().collect();
        for pod_uid in gone {
            self.remove(&pod_uid);
        }
        for observed in all {
            self.insert(observed);
        }
    }

    fn take(&mut self, pod_uid: &str) -> Option<Entry> {
        let entry = self.by_pod.remove(pod_uid)?;
        for address in &entry.addresses {
            if let Some(sessions) = self.by_address.get_mut(address) {
                sessions.retain(|session| session.identity().pod_uid != pod_uid);
                if sessions.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
