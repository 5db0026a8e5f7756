//! A workspace's life: prove the isolation, serve, and end with a reason.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use russh::keys::{PrivateKey, PublicKey, ssh_key};
use tokio::net::TcpListener;
use ws_api::{
    agent::{NODE_ADDRESS, PRINCIPAL, Settings, SettingsError},
    gateway::Isolated,
    ssh::PORT,
    termination::{Ending, Reason},
};
use ws_ssh::{certificate::Authority, token::Token};

use crate::{
    carry,
    gateway::{Gateway, announce},
    idle,
    prober::{Prober, Proven},
    reaper::Reaper,
    relay,
    server::{Options, Server},
    session::environment::Environment,
    terminate, transfer,
    trust::{self, Trust},
    way_out::Finder,
};

#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the user CA is no public key")]
    UserCa(#[from] ssh_key::Error),
    #[error("watching for signals")]
    Signals(#[source] io::Error),
    #[error("making {}", .0.display())]
    Project(PathBuf, #[source] io::Error),
    #[error("signing for the gateway")]
    Token(#[source] ssh_key::Error),
    #[error("listening on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("it stopped serving")]
    Stopped,
}

/// All that a workspace is made of, checked.
pub struct Workspace {
    settings: Settings,
    node: IpAddr,
    principal: String,
    user_ca: PublicKey,
    host_key: PrivateKey,
    variables: BTreeMap<OsString, OsString>,
    began: Instant,
}

impl Workspace {
    /// Reads the settings among the container's `variables`. `began` is when the agent did.
    pub fn new(
        host_key: PrivateKey,
        began: Instant,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, WorkspaceError> {
        let variables: BTreeMap<_, _> = variables.into_iter().collect();
        let variable = |name: &str| variables.get(OsStr::new(name))?.to_str().map(str::to_owned);
        let get = |name: &'static str| variable(name).ok_or(SettingsError::Missing(name));
        let settings = Settings::from_variables(variable)?;
        let node = get(NODE_ADDRESS)?;
        let node = node.parse().map_err(|_| SettingsError::Invalid {
            variable: NODE_ADDRESS,
            value: node,
            expected: "IP address",
        })?;
        let user_ca = PublicKey::from_openssh(&settings.user_ca)?;
        let principal = get(PRINCIPAL)?;
        Ok(Self { settings, node, principal, user_ca, host_key, variables, began })
    }

    /// Lives until there is a reason to end.
    pub async fn live(self) -> Result<Ending, WorkspaceError> {
        let terminate = terminate::requested().map_err(WorkspaceError::Signals)?;
        let reaper = Arc::new(Reaper::default());
        let reaping = reaper.run().map_err(WorkspaceError::Signals)?;
        tokio::select! {
            ending = self.serve(reaper) => ending,
            () = terminate => Ok(Ending {
                reason: Reason::Terminated,
                message: "the agent was asked to end".to_owned(),
            }),
            () = reaping => Err(WorkspaceError::Signals(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    async fn serve(self, reaper: Arc<Reaper>) -> Result<Ending, WorkspaceError> {
        let Self { settings, node, principal, user_ca, host_key, variables, began } = self;
        let prober = Prober::new(settings.gateway, node, &settings.forbidden);
        let token = Token::sign(&host_key, &principal).map_err(WorkspaceError::Token)?;
        let gateway = Gateway { address: prober.proxy(), token };
        let (trust, places) = (Trust::new(settings.home.as_ref(), trust::SYSTEM), carry::places());
        let (finder, way_out) = Finder::new(gateway, trust, Arc::clone(&places));
        let environment = Environment::new(&settings.home, variables, way_out);
        let project = environment.project();
        transfer::prepare(&project).map_err(|error| WorkspaceError::Project(project, error))?;
        let authority = Authority::new(user_ca, principal);
        let spool = std::env::temp_dir();
        let options = Options { host_key, authority, environment, gateway, spool, port: PORT };
        let server = Server::new(options, reaper);

        // Whoever calls early is kept in line and need not call again; nobody is answered before the proof.
        let listen = async |address: SocketAddr| {
            let listener = TcpListener::bind(address).await;
            listener.map_err(|source| WorkspaceError::Listen { address, source })
        };
        let listener = listen((Ipv4Addr::LOCALHOST, PORT).into()).await?;
        let programs = listen(relay::ADDRESS).await?;
        let Proven { attempts } = match prober.prove(settings.isolation_deadline).await {
            Ok(proven) => proven,
            Err(ending) => return Ok(ending),
        };
        let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(attempts, after_ms, "isolated; serving");

        let statement = Isolated { attempts, after_ms };
        let announcing = async {
            if let Err(error) = announce(&gateway, &statement).await {
                tracing::warn!(%error, "cannot say that the pod is isolated");
            }
            finder.run().await;
        };
        let activity = server.activity();
        tokio::select! {
            () = server.serve(listener) => Err(WorkspaceError::Stopped),
            () = relay::serve(programs, gateway, places) => Err(WorkspaceError::Stopped),
            () = announcing => Err(WorkspaceError::Stopped),
            ending = prober.breached() => Ok(ending),
            ending = idle::expired(settings.idle, &activity) => Ok(ending),
        }
    }
}
