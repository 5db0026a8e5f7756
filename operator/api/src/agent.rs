//! The settings of an agent: the operator writes them into the pod, the agent reads them, both through [`Settings`].
//!
//! They travel as environment variables because any volume costs a pod's start the kubelet's 300 ms poll.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Where the agent is in an image or volume.
pub const PATH: &str = "/ws/ws-agent";
/// Where the agent is in its own image, whose root is mounted at `/ws` as an image volume.
pub const PATH_IN_AGENT_IMAGE: &str = "/ws-agent";
/// Subcommand by which the agent copies itself to the path that follows, where images cannot be mounted.
pub const INSTALL: &str = "install";

/// Key of the host key in its Secret: an OpenSSH private key.
pub const HOST_KEY_SECRET_KEY: &str = "ssh-host-key";

/// Variable with the host's private key, in OpenSSH's format. A secret: the agent takes it out of its environment before it
/// starts anything.
pub const HOST_KEY: &str = "WS_HOST_KEY";
/// Variable with the only principal that may log in: the pod's UID, by the downward API.
pub const PRINCIPAL: &str = "WS_PRINCIPAL";
/// Variable with the address of the pod's node, by the downward API.
pub const NODE_ADDRESS: &str = "WS_NODE_ADDRESS";

/// Every variable that the operator sets in a workspace's container. An image's own may begin with `WS_` too.
pub const VARIABLES: [&str; 9] =
    [HOST_KEY, PRINCIPAL, NODE_ADDRESS, USER_CA, GATEWAY, FORBIDDEN, ISOLATION_DEADLINE, IDLE, HOME];

const USER_CA: &str = "WS_USER_CA";
const GATEWAY: &str = "WS_GATEWAY";
const FORBIDDEN: &str = "WS_FORBIDDEN";
const ISOLATION_DEADLINE: &str = "WS_ISOLATION_DEADLINE";
const IDLE: &str = "WS_IDLE";
const HOME: &str = "WS_HOME";

/// What the operator decides for an agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Public key of the CA that signs users' certificates, as a line of OpenSSH's `authorized_keys` format.
    pub user_ca: String,
    /// Address of the gateway. The agent must reach its proxy port and must not reach its canary port.
    pub gateway: IpAddr,
    /// What else the pod must not reach: the API server, cluster DNS, the metadata address. The node comes by the downward API.
    pub forbidden: Vec<Target>,
    /// How long the cluster may take to enforce the policy. Whole seconds.
    pub isolation_deadline: Duration,
    /// How long nobody may be connected with nothing running. Whole seconds.
    pub idle: Duration,
    /// Home directory of the workspace's user, writable; the project is in `project` beneath it.
    pub home: String,
}

/// An address that a workspace must not reach.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Target {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    Tcp,
    /// A DNS query (RFC 1035 §4) is sent; any answer counts.
    Dns,
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{variable} is set to `{value}`, which is no {expected}")]
    Invalid { variable: &'static str, value: String, expected: &'static str },
}

impl Settings {
    /// The variables and their values, in a fixed order.
    pub fn to_variables(&self) -> [(&'static str, String); 6] {
        let forbidden: Vec<String> = self.forbidden.iter().map(ToString::to_string).collect();
        [
            (USER_CA, self.user_ca.clone()),
            (GATEWAY, self.gateway.to_string()),
            (FORBIDDEN, forbidden.join(",")),
            (ISOLATION_DEADLINE, self.isolation_deadline.as_secs().to_string()),
            (IDLE, self.idle.as_secs().to_string()),
            (HOME, self.home.clone()),
        ]
    }

    /// Reads the settings with `variable`, which returns a variable's value.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let get = |name| variable(name).ok_or(SettingsError::Missing(name));
        let forbidden = get(FORBIDDEN)?;
        let targets = forbidden.split(',').filter(|target| !target.is_empty());
        Ok(Self {
            user_ca: get(USER_CA)?,
            gateway: parse(GATEWAY, &get(GATEWAY)?, "IP address")?,
            forbidden: targets.map(|target| parse(FORBIDDEN, target, "target")).collect::<Result<_, _>>()?,
            isolation_deadline: Duration::from_secs(parse(
                ISOLATION_DEADLINE,
                &get(ISOLATION_DEADLINE)?,
                "number of seconds",
            )?),
            idle: Duration::from_secs(parse(IDLE, &get(IDLE)?, "number of seconds")?),
            home: get(HOME)?,
        })
    }
}

fn parse<T: std::str::FromStr>(
    variable: &'static str,
    value: &str,
    expected: &'static str,
) -> Result<T, SettingsError> {
    value.parse().map_err(|_| SettingsError::Invalid { variable, value: value.to_owned(), expected })
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Dns => "dns",
        };
        write!(f, "{protocol}/{}", self.address)
    }
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("not `tcp/ADDRESS:PORT` or `dns/ADDRESS:PORT`")]
pub struct InvalidTarget;

impl std::str::FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let (protocol, address) = text.split_once('/').ok_or(InvalidTarget)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "dns" => Protocol::Dns,
            _ => return Err(InvalidTarget),
        };
        Ok(Self { protocol, address: address.parse().map_err(|_| InvalidTarget)? })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn settings() -> Settings {
        Settings {
            user_ca: "ssh-ed25519 AAAA".into(),
            gateway: "10.96.0.7".parse().unwrap(),
            forbidden: vec!["tcp/10.96.0.1:443".parse().unwrap(), "dns/[fd00::a]:53".parse().unwrap()],
            isolation_deadline: Duration::from_mins(1),
            idle: Duration::from_mins(30),
            home: "/home/ws".into(),
        }
    }

    #[test]
    fn what_the_operator_writes_the_agent_reads() {
        let variables: HashMap<_, _> = settings().to_variables().into_iter().collect();
        assert_eq!(Settings::from_variables(|name| variables.get(name).cloned()), Ok(settings()));
        assert!(variables.keys().all(|name| VARIABLES.contains(name)));
    }

    #[test]
    fn every_variable_is_required_and_checked() {
        for (broken, _) in settings().to_variables() {
            let without: HashMap<_, _> =
                settings().to_variables().into_iter().filter(|(name, _)| *name != broken).collect();
            assert_eq!(
                Settings::from_variables(|name| without.get(name).cloned()),
                Err(SettingsError::Missing(broken))
            );
        }
        let variables: HashMap<_, _> = settings().to_variables().into_iter().collect();
        let with = |name: &str| {
            if name == FORBIDDEN { Some("icmp/10.0.0.1:1".into()) } else { variables.get(name).cloned() }
        };
        assert!(matches!(
            Settings::from_variables(with),
            Err(SettingsError::Invalid { variable: FORBIDDEN, .. })
        ));
    }
}
