//! Names to addresses that may be dialled.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use futures::future::BoxFuture;
use hickory_resolver::{
    TokioResolver, config::LookupIpStrategy, net::runtime::TokioRuntimeProvider, proto::rr, system_conf,
};
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;
use ws_policy::addresses::Special;

const TIMEOUT: Duration = Duration::from_secs(3);
/// Names whose addresses are remembered, as long as their records say, at most [`MAX_TTL`].
const CACHED: u64 = 1_024;
const MAX_TTL: Duration = Duration::from_mins(1);
/// Addresses of one name that are tried.
const TRIED: usize = 8;
/// Where a cluster has its names unless it is told otherwise.
const CLUSTER: &str = "cluster.local";

/// Finds the addresses of a name.
pub trait Lookup: Send + Sync {
    fn addresses(&self, name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>>;
}

/// Resolves names. Clones share a cache.
#[derive(Clone)]
pub struct Resolve {
    lookup: Arc<dyn Lookup>,
    /// Addresses that no name may have.
    special: Arc<Special>,
    /// The cluster's domain.
    cluster: Arc<str>,
    /// Whether names are the world's, and not those of the cluster's services.
    is_outside: bool,
}

/// A name that leads to the cluster, the company or the machine itself, and nowhere else.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name has only addresses that are not the internet's")]
pub struct OnlySpecialAddresses;

impl Resolve {
    /// Asks `lookup`, and takes no address of a host outside that is special.
    pub fn new(lookup: impl Lookup + 'static, special: Special) -> Self {
        let cluster = CLUSTER.into();
        Self { lookup: Arc::new(lookup), special: Arc::new(special), cluster, is_outside: true }
    }

    /// Asks the servers that `/etc/resolv.conf` names.
    pub fn from_system(special: Special) -> anyhow::Result<Self> {
        let (config, mut options) = system_conf::read_system_conf()?;
        let cluster = cluster(config.search());
        options.timeout = TIMEOUT;
        options.attempts = 2;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = CACHED;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(Duration::ZERO);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Ok(Self::new(resolver.with_options(options).build()?, special).in_cluster(cluster.as_deref()))
    }

    /// The same where the cluster has this domain, if it is known.
    fn in_cluster(self, domain: Option<&str>) -> Self {
        Self { cluster: domain.map_or(self.cluster, Into::into), ..self }
    }

    /// The same for names of services, whose addresses are the cluster's: none but these are special.
    #[must_use]
    pub fn of_services(&self, special: Special) -> Self {
        Self { special: Arc::new(special), is_outside: false, ..self.clone() }
    }

    async fn addresses(self, name: Name) -> io::Result<vec::IntoIter<SocketAddr>> {
        let Self { lookup, special, cluster, is_outside } = self;
        // The root's dot keeps the resolver's search list away: in a domain of the node's, anybody may answer for a service.
        let name = if is_outside { format!("{name}.") } else { format!("{name}.{cluster}.") };
        let found = lookup.addresses(name).await?;
        let addresses: Vec<_> = found
            .iter()
            .filter(|address| !special.contains(**address))
            .take(TRIED)
            .map(|address| SocketAddr::new(*address, 0))
            .collect();
        if addresses.is_empty() && !found.is_empty() {
            return Err(io::Error::other(OnlySpecialAddresses));
        }
        Ok(addresses.into_iter())
    }
}

/// The cluster's domain, which the kubelet writes into the search list before the node's own: `NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`.
fn cluster(search: &[rr::Name]) -> Option<String> {
    search.iter().find_map(|name| {
        let name = name.to_ascii().to_lowercase();
        let (first, rest) = name.trim_end_matches('.').split_once('.')?;
        // A namespace may be called `svc` too.
        let domain = rest.strip_prefix("svc.").or_else(|| (first == "svc").then_some(rest))?;
        (!domain.is_empty()).then(|| domain.to_owned())
    })
}

impl Lookup for TokioResolver {
    fn addresses(&self, name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = self.lookup_ip(name).await.map_err(io::Error::other)?;
            Ok(found.iter().collect())
        })
    }
}

impl Service<Name> for Resolve {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().addresses(name))
    }
}

#[cfg(test)]
mod tests;
