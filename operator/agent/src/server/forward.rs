//! Ports of the workspace, forwarded to the client (RFC 4254 §7.2): those of the pod's loopback only, because anything else
//! would be a way around the policy; and the gateway by its own name, which tells whoever asks what it decided.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use russh::{
    ChannelOpenFailure, ChannelWriteHalf,
    server::{ChannelOpenHandle, Msg},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;
use ws_api::gateway::{OWN_HOST, OWN_PORT};
use ws_ssh::Inbox;

use crate::{
    carry::Route,
    gateway::Gateway,
    session::outlet::{Outlet, Stream},
};

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a forward leads.
#[derive(Clone, Debug)]
pub enum Target {
    /// One of these addresses.
    Here(Vec<SocketAddr>),
    Gateway(Route),
}

impl Target {
    /// The gateway, if it is what a client names.
    pub fn gateway(host: &str, port: u32, gateway: Gateway) -> Option<Self> {
        let is_meant = host == OWN_HOST && port == u32::from(OWN_PORT);
        is_meant.then(|| Self::Gateway(Route { gateway, host: host.into(), port: OWN_PORT }))
    }

    async fn open(&self) -> io::Result<TcpStream> {
        match self {
            Self::Here(addresses) => TcpStream::connect(addresses.as_slice()).await,
            Self::Gateway(route) => timeout(PATIENCE, route.open()).await?,
        }
    }
}

/// The addresses to try for a host and port that a client names; none if it may not be reached. `own` is the server's port.
pub fn addresses(host: &str, port: u32, own: u16) -> Vec<SocketAddr> {
    let Some(port) = u16::try_from(port).ok().filter(|port| *port != 0 && *port != own) else {
        return Vec::new();
    };
    let hosts = if host.eq_ignore_ascii_case("localhost") {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else {
        host.parse::<IpAddr>()
            .map(|host| host.to_canonical())
            .into_iter()
            .filter(IpAddr::is_loopback)
            .collect()
    };
    hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect()
}

/// What a forward sends and receives by.
pub struct Ends {
    pub reply: ChannelOpenHandle,
    pub inbox: Inbox,
    pub outlet: Outlet,
}

/// Connects, answers the client, and copies both ways; each direction ends by itself.
pub async fn run(target: Target, ends: Ends, closed: CancellationToken) {
    let Ends { reply, inbox, outlet } = ends;
    let served = async {
        let Ok(mut stream) = target.open().await else {
            return reply.reject(ChannelOpenFailure::ConnectFailed).await;
        };
        stream.set_nodelay(true).ok();
        reply.accept().await;
        let (source, sink) = stream.split();
        let back = async {
            outlet.pump(Stream::Output, source).await.ok();
            outlet.eof().await;
        };
        tokio::join!(forth(inbox, sink), back);
        outlet.close().await;
    };
    tokio::select! {
        () = closed.cancelled() => (),
        () = served => (),
    }
}

async fn forth(mut inbox: Inbox, mut sink: tokio::net::tcp::WriteHalf<'_>) {
    while let Ok(Some(data)) = inbox.next().await {
        if sink.write_all(&data).await.is_err() {
            return;
        }
    }
    sink.shutdown().await.ok();
}

/// Keeps the writing half of a channel that is only to be forwarded.
pub fn write_half(channel: russh::Channel<Msg>) -> ChannelWriteHalf<Msg> {
    let (_, writer) = channel.split();
    writer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_forwarded_and_not_the_server() {
        for (host, port, expected) in [
            ("localhost", 8080, vec!["127.0.0.1:8080", "[::1]:8080"]),
            ("LOCALHOST", 1, vec!["127.0.0.1:1", "[::1]:1"]),
            ("127.0.0.1", 65_535, vec!["127.0.0.1:65535"]),
            ("127.1.2.3", 80, vec!["127.1.2.3:80"]),
            ("::1", 80, vec!["[::1]:80"]),
            ("::ffff:127.0.0.1", 80, vec!["127.0.0.1:80"]),
            ("localhost", 2222, vec![]),
            ("localhost", 0, vec![]),
            ("localhost", 65_536, vec![]),
            ("10.0.0.1", 80, vec![]),
            ("0.0.0.0", 80, vec![]),
            ("::", 80, vec![]),
            ("::ffff:10.0.0.1", 80, vec![]),
            ("169.254.169.254", 80, vec![]),
            ("example.org", 80, vec![]),
            ("localhost.", 80, vec![]),
            ("127.1", 80, vec![]),
            ("", 80, vec![]),
        ] {
            let found: Vec<String> = addresses(host, port, 2222).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{host}:{port}");
        }
    }
}
