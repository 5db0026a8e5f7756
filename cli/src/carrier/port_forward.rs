//! `pods/portforward` over WebSocket: two channels for one port, the first for data and the second for complaints. Each
//! begins with the port as two bytes.

use kube::core::Request;
use tokio::io::DuplexStream;
use ws_api::ssh::PORT;

use super::{
    Pod, frames,
    frames::{Channels, pump},
    invalid,
};

const CHANNELS: Channels = frames::Channels { to: 0, from: 0, error: 1, preamble: 2 };

pub(super) async fn open(pod: &Pod) -> Result<DuplexStream, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods", pod.namespace);
    let request = Request::new(path).portforward(&pod.name, &[PORT]).map_err(invalid)?;
    Ok(pump(pod.client.connect(request).await?, CHANNELS))
}
