//! The servers, each a process that says what it understood.

use std::{fs, net::TcpListener as StdListener, path::Path, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
    time::{Duration, Instant, sleep, timeout},
};

const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/proxy/tests/differential/upstreams");
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    pub port: u16,
    process: Child,
    said: Said,
    scratch: TempDir,
}

/// Where it says what it understood.
enum Said {
    /// Until its standard input ends. It is read meanwhile: a server that cannot say more answers no more.
    Output(JoinHandle<String>),
    File,
}

/// Starts a program. One that is missing is an error: nothing would be compared.
fn start(program: &Path, arguments: &[&Path]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{} is needed (`make tools` installs it): {error}", program.display()))
}

impl Server {
    pub async fn node() -> Self {
        Self::saying(start("node".as_ref(), &[&Path::new(SERVERS).join("node.js")])).await
    }

    pub async fn python() -> Self {
        Self::saying(start("python3".as_ref(), &[&Path::new(SERVERS).join("python.py")])).await
    }

    pub async fn go() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (program, source) = (folder.path().join("server"), Path::new(SERVERS).join("main.go"));
        let build = ["build".as_ref(), "-o".as_ref(), program.as_path(), source.as_path()];
        assert!(start("go".as_ref(), &build).wait().await.unwrap().success());
        Self::saying(start(&program, &[])).await
    }

    /// It takes no port of the system's choice and tells none, so that one is chosen for it.
    pub async fn nginx() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = scratch.path().join("nginx.conf");
        let configuration = fs::read_to_string(Path::new(SERVERS).join("nginx.conf")).unwrap();
        let configuration = configuration
            .replace("{{scratch}}", scratch.path().to_str().unwrap())
            .replace("{{port}}", &port.to_string());
        fs::write(&place, configuration).unwrap();
        let found = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].map(Path::new);
        let program = found.into_iter().find(|path| path.exists()).unwrap_or("nginx".as_ref());
        let process = start(program, &["-c".as_ref(), &place]);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "nginx does not answer");
            sleep(Duration::from_millis(20)).await;
        }
        Self { port, process, said: Said::File, scratch }
    }

    async fn saying(mut process: Child) -> Self {
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        timeout(PATIENCE, output.read_line(&mut line)).await.expect("it says its port").unwrap();
        let port = serde_json::from_str::<Value>(&line).unwrap()["port"].as_u64().unwrap();
        let said = Said::Output(tokio::spawn(async move {
            let mut said = String::new();
            output.read_to_string(&mut said).await.unwrap();
            said
        }));
        let scratch = tempfile::tempdir().unwrap();
        Self { port: u16::try_from(port).unwrap(), process, said, scratch }
    }

    /// Ends the server; all that it understood, in order.
    pub async fn end(mut self) -> Vec<Value> {
        let said = match self.said {
            Said::Output(output) => {
                drop(self.process.stdin.take());
                timeout(PATIENCE, output).await.expect("it ends").unwrap()
            }
            Said::File => {
                self.process.kill().await.unwrap();
                fs::read_to_string(self.scratch.path().join("understood")).unwrap()
            }
        };
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}
