//! What the server may do on its own: nothing.

use russh::{
    Channel, ChannelId, client,
    client::{ChannelOpenHandle, Msg, Session},
    keys::{PublicKey, PublicKeyOrCertificate},
};

/// Accepts one host key and refuses every channel that the server opens: dropping the `reply` refuses.
///
/// A channel that is opened towards the laptop would be a way out of the workspace.
pub(super) struct Pinned {
    host_key: PublicKey,
}

impl Pinned {
    pub(super) fn new(host_key: PublicKey) -> Self {
        Self { host_key }
    }
}

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.key_data() == self.host_key.key_data(),
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        refused("forwarded-tcpip")
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        refused("forwarded-streamlocal")
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        refused("auth-agent")
    }

    async fn should_accept_unknown_server_channel(&mut self, _: ChannelId, _: &str) -> bool {
        false
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        refused("session")
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        refused("direct-tcpip")
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        refused("direct-streamlocal")
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        refused("x11")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what every handler returns")]
fn refused(kind: &str) -> Result<(), russh::Error> {
    tracing::warn!(kind, "the workspace tried to open a channel to this machine");
    Ok(())
}
