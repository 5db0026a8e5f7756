//! `pods/exec` of `ws-agent stdio`, over [Kubernetes' channel protocol](https://github.com/kubernetes/apimachinery): each
//! message is a channel's number and its data. Channel 0 is the program's standard input, 1 its standard output, 3 the
//! server's report.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kube::{api::AttachParams, core::Request};
use ws_api::{CONTAINER, agent};

use super::{
    Pod, Stream, invalid,
    messages::{Incoming, Messages, Protocol},
};

const INPUT: u8 = 0;
const OUTPUT: u8 = 1;
const REPORT: u8 = 3;

pub(super) async fn open(pod: &Pod) -> Result<impl Stream + use<>, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods", pod.namespace);
    let attach = AttachParams::default().container(CONTAINER).stdin(true).stdout(true).stderr(false);
    let request = Request::new(path).exec(&pod.name, [agent::PATH, "stdio"], &attach).map_err(invalid)?;
    let connection = pod.client.connect(request).await?;
    Ok(Messages::new(connection.into_stream(), Channels))
}

struct Channels;

impl Protocol for Channels {
    const MOST: usize = 64 << 10;

    fn pack(&self, data: &[u8]) -> Bytes {
        let mut message = BytesMut::with_capacity(1 + data.len());
        message.put_u8(INPUT);
        message.put_slice(data);
        message.freeze()
    }

    fn unpack(&mut self, mut message: Bytes, incoming: &mut Incoming) {
        match message.try_get_u8() {
            Ok(OUTPUT) => incoming.data(message),
            Ok(REPORT) => incoming.complain(&message),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt as _, StreamExt as _, channel::mpsc, stream};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_tungstenite::tungstenite::{self, Message};

    use super::*;

    #[tokio::test]
    async fn the_output_is_read_until_the_servers_report() {
        let arrived: [&[u8]; 6] = [b"\x01", b"\x01one ", b"", b"\x02not asked for", b"\x01two", b"\x03ended"];
        let arrived = arrived.map(|message| Ok(Message::binary(message)));
        let mut read = Vec::new();
        Messages::new(stream::iter(arrived), Channels).read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"one two");
    }

    #[tokio::test]
    async fn a_message_begins_with_its_channel() {
        const MOST: usize = Channels::MOST;
        let (sender, mut messages) = mpsc::unbounded();
        let sink = sender.sink_map_err(|_| tungstenite::Error::ConnectionClosed);
        let length = Messages::new(sink, Channels).write(&vec![7; MOST + 1]).await.unwrap();
        let message = messages.next().await.unwrap().into_data();
        assert_eq!((message.len(), length), (1 + MOST, MOST));
        assert_eq!(message.first(), Some(&INPUT));
    }
}
