//! Why a workspace is as it is: one vocabulary for conditions, events and metrics, and what follows from each reason.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// What a reason means for the workspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It may still become ready; nothing but time, the cluster or its admin can help.
    Waits,
    /// It takes sessions.
    Serves,
    /// It never will, or no longer does: the pod goes, the Workspace stays to tell.
    Fails,
    /// It is over as it should be: the Workspace goes.
    Ends,
}

macro_rules! reasons {
    ($($fate:ident { $($(#[$doc:meta])* $name:ident,)* })*) => {
        /// A reason as conditions, events and metrics show it: stable, in camel case.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason { $($($(#[$doc])* $name,)*)* }

        impl Reason {
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }

            /// What follows for the workspace.
            pub const fn fate(self) -> Fate {
                match self { $($(Self::$name => Fate::$fate,)*)* }
            }
        }
    };
}

reasons! {
    Waits {
        /// The gateway's Service has no address yet.
        GatewayMissing,
        /// The class's network policy could not be applied, and there is no pod yet that would need it.
        PolicyNotApplied,
        /// The pod, or what it needs, could not be made, for a reason that may pass.
        NotMade,
        /// The pod of a former workspace of this name is still ending.
        NameInUse,
        /// No node takes the pod at the moment.
        Unschedulable,
        /// The container runtime could not make the container; the kubelet tries again.
        CreateContainerError,
        /// Nothing is wrong: the pod starts.
        Starting,
        /// Nothing is wrong: the pod runs and proves its isolation.
        ProvingIsolation,
        /// It is being deleted and something holds it up.
        Destroying,
    }
    Serves {
        Serving,
    }
    Fails {
        /// The stored object is not what this operator's schema says.
        Unreadable,
        InvalidName,
        ClassNotFound,
        NoDefaultClass,
        InvalidImage,
        ImageNotAllowed,
        UnknownEgressRule,
        InvalidEgress,
        LifetimeTooLong,
        InvalidKey,
        /// A pod that is not ours has the workspace's name.
        NameTaken,
        /// A quota of the namespace is used up. Nobody tells when it no longer is, and somebody waits.
        QuotaExceeded,
        /// Pod Security, a limit range or a webhook refused the pod or its Secret.
        AdmissionDenied,
        /// The API server holds the pod or its Secret for malformed, as a class can make it with its resources.
        InvalidPod,
        RuntimeClassNotFound,
        /// Seldom heals while somebody waits: a name that does not exist, a registry that is not reached or wants credentials.
        ErrImagePull,
        ImagePullBackOff,
        InvalidImageName,
        ErrImageNeverPull,
        CreateContainerConfigError,
        RunContainerError,
        /// The agent could not be brought into the image.
        AgentNotInstalled,
        /// The kubelet refused the pod after it was scheduled.
        PodRejected,
        PodFailed,
        OutOfMemory,
        Evicted,
        Preempted,
        NodeLost,
        NodeShutdown,
        /// The pod is gone and the operator did not delete it.
        PodLost,
        EgressNotEnforced,
        GatewayUnreachable,
        EgressBreach,
        Misconfigured,
        /// The class's network policy could not be put right in time.
        PolicyNotKept,
        /// A network policy of somebody else allows the pods more than ours.
        PolicyWidened,
    }
    Ends {
        /// Its time is up.
        Expired,
        /// Nobody used it for longer than the class allows.
        Idle,
        /// The agent was asked to end.
        Terminated,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// A reason with a sentence for people: what is the matter, then what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    pub reason: Reason,
    pub message: String,
}

impl Cause {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
