//! The client's end of SSH: exactly the host key of the status, a certificate, and nothing that the server starts.

mod handler;

use std::{sync::Arc, time::Duration};

use russh::{
    Channel, Disconnect, client,
    client::Msg,
    keys::{Algorithm, Certificate, PrivateKey, PublicKey, ssh_key},
};
use tokio::time::timeout;
use ws_api::{ssh::USER, workspace::Ssh};
use ws_ssh::{Gate, client_config, unblocked};

use crate::{
    carrier::Stream,
    error::{Error, chain},
};
use handler::Pinned;

/// How long each turn of the protocol may take. A server that says nothing must not hold the command.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// What identifies this session to the agent.
#[derive(Clone)]
pub struct Identity(Arc<PrivateKey>);

/// What the cluster says about an agent's SSH: parsed once, then trusted.
#[derive(Clone, Debug)]
pub struct Terms {
    host_key: PublicKey,
    certificate: Certificate,
}

/// Why no connection came about.
#[derive(Debug)]
pub enum ConnectError {
    /// Nothing answered; it may later.
    Silent(String),
    /// Something answered that cannot be the workspace, or that will not let us in. Trying again does not help.
    Final(Error),
}

/// A connection that is logged in.
pub struct Connection {
    handle: client::Handle<Pinned>,
    gate: Gate,
}

impl Identity {
    /// A new key, for one workspace.
    pub fn generate() -> Result<Self, Error> {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519);
        key.map(Self::from).map_err(|error| Error::internal(format!("no key could be made: {error}")))
    }

    /// The key, to be remembered.
    pub fn key(&self) -> &PrivateKey {
        &self.0
    }

    /// The public half as a Workspace's spec wants it.
    pub fn public_key(&self) -> Result<String, Error> {
        let mut public = self.0.public_key().clone();
        public.set_comment("ws");
        public.to_openssh().map_err(|error| Error::internal(format!("no key could be made: {error}")))
    }
}

impl From<PrivateKey> for Identity {
    fn from(key: PrivateKey) -> Self {
        Self(Arc::new(key))
    }
}

impl Terms {
    /// Reads the status; none if it has nothing for this key yet. Fails if its host key is none.
    pub fn read(ssh: &Ssh, identity: &Identity) -> Result<Option<Self>, ssh_key::Error> {
        let host_key = PublicKey::from_openssh(&ssh.host_key)?;
        let certificates = ssh.certificates.iter().filter_map(|line| Certificate::from_openssh(line).ok());
        let mut ours =
            certificates.filter(|certificate| certificate.public_key() == identity.0.public_key().key_data());
        Ok(ours.next().map(|certificate| Self { host_key, certificate }))
    }
}

impl Connection {
    /// Logs in over `stream`.
    pub async fn open(
        stream: Box<dyn Stream>,
        identity: &Identity,
        terms: &Terms,
    ) -> Result<Self, ConnectError> {
        let stream = unblocked(stream);
        let gate = stream.gate();
        let handler = Pinned::new(terms.host_key.clone());
        let handshake = client::connect_stream(Arc::new(client_config()), stream, handler);
        let mut handle = turn(handshake).await?.map_err(|error| handshake_failed(&error))?;
        let login =
            handle.authenticate_openssh_cert(USER, Arc::clone(&identity.0), terms.certificate.clone());
        let accepted = turn(login).await?.map_err(|error| ConnectError::Silent(chain(&error)))?;
        if accepted.success() { Ok(Self { handle, gate }) } else { Err(ConnectError::Final(not_let_in())) }
    }

    /// Opens a channel of type `session` (RFC 4254 §6.1).
    pub async fn session(&self) -> Result<Channel<Msg>, Error> {
        match timeout(TURN_LIMIT, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(Error::lost(&chain(&error))),
            Err(_) => Err(Error::lost("the agent does not answer")),
        }
    }

    /// Starts a subsystem (RFC 4254 §6.5).
    pub async fn subsystem(&self, name: &str) -> Result<Channel<Msg>, Error> {
        let channel = self.session().await?;
        channel.request_subsystem(true, name).await.map_err(|error| Error::lost(&chain(&error)))?;
        Ok(channel)
    }

    /// Opens a channel of type `direct-tcpip` (RFC 4254 §7.2).
    pub async fn forward(&self, host: &str, port: u16) -> Result<Channel<Msg>, Error> {
        let opened = self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0);
        match timeout(TURN_LIMIT, opened).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(Error::lost(&chain(&error))),
            Err(_) => Err(Error::lost("the agent does not answer")),
        }
    }

    /// For whoever sends much: when to go on.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Says goodbye. A peer that has gone already does not hear it.
    pub async fn close(self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        drop(timeout(Duration::from_millis(200), goodbye).await);
    }
}

async fn turn<T>(work: impl Future<Output = T>) -> Result<T, ConnectError> {
    timeout(TURN_LIMIT, work).await.map_err(|_| ConnectError::Silent("the agent does not answer".to_owned()))
}

fn handshake_failed(error: &russh::Error) -> ConnectError {
    match error {
        russh::Error::UnknownKey | russh::Error::WrongServerSig => ConnectError::Final(
            Error::impostor(
                "what answered is not the workspace: it has another host key than the cluster names",
            )
            .hinted("nothing was sent to it; tell whoever runs the cluster"),
        ),
        russh::Error::NoCommonAlgo { .. } => ConnectError::Final(
            Error::impostor("what answered offers none of the SSH algorithms of an agent")
                .hinted("nothing was sent to it; tell whoever runs the cluster"),
        ),
        error => ConnectError::Silent(chain(error)),
    }
}

fn not_let_in() -> Error {
    Error::user("the workspace did not accept this session's certificate")
        .hinted("it may have expired: `ws ls` shows when; check this machine's clock against the cluster's")
}

#[cfg(test)]
mod tests;
