//! A way for bytes to the agent in a pod, through the API server. [`open`] hides which.
//!
//! Port-forward needs less permission and is used where it works. Sandboxed runtimes (gVisor, Kata) have a loopback that
//! the node cannot reach; there the agent is started once more as `ws-agent stdio`, which connects its standard input and
//! output with the port.

mod exec;
mod messages;
mod port_forward;
mod spdy;
mod upgrade;

use std::{fmt, io};

use kube::Client;
use tokio::io::{AsyncRead, AsyncWrite};

/// How bytes reach the pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    PortForward,
    Exec,
}

impl Method {
    /// The subresource of the pod that it needs.
    pub fn resource(self) -> &'static str {
        match self {
            Self::PortForward => "pods/portforward",
            Self::Exec => "pods/exec",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::PortForward => Self::Exec,
            Self::Exec => Self::PortForward,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PortForward => "port-forward",
            Self::Exec => "exec",
        })
    }
}

/// A pod, and how to reach it.
#[derive(Clone)]
pub struct Pod {
    pub client: Client,
    pub namespace: String,
    pub name: String,
}

/// A two-way stream of bytes. What cannot be sent or received any more shows as an end of the stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens a stream to the agent's SSH port. The stream may end at once if nothing listens there yet.
pub async fn open(pod: &Pod, method: Method) -> Result<Box<dyn Stream>, kube::Error> {
    Ok(match method {
        Method::PortForward => Box::new(port_forward::open(pod).await?),
        Method::Exec => Box::new(exec::open(pod).await?),
    })
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> kube::Error {
    kube::Error::Service(Box::new(io::Error::new(io::ErrorKind::InvalidInput, error)))
}
