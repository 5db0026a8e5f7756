//! Flags and variables.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use clap::Parser;
use ipnet::IpNet;
use ws_api::gateway::{CANARY_PORT, PROXY_PORT};

/// The only way out of a workspace.
///
/// Finds the cluster by KUBECONFIG, or by the service account of the pod it runs in.
#[derive(Clone, Debug, Eq, Parser, PartialEq)]
#[command(name = "ws-gateway", version)]
pub struct Args {
    /// Address to listen on; `::` takes IPv4 as well
    #[arg(long, env = "WS_BIND", default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    pub bind: IpAddr,
    /// Port of the proxy, which network policies allow to workspaces
    #[arg(long, env = "WS_PROXY_PORT", default_value_t = PROXY_PORT)]
    pub proxy_port: u16,
    /// Port that no network policy allows to workspaces
    #[arg(long, env = "WS_CANARY_PORT", default_value_t = CANARY_PORT)]
    pub canary_port: u16,
    /// Port of /livez, /readyz and /metrics
    #[arg(long, env = "WS_ADMIN_PORT", default_value_t = 9090)]
    pub admin_port: u16,
    /// Namespace of ws, where the gateway's authority and the credentials of rules are
    #[arg(long, env = "WS_NAMESPACE", default_value = "ws-system")]
    pub namespace: String,
    /// PEM file with the authorities of hosts outside that are trusted beside the public ones, as a company's own
    #[arg(long, env = "WS_TRUSTED_CAS")]
    pub trusted_cas: Option<PathBuf>,
    /// Networks that no name of a rule may lead to, beside those that are nobody's on the internet: the cluster's own, if its
    /// addresses look like public ones
    #[arg(long, env = "WS_FORBIDDEN_NETWORKS", value_delimiter = ',')]
    pub forbidden_networks: Vec<IpNet>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_flags_the_contract_is_served() {
        assert_eq!(
            Args::parse_from(["ws-gateway"]),
            Args {
                bind: "::".parse().unwrap(),
                proxy_port: 3128,
                canary_port: 3129,
                admin_port: 9090,
                namespace: "ws-system".into(),
                trusted_cas: None,
                forbidden_networks: Vec::new(),
            }
        );
    }
}
