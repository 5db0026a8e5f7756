//! Which addresses a host name may lead to. A name that is allowed is no permission for the network that its owner points it
//! at: loopback, the company, the cluster, the cloud's metadata. The chart's network policy of the gateway repeats most of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 networks that are not the internet's ([IANA's special-purpose registry]), multicast, and what is reserved; then addresses
/// at which clouds answer their machines and that look like anybody's.
///
/// [IANA's special-purpose registry]: https://www.iana.org/assignments/iana-ipv4-special-registry
pub const SPECIAL_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// Where global unicast addresses are (RFC 4291, section 2.4; [IANA]): everything else is not the internet's, nor are IPv4
/// addresses inside of IPv6 ones (mapped, translated by RFC 6052).
///
/// [IANA]: https://www.iana.org/assignments/ipv6-address-space
pub const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// What in it is not: protocol assignments with Teredo, documentation, AS 112, 6to4.
pub const SPECIAL_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Where no service of a cluster is, whoever wrote its endpoints: the machine itself, what answers machines alone (RFC 3927, as clouds'
/// metadata do), and nobody.
const OF_NODES: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(192, 0, 0, 192), 32),
];
/// The same, and IPv4 addresses inside of IPv6 ones.
const OF_NODES_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::UNSPECIFIED, 64),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// The addresses that a name may not have.
#[derive(Clone, Debug)]
pub struct Special {
    /// Whether all that are not the internet's are.
    only_internet: bool,
    own: Vec<IpNet>,
}

impl Default for Special {
    fn default() -> Self {
        Self::with(Vec::new())
    }
}

impl Special {
    /// Those that nothing outside may have: all that are not the internet's, the cluster's own networks and whatever else an admin names.
    pub fn with(own: Vec<IpNet>) -> Self {
        Self { only_internet: true, own }
    }

    /// Those that no service of a cluster may have.
    pub fn of_nodes() -> Self {
        let v4 = OF_NODES.iter().map(|(network, length)| Ipv4Net::new_assert(*network, *length).into());
        let v6 = OF_NODES_V6.iter().map(|(network, length)| Ipv6Net::new_assert(*network, *length).into());
        Self::only(v4.chain(v6).collect())
    }

    /// None but these.
    pub fn only(own: Vec<IpNet>) -> Self {
        Self { only_internet: false, own }
    }

    /// Whether an address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let is_special = match address {
            IpAddr::V4(address) => is_special_v4(address),
            IpAddr::V6(address) => is_special_v6(address),
        };
        is_special && self.only_internet || self.own.iter().any(|network| network.contains(&address))
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let contains =
        |(network, length): &(Ipv4Addr, u8)| Ipv4Net::new_assert(*network, *length).contains(&address);
    SPECIAL_V4.iter().any(contains)
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let contains =
        |(network, length): &(Ipv6Addr, u8)| Ipv6Net::new_assert(*network, *length).contains(&address);
    !contains(&GLOBAL_V6) || SPECIAL_V6.iter().any(contains)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_special(address: &str) -> bool {
        Special::with(vec!["20.0.200.0/24".parse().unwrap()]).contains(address.parse().unwrap())
    }

    #[test]
    fn b14_a_service_is_not_at_its_node() {
        let special = Special::of_nodes();
        for address in [
            "127.0.0.1",
            "127.255.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.251",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
        ] {
            assert!(special.contains(address.parse().unwrap()), "{address}");
        }
        for address in
            ["10.244.0.7", "10.96.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "20.0.0.1", "fd00:10::7"]
        {
            assert!(!special.contains(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_not_the_internets_is_special() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.96.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.20.10",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "20.0.200.7",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:20.0.113.66",
            "64:ff9b::a00:1",
            "64:ff9b::1400:7142",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_special(address), "{address}");
        }
    }

    #[test]
    fn the_internets_addresses_are_not() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "20.0.113.66",
            "44.0.113.1",
            "100.63.255.255",
            "100.128.0.0",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2600:db8:1::1",
            "2001:200::1",
            "2a00:1450::1",
            "2606:4700::1",
        ] {
            assert!(!is_special(address), "{address}");
        }
    }
}
