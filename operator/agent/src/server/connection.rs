//! Translates a connection's messages. Never waits: a handler that waits stops every channel of its connection.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use russh::{
    Channel as Opened, ChannelId, ChannelOpenFailure, Error, Pty, Sig,
    keys::{Algorithm, Certificate},
    server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use ws_ssh::{FeedError, Gate, certificate::Authorized};

use super::{
    Shared,
    channel::{Channel, Running, Waiting},
    forward::{self, Target},
};
use crate::{
    activity::Attached,
    session::{
        environment::Request,
        outlet::Outlet,
        program::Program,
        signals,
        terminal::{Size, Wanted},
    },
    transfer::{self, Transfer},
};

/// Channels of one connection. An editor has one for each of its connections into the workspace.
const MAX_CHANNELS: usize = 256;
/// Longest name of a kind of terminal.
const MAX_TERM: usize = 128;
/// Exit status for a command that could not be started, as a shell gives it.
const NOT_FOUND: u32 = 127;

/// One connection's state.
pub struct Connection {
    shared: Arc<Shared>,
    gate: Gate,
    login: Option<oneshot::Sender<()>>,
    user: Option<(Authorized, Attached)>,
    channels: HashMap<ChannelId, Channel>,
}

impl Connection {
    /// Tells `login` when somebody has logged in.
    pub(crate) fn new(shared: Arc<Shared>, gate: Gate, login: oneshot::Sender<()>) -> Self {
        Self { shared, gate, login: Some(login), user: None, channels: HashMap::new() }
    }

    fn has_room(&mut self) -> bool {
        self.channels.retain(|_, channel| !channel.is_done());
        self.channels.len() < MAX_CHANNELS
    }

    fn authorized(&self) -> Option<&Authorized> {
        self.user.as_ref().map(|(authorized, _)| authorized)
    }

    fn waiting(&mut self, id: ChannelId) -> Option<&mut Waiting> {
        match self.channels.get_mut(&id)? {
            Channel::Waiting(waiting) => Some(waiting),
            Channel::Running(_) => None,
        }
    }

    fn running(&self, id: ChannelId) -> Option<&Running> {
        match self.channels.get(&id)? {
            Channel::Waiting(_) => None,
            Channel::Running(running) => Some(running),
        }
    }

    /// Takes a channel that has not said what for; it is put back in use.
    fn take_waiting(&mut self, id: ChannelId) -> Option<Waiting> {
        match self.channels.remove(&id)? {
            Channel::Waiting(waiting) => Some(*waiting),
            running @ Channel::Running(_) => {
                self.channels.insert(id, running);
                None
            }
        }
    }

