//! Makes the way out known to the programs of the workspace: whom to trust, which names there are, and what stands where
//! credentials would be.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    time::{sleep, timeout},
};
use ws_api::gateway::WayOut;

use crate::{
    carry::Route,
    gateway::{self, Gateway},
    key_store,
    names::{self, Names},
};

/// The file with all authorities that programs should trust, in the home directory.
pub const AUTHORITIES: &str = ".ws/authorities.pem";
/// The same for Java.
pub const KEY_STORE: &str = ".ws/authorities.jks";
/// Where systems keep the authorities that they trust.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
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
    home: PathBuf,
    names: Names,
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
    pub fn new(gateway: Gateway, home: &Path) -> (Self, Known) {
        let (known, receiver) = watch::channel(None);
        (Self { gateway, home: home.to_owned(), names: Names::default(), known }, Known(receiver))
    }

    /// Keeps the way out open as long as it is polled.
    pub async fn run(self) {
        tokio::join!(self.serve_names(), self.follow());
    }

    async fn serve_names(&self) {
        // Where low ports are kept for others, only programs that know of proxies find the way out.
        let sockets = tokio::try_join!(UdpSocket::bind(names::ADDRESS), TcpListener::bind(names::ADDRESS));
        match sockets {
            Ok((udp, tcp)) => drop(tokio::join!(self.names.serve_udp(udp), self.names.serve_tcp(tcp))),
            Err(error) => tracing::warn!(%error, "cannot serve names"),
        }
    }

    async fn follow(&self) {
        let mut carried = HashSet::new();
        loop {
            match gateway::way_out(&self.gateway).await {
                Ok(way_out) => self.take(way_out, &mut carried),
                Err(error) => tracing::warn!(%error, "cannot read the way out"),
            }
            self.tell_in_vain().await;
            let (seldom, often) = REFRESH;
            sleep(often).await;
            timeout(seldom, self.names.missed()).await.ok();
        }
    }

    /// Asks the gateway for what programs looked for and no rule names, so that it is written down as denied. What knows of proxies
    /// asks there itself.
    async fn tell_in_vain(&self) {
        for host in self.names.take_in_vain() {
            let route = Route { gateway: self.gateway, host: host.into(), port: HTTPS };
            timeout(PATIENCE, route.open()).await.ok();
        }
    }

    fn take(&self, way_out: WayOut, carried: &mut HashSet<(Ipv4Addr, u16)>) {
        let WayOut { certificate, destinations, environment } = way_out;
        if let Err(error) = trust(&self.home, &certificate) {
            tracing::warn!(%error, "cannot write down whom to trust");
        }
        for destination in destinations {
            let Some(address) = self.names.insert(&destination.host) else { continue };
            let host: Arc<str> = destination.host.into();
            for port in destination.ports {
                if !carried.insert((address, port)) {
                    continue;
                }
                let route = Route { gateway: self.gateway, host: host.clone(), port };
                tokio::spawn(async move {
                    let host = route.host.clone();
                    if let Err(error) = route.serve(address).await {
                        tracing::warn!(%error, %host, port, "cannot listen for connections to a name");
                    }
                });
            }
        }
        self.known.send_replace(Some(Arc::new(environment)));
    }
}

/// Has programs trust the installation's authority beside those of the system.
fn trust(home: &Path, certificate: &str) -> io::Result<()> {
    let system = SYSTEM.iter().find_map(|path| Some((path, fs::read_to_string(path).ok()?)));
    // A program that heeds no variable reads the system's own, if the image lets the workspace's user write it.
    if let Some((path, authorities)) = &system
        && !authorities.contains(certificate)
    {
        fs::write(path, joined(authorities, certificate)).ok();
    }
    let file = home.join(AUTHORITIES);
    fs::create_dir_all(file.parent().unwrap_or(home))?;
    let authorities = system.map(|(_, authorities)| authorities).unwrap_or_default();
    let authorities = joined(&authorities, certificate);
    replace(&file, authorities.as_bytes())?;
    replace(&home.join(KEY_STORE), &key_store::of_pem(&authorities))
}

/// Programs read the file at any time: it is whole at each, and left alone as long as nothing changes.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(file).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let draft = file.with_extension("new");
    fs::write(&draft, content)?;
    fs::rename(draft, file)
}

fn joined(authorities: &str, certificate: &str) -> String {
    if authorities.contains(certificate) {
        return authorities.to_owned();
    }
    let gap = if authorities.is_empty() || authorities.ends_with('\n') { "" } else { "\n" };
    format!("{authorities}{gap}{certificate}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_added_once() {
        assert_eq!(joined("A\n", "B\n"), "A\nB\n");
        assert_eq!(joined("A", "B\n"), "A\nB\n");
        assert_eq!(joined("", "B\n"), "B\n");
        assert_eq!(joined("A\nB\n", "B\n"), "A\nB\n");
    }

    #[test]
    fn the_file_is_replaced_whole_and_only_when_it_changes() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authorities.pem");
        let inode = || fs::metadata(&file).unwrap().ino();
        replace(&file, b"A").unwrap();
        let (first, reader) = (inode(), fs::File::open(&file).unwrap());
        replace(&file, b"A").unwrap();
        assert_eq!(inode(), first);
        replace(&file, b"B").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "B");
        assert_eq!(io::read_to_string(reader).unwrap(), "A", "who has begun to read reads on");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_waits_for_the_way_out_and_not_for_ever() {
        let (gateway, _listener) = gateway::testing::gateway().await;
        let (finder, known) = Finder::new(gateway, Path::new("/"));
        let start = tokio::time::Instant::now();
        known.wait().await;
        assert_eq!((start.elapsed(), known.placeholders().len()), (PATIENCE, 0));
        let placeholders = BTreeMap::from([("KEY".to_owned(), "ws-credential:a".to_owned())]);
        finder.known.send_replace(Some(Arc::new(placeholders.clone())));
        known.wait().await;
        assert_eq!((start.elapsed(), &*known.placeholders()), (PATIENCE, &placeholders));
    }
}
