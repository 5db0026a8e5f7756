//! Makes the way out known to the programs of the workspace: whom to trust, which names there are, and what stands where
//! credentials would be.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use ws_api::gateway::{Destination, WayOut};

use crate::{
    carry::{Route, Routes},
    gateway::{self, Gateway},
    names::{self, Names},
    trust::Trust,
};

/// How long the agent waits before it asks anew: while nothing is missed, and while something is.
const REFRESH: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(500));
/// How long a program waits for the way out before it is started without.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where a program most likely wanted to go.
const HTTPS: u16 = 443;

/// Variables of programs, once the way out is known.
pub type Placeholders = Arc<BTreeMap<String, String>>;

/// Who waits for the way out.
#[derive(Clone, Debug)]
pub struct Known(watch::Receiver<Option<Placeholders>>);

/// Who finds it.
#[derive(Debug)]
pub struct Finder {
    gateway: Gateway,
    trust: Trust,
    names: Arc<Names>,
    places: Arc<Semaphore>,
    known: watch::Sender<Option<Placeholders>>,
}

impl Known {
    /// There is none, and nobody looks for one.
    pub fn none() -> Self {
        Self(watch::channel(Some(Placeholders::default())).1)
    }

    /// Waits until the way out is known, or for as long as a program may wait.
    pub async fn wait(&self) {
        let mut known = self.0.clone();
        timeout(PATIENCE, known.wait_for(Option::is_some)).await.ok();
    }

    /// What stands where credentials would be.
    pub fn placeholders(&self) -> Placeholders {
        self.0.borrow().clone().unwrap_or_default()
    }
}

impl Finder {
    /// Programs that go by names share `places` with all others.
    pub fn new(gateway: Gateway, trust: Trust, places: Arc<Semaphore>) -> (Self, Known) {
        let (known, receiver) = watch::channel(None);
        (Self { gateway, trust, names: Arc::default(), places, known }, Known(receiver))
    }

    /// Keeps the way out open as long as it is polled.
    pub async fn run(self) {
        tokio::join!(self.serve_names(), self.follow());
    }

    async fn serve_names(&self) {
        // Where low ports are kept for others, only programs that know of proxies find the way out.
        let sockets = tokio::try_join!(UdpSocket::bind(names::ADDRESS), TcpListener::bind(names::ADDRESS));
        match sockets {
            Ok((udp, tcp)) => {
                tokio::join!(self.names.serve_udp(udp), Arc::clone(&self.names).serve_tcp(tcp));
            }
            Err(error) => tracing::warn!(%error, "cannot serve names"),
        }
    }

    async fn follow(&self) {
        let mut routes = Routes::new(self.gateway, Arc::clone(&self.places));
        loop {
            match gateway::way_out(&self.gateway).await {
                Ok(way_out) => self.take(way_out, &mut routes).await,
                Err(error) => tracing::warn!(%error, "cannot read the way out"),
            }
            self.report_unresolved().await;
            let (seldom, often) = REFRESH;
            sleep(often).await;
            timeout(seldom, self.names.missed()).await.ok();
        }
    }

    /// Asks the gateway for what programs looked up and no rule names, so that it is written down as denied. What knows of proxies asks
    /// there itself.
    async fn report_unresolved(&self) {
        for host in self.names.take_unresolved() {
            let route = Route { gateway: self.gateway, host: host.into(), port: HTTPS };
            timeout(PATIENCE, route.open()).await.ok();
        }
    }

    async fn take(&self, way_out: WayOut, routes: &mut Routes) {
        let WayOut { certificate, destinations, environment } = way_out;
        if let Err(error) = self.trust.add(certificate).await {
            tracing::warn!(%error, "cannot write down whom to trust");
        }
        for Destination { host, ports } in destinations {
            let Some(address) = self.names.insert(&host) else { continue };
            let host: Arc<str> = host.into();
            for port in ports {
                routes.open(&host, address, port).await;
            }
        }
        self.known.send_replace(Some(Arc::new(environment)));
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{
        carry,
        gateway::testing::{self, Listener},
    };

    /// Without any file of this machine's.
    fn finder(gateway: Gateway, home: &Path) -> (Finder, Known) {
        Finder::new(gateway, Trust::new(home, Vec::<PathBuf>::new()), carry::places())
    }

    /// The first line of the next request to the gateway, which answers so.
    async fn asked(listener: &Listener, answer: &str) -> String {
        let mut stream = listener.accept().await;
        let mut request = vec![0; 512];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_waits_for_the_way_out_and_not_for_ever() {
        let (gateway, _listener) = testing::gateway().await;
        let (finder, known) = finder(gateway, Path::new("/"));
        let start = tokio::time::Instant::now();
        known.wait().await;
        assert_eq!((start.elapsed(), known.placeholders().len()), (PATIENCE, 0));
        let placeholders = BTreeMap::from([("KEY".to_owned(), "ws-credential:a".to_owned())]);
        finder.known.send_replace(Some(Arc::new(placeholders.clone())));
        known.wait().await;
        assert_eq!((start.elapsed(), &*known.placeholders()), (PATIENCE, &placeholders));
    }

    #[tokio::test]
    async fn the_gateway_is_asked_for_what_was_looked_up_and_no_rule_names() {
        let (home, (gateway, listener)) = (tempfile::tempdir().unwrap(), testing::gateway().await);
        let (finder, _known) = finder(gateway, home.path());
        for name in ["docs.example", "telemetry.example"] {
            finder.names.miss(name);
        }
        tokio::spawn(async move { finder.follow().await });
        let docs = Destination { host: "docs.example".into(), ports: vec![] };
        let way_out = WayOut { certificate: "A".into(), destinations: vec![docs], ..WayOut::default() };
        let way_out = format!("HTTP/1.1 200 OK\r\n\r\n{}", serde_json::to_string(&way_out).unwrap());
        for (expected, answer) in [
            ("GET /v1/way-out HTTP/1.1", way_out.as_str()),
            ("CONNECT telemetry.example:443 HTTP/1.1", "HTTP/1.1 403 Forbidden\r\n\r\n"),
            // What a rule names by now is not asked for.
            ("GET /v1/way-out HTTP/1.1", &way_out),
        ] {
            assert_eq!(asked(&listener, answer).await, expected);
        }
    }
}
