//! What CNI gave a pod: an address, and the port of the bridge and the hardware address that it belongs to.
//!
//! The source is the result cache of libcni, one JSON file for each attachment, written when all plugins have
//! succeeded and so before the pod's first instruction. It names the pod by UID, which the API server's pod
//! status says only after the containers run.

use std::{
    fmt::{self, Display},
    net::Ipv4Addr,
    num::ParseIntError,
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;

/// An attachment of a pod to the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// UID of the pod, as the API server knows it.
    pub pod_uid: String,
    pub address: Ipv4Addr,
    /// Name of the node's end of the pod's virtual Ethernet.
    pub port: PortName,
    /// Hardware address of the pod's end.
    pub mac: Mac,
}

/// Name of a network interface: 1 to 15 letters, digits, `.`, `_` or `-`.
///
/// The kernel takes more characters than these; the CNI plugins never make such a name, and nft would have to
/// quote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortName(String);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac([u8; 6]);

/// Why a result of CNI could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a CNI result")]
    Json(#[from] serde_json::Error),
    #[error("`{0}` is no name of an interface")]
    PortName(String),
    #[error("`{0}` is no hardware address")]
    Mac(String),
}

impl FromStr for PortName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..16).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::PortName(text.to_owned()))
        }
    }
}

impl Display for PortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes: Result<Vec<u8>, ParseIntError> =
            text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| Error::Mac(text.to_owned()))
    }
}

impl Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02x}"));
        formatter.write_str(&bytes.join(":"))
    }
}

/// The part of libcni's cache file that matters here.
#[derive(Deserialize)]
struct Cached {
    #[serde(rename = "cniArgs", default)]
    arguments: Vec<(String, String)>,
    result: CniResult,
}

/// CNI specification 1.0, "ADD Success".
#[derive(Deserialize)]
struct CniResult {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    ips: Vec<Address>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    mac: String,
    /// Empty for an interface of the node.
    #[serde(default)]
    sandbox: String,
}

#[derive(Deserialize)]
struct Address {
    address: IpNet,
}

impl Link {
    /// Reads one file of libcni's cache; `None` for one that is not about a pod on `bridge` with an address of
    /// `network`: the loopback plugin has such results too.
    ///
    /// # Errors
    /// When the file is not a CNI result, or names what no kernel interface can have.
    pub fn from_cache(file: &[u8], bridge: &str, network: Ipv4Net) -> Result<Option<Self>, Error> {
        let Cached { arguments, result } = serde_json::from_slice(file)?;
        let pod_uid = arguments.into_iter().find(|(key, _)| key == "K8S_POD_UID").map(|(_, uid)| uid);
        let address = result.ips.iter().find_map(|ip| match ip.address {
            IpNet::V4(ip) if network.contains(&ip.addr()) => Some(ip.addr()),
            IpNet::V4(_) | IpNet::V6(_) => None,
        });
        let port = result.interfaces.iter().find(|it| it.sandbox.is_empty() && it.name != bridge);
        let inside = result.interfaces.iter().find(|it| !it.sandbox.is_empty());
        let (Some(pod_uid), Some(address), Some(port), Some(inside)) = (pod_uid, address, port, inside)
        else {
            return Ok(None);
        };
        Ok(Some(Self { pod_uid, address, port: port.name.parse()?, mac: inside.mac.parse()? }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cached() -> Value {
        json!({
            "kind": "cniCacheV1", "containerId": "c1", "ifName": "eth0", "networkName": "lab", "config": "e30=",
            "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAME", "web"], ["K8S_POD_UID", "uid-1"]],
            "result": {
                "cniVersion": "1.0.0", "dns": {},
                "interfaces": [
                    {"name": "cni0", "mac": "0a:00:00:00:00:01"},
                    {"name": "veth1a2b3c4d", "mac": "0a:00:00:00:00:02"},
                    {"name": "eth0", "mac": "0A:00:00:00:00:03", "sandbox": "/var/run/netns/cni-1"},
                ],
                "ips": [{"address": "10.90.0.5/24", "gateway": "10.90.0.1", "interface": 2}],
            },
        })
    }

    fn read(file: &Value) -> Result<Option<Link>, Error> {
        Link::from_cache(file.to_string().as_bytes(), "cni0", "10.90.0.0/16".parse().unwrap())
    }

    #[test]
    fn a_result_binds_the_pods_address_to_its_port_and_hardware_address() {
        let link = Link {
            pod_uid: "uid-1".to_owned(),
            address: Ipv4Addr::new(10, 90, 0, 5),
            port: "veth1a2b3c4d".parse().unwrap(),
            mac: "0a:00:00:00:00:03".parse().unwrap(),
        };
        assert_eq!(read(&cached()).unwrap(), Some(link));
    }

    #[test]
    fn results_that_are_about_no_pod_of_the_network_are_passed_over() {
        for (pointer, value) in [
            ("/result/ips/0/address", json!("127.0.0.1/8")),
            ("/result/ips/0/address", json!("fd00::5/64")),
            ("/result/ips", json!([])),
            ("/result/interfaces", json!([{"name": "lo", "sandbox": "/var/run/netns/cni-1"}])),
            ("/cniArgs", json!([])),
        ] {
            let mut file = cached();
            *file.pointer_mut(pointer).unwrap() = value;
            assert_eq!(read(&file).unwrap(), None, "{pointer}");
        }
    }

    #[test]
    fn names_that_would_need_quoting_are_errors() {
        for (pointer, value) in [
            ("/result/interfaces/1/name", r#"veth" accept"#),
            ("/result/interfaces/1/name", "a-name-too-long-for-a-kernel"),
            ("/result/interfaces/2/mac", "0a:00:00:00:00"),
            ("/result/interfaces/2/mac", "0a:00:00:00:00:03 }"),
        ] {
            let mut file = cached();
            *file.pointer_mut(pointer).unwrap() = json!(value);
            assert!(read(&file).is_err(), "{value}");
        }
        assert!(Link::from_cache(b"{", "cni0", "10.90.0.0/16".parse().unwrap()).is_err());
    }
}
