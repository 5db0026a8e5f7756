//! `pods/exec` of `ws-agent stdio`: channel 0 is its standard input, 1 its standard output, 3 the server's report.

use kube::{api::AttachParams, core::Request};
use ws_api::{CONTAINER, agent};

use super::{
    Pod, Stream,
    frames::{self, Channels},
    invalid,
};

const CHANNELS: Channels = Channels { to: 0, from: 1, error: 3, preamble: 0 };

pub(super) async fn open(pod: &Pod) -> Result<impl Stream + use<>, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods", pod.namespace);
    let attach = AttachParams::default().container(CONTAINER).stdin(true).stdout(true).stderr(false);
    let request = Request::new(path).exec(&pod.name, [agent::PATH, "stdio"], &attach).map_err(invalid)?;
    Ok(frames::stream(pod.client.connect(request).await?, CHANNELS))
}
