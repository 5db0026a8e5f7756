//! `pods/portforward` over WebSocket: two channels for one port, the first for data and the second for complaints. Each
//! begins with the port as two bytes.

use kube::core::Request;
use ws_api::ssh::PORT;

use super::{
    Pod, Stream,
    frames::{self, Channels},
    invalid,
};

const CHANNELS: Channels = Channels { to: 0, from: 0, error: 1, preamble: 2 };

pub(super) async fn open(pod: &Pod) -> Result<impl Stream + use<>, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods", pod.namespace);
    let request = Request::new(path).portforward(&pod.name, &[PORT]).map_err(invalid)?;
    Ok(frames::stream(pod.client.connect(request).await?, CHANNELS))
}