    fn start(&mut self, id: ChannelId, request: &Request, session: &mut Session) -> Result<(), Error> {
        let Some(waiting) = self.take_waiting(id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let Waiting { writer, feed, inbox, terminal, variables } = waiting;
        let outlet = Outlet::new(writer, session.handle(), self.gate.clone());
        let command = self.shared.environment.command(request, variables.as_slice());
        let close = CancellationToken::new();
        let (control, task) = match Program::start(&self.shared.reaper, command, terminal.as_ref()) {
            Ok(program) => {
                let control = program.control();
                (Some(control), self.shared.tasks.spawn(program.run(inbox, outlet.clone(), close.clone())))
            }
            Err(error) => {
                let reason = format!("cannot start the shell: {error}");
                let outlet = outlet.clone();
                (None, self.shared.tasks.spawn(async move { outlet.fail(NOT_FOUND, &reason).await }))
            }
        };
        let running = Running::new(feed, outlet, task, close).controlled_by(control);
        self.channels.insert(id, Channel::Running(running));
        Ok(())
    }

    fn transfer(&mut self, id: ChannelId, transfer: Transfer, session: &mut Session) -> Result<(), Error> {
        let Some(waiting) = self.take_waiting(id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let outlet = Outlet::new(waiting.writer, session.handle(), self.gate.clone());
        let close = CancellationToken::new();
        let task = self.shared.tasks.spawn(transfer.run(waiting.inbox, outlet.clone(), close.clone()));
        self.channels.insert(id, Channel::Running(Running::new(waiting.feed, outlet, task, close)));
        Ok(())
    }

    /// Gives up a channel whose program does not read. russh would keep what the client's window does not take, and until then
    /// send nothing on any channel; so the reason goes out as all data does, by a task that waits for the window.
    fn overflow(&mut self, id: ChannelId, error: &FeedError, session: &Session) {
        tracing::warn!(%error, "a channel is closed");
        let outlet = match self.channels.remove(&id) {
            Some(Channel::Running(running)) => running.outlet.clone(),
            Some(Channel::Waiting(waiting)) => {
                Outlet::new(waiting.writer, session.handle(), self.gate.clone())
            }
            None => return,
        };
        let reason = error.to_string();
        self.shared.tasks.spawn(async move { outlet.give_up(&reason).await });
    }
}

impl Handler for Connection {
    type Error = Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        // Whether the key comes with a certificate is known only when it is used.
        let possible = user == ws_api::ssh::USER && *offer.algorithm == Algorithm::Ed25519;
        Ok(if possible { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Error> {
        match self.shared.authority.check(certificate, user, SystemTime::now()) {
            Ok(authorized) => {
                self.user = Some((authorized, self.shared.activity.attach()));
                Ok(Auth::Accept)
            }
            Err(refused) => {
                tracing::info!(%refused, "a certificate is refused");
                Ok(Auth::reject())
            }
        }
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Error> {
        if let Some(login) = self.login.take() {
            login.send(()).ok();
        }
        if let Some(authorized) = self.authorized() {
            tracing::info!(key_id = %authorized.key_id().escape_debug(), "logged in");
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Opened<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if !self.has_room() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let waiting = Waiting::new(forward::write_half(channel), self.shared.store.clone());
        self.channels.insert(id, Channel::Waiting(Box::new(waiting)));
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Opened<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        let here = || {
            let permitted = self.authorized().is_some_and(Authorized::may_forward_ports);
            let addresses = forward::addresses(host, port, self.shared.port);
            (permitted && !addresses.is_empty()).then_some(Target::Here(addresses))
        };
        let gateway = Target::gateway(host, port, self.shared.gateway);
        let Some(target) = gateway.or_else(here) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        if !self.has_room() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let (feed, inbox) = ws_ssh::inbox(self.shared.store.clone());
        let outlet = Outlet::new(forward::write_half(channel), session.handle(), self.gate.clone());
        let close = CancellationToken::new();
        let ends = forward::Ends { reply, inbox, outlet: outlet.clone() };
        let task = self.shared.tasks.spawn(forward::run(target, ends, close.clone()));
        self.channels.insert(id, Channel::Running(Running::new(feed, outlet, task, close)));
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        let permitted = self.authorized().is_some_and(Authorized::may_have_pty) && term.len() <= MAX_TERM;
        let Some(waiting) = self.waiting(id).filter(|_| permitted) else {
            return session.channel_failure(id);
        };
        if !term.is_empty() {
            waiting.variables.set("TERM", term);
        }
        let size = Size { columns, rows, width, height };
        waiting.terminal = Some(Wanted { size, modes: modes.to_vec() });
        session.channel_success(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        if self.waiting(id).is_some_and(|waiting| waiting.variables.set(name, value)) {
            session.channel_success(id)
        } else {
            session.channel_failure(id)
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.shared.environment.ready().await;
        self.start(id, &Request::Shell, session)
    }

    async fn exec_request(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), Error> {
        self.shared.environment.ready().await;
        self.start(id, &Request::Command(line.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        match transfer::by_name(name, &self.shared.project) {
            Some(transfer) => self.transfer(id, transfer, session),
            None => session.channel_failure(id),
        }
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(id)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        let size = Size { columns, rows, width, height };
        if let Some(waiting) = self.waiting(id) {
            waiting.terminal.iter_mut().for_each(|wanted| wanted.size = size);
        } else if let Some(control) = self.running(id).and_then(|running| running.control.as_ref())
            && let Err(error) = control.resize(size)
        {
            tracing::debug!(%error, "cannot resize a terminal");
        }
        session.channel_success(id)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, session: &mut Session) -> Result<(), Error> {
        let control = self.running(id).and_then(|running| running.control.as_ref());
        match control.zip(signals::from_name(&signal)) {
            Some((control, signal)) => {
                control.signal(signal);
                session.channel_success(id)
            }
            None => session.channel_failure(id),
        }
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Error> {
        let pushed = self.channels.get(&id).and_then(Channel::feed).map_or(Ok(()), |feed| feed.push(data));
        if let Err(error) = pushed {
            self.overflow(id, &error, session);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        match self.channels.get_mut(&id) {
            Some(Channel::Running(running)) => running.feed = None,
            // Nothing came and nothing will: a command that is asked for later has no input.
            Some(Channel::Waiting(waiting)) => waiting.feed = ws_ssh::inbox(self.shared.store.clone()).0,
            None => (),
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        self.channels.remove(&id);
        Ok(())
    }
}
