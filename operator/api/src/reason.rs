//! Why something was denied or did not come to its end: one name everywhere it is said.

use std::str::FromStr;

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($reason:ident = $name:literal,)*) => {
        /// Why a request was denied or did not come to its end, by a name that does not change: in the header of a refusal, in the
        /// audit log, in a Workspace's status and in metrics.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason {
            $($reason,)*
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    UnknownWorkspace = "unknown-workspace",
    NotTheAgent = "not-the-agent",
    Malformed = "malformed",
    Misdirected = "misdirected",
    NotTls = "not-tls",
    NoPolicy = "no-policy",
    IpLiteral = "ip-literal",
    HostNotAllowed = "host-not-allowed",
    RuleNotPicked = "rule-not-picked",
    PortNotAllowed = "port-not-allowed",
    SchemeNotAllowed = "scheme-not-allowed",
    RequestNotAllowed = "request-not-allowed",
    MisplacedPlaceholder = "misplaced-placeholder",
    QueryNotAllowed = "query-not-allowed",
    BodyTooLong = "body-too-long",
    BodyRule = "body-rule",
    EncodedBody = "encoded-body",
    SlowBody = "slow-body",
    Overloaded = "overloaded",
    OverBudget = "over-budget",
    Revoked = "revoked",
    SpecialAddress = "special-address",
    Unreachable = "unreachable",
    NoCredential = "no-credential",
    CredentialReflected = "credential-reflected",
    TooNew = "too-new",
    PackageNotAllowed = "package-not-allowed",
    NotFoundBudget = "not-found-budget",
    WebSocket = "web-socket",
    BrokenOff = "broken-off",
    Idle = "idle",
    Internal = "internal",
}

/// The name is of another version of ws.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name).ok_or(UnknownReason)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
