//! The names that lead out, for programs that know of no proxy: a name server (RFC 1035) on the pod's loopback, which gives each
//! name an address of its own there. Nothing is asked of anybody: what no rule names does not exist. What was not found is kept for
//! whoever reports it.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Notify, Semaphore},
    time::timeout,
};

use crate::{accept, lock::lock};

/// Where programs look for a name server (RFC 1035 §4.2).
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// The first address that a name gets. What is below belongs to whoever listens on the loopback by himself.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 1);
/// Names at most: more than a class can have.
const MAX_NAMES: usize = 4_096;
/// Names that were not found and are kept to be reported.
const MAX_UNRESOLVED: usize = 8;
/// Longest name (RFC 1035 §3.1), as text.
const MAX_NAME: usize = 253;
/// Seconds for which an answer holds. An address stays its name's, so that this matters little.
const TTL: u32 = 5;
/// Largest query over UDP.
const MAX_DATAGRAM: usize = 4_096;
/// Conversations at a time; more wait. Hardly anybody asks over TCP.
const CONVERSATIONS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// Names and their addresses. A name keeps its address as long as the pod lives.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<HashMap<String, Ipv4Addr>>,
    missed: Notify,
    /// Names that were not found, and not taken yet.
    unresolved: Mutex<HashSet<String>>,
}

impl Names {
    /// The address of a name. None: there is no more.
    pub fn insert(&self, name: &str) -> Option<Ipv4Addr> {
        let mut names = lock(&self.known);
        if let Some(address) = names.get(name) {
            return Some(*address);
        }
        let next = u32::try_from(names.len()).ok().filter(|_| names.len() < MAX_NAMES)?;
        let address = Ipv4Addr::from_bits(FIRST.to_bits() + next);
        names.insert(name.to_owned(), address);
        Some(address)
    }

    /// Resolves when a name was asked for that there is not: it may be a new one.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Takes the names that were not found since the last time, and still are not there.
    pub fn take_unresolved(&self) -> HashSet<String> {
        let mut names = mem::take(&mut *lock(&self.unresolved));
        let known = lock(&self.known);
        names.retain(|name| !known.contains_key(name));
        names
    }

    /// Notes that a name was not found.
    pub fn miss(&self, name: &str) {
        let mut names = lock(&self.unresolved);
        if names.len() < MAX_UNRESOLVED && is_speakable(name) {
            names.insert(name.to_owned());
        }
        drop(names);
        self.missed.notify_one();
    }

    fn get(&self, name: &str) -> Option<Ipv4Addr> {
        lock(&self.known).get(name).copied()
    }

    /// Answers a query; none if it is none.
    pub fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        if query.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        let [question] = query.queries.as_slice() else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return answer.to_vec().ok();
        };
        answer.add_query(question.clone());
        let name = question.name().to_ascii().to_ascii_lowercase();
        answer.metadata.response_code = match self.get(name.trim_end_matches('.')) {
            _ if query.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
            None => {
                self.miss(name.trim_end_matches('.'));
                ResponseCode::NXDomain
            }
            Some(address) => {
                if question.query_type() == RecordType::A {
                    let address = RData::A(A::from(address));
                    answer.add_answer(Record::from_rdata(question.name().clone(), TTL, address));
                }
                // Other kinds of records of the name there are none.
                ResponseCode::NoError
            }
        };
        answer.to_vec().ok()
    }

    /// Answers datagrams. What cannot be sent is lost, as datagrams are.
    pub async fn serve_udp(&self, socket: UdpSocket) {
        loop {
            let (query, peer) = accept::patiently("receive a query", || receive(&socket)).await;
            if let Some(answer) = self.answer(&query) {
                socket.send_to(&answer, peer).await.ok();
            }
        }
    }

    /// Answers connections, one query each.
    pub async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let converse = |stream| {
            let names = Arc::clone(&self);
            async move { timeout(PATIENCE, names.converse(stream)).await? }
        };
        accept::each(listener, Arc::new(Semaphore::new(CONVERSATIONS)), converse).await;
    }

    /// A message over TCP has its length before it (RFC 1035 §4.2.2).
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let Some(answer) = self.answer(&query) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], answer.as_slice()].concat()).await
    }
}

async fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut query = vec![0; MAX_DATAGRAM];
    let (length, peer) = socket.recv_from(&mut query).await?;
    query.truncate(length);
    Ok((query, peer))
}

/// Whether a name may stand in a line that the agent writes.
fn is_speakable(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use hickory_proto::{op::Query, rr::Name};

    use super::*;

    fn query(name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        query
    }

    fn asked(names: &Names, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
        let query = query(name, kind);
        let answer = Message::from_vec(&names.answer(&query.to_vec().unwrap()).unwrap()).unwrap();
        assert_eq!(answer.metadata.id, query.metadata.id);
        assert_eq!(answer.queries, query.queries);
        (answer.metadata.response_code, answer.answers.iter().map(|record| record.data.to_string()).collect())
    }

    #[test]
    fn each_name_has_an_address_and_no_other_exists() {
        let names = Names::default();
        assert_eq!(names.insert("a.example"), Some([127, 64, 0, 1].into()));
        assert_eq!(names.insert("b.example"), Some([127, 64, 0, 2].into()));
        assert_eq!(names.insert("a.example"), Some([127, 64, 0, 1].into()));
        let found = |address: &str| (ResponseCode::NoError, vec![address.to_owned()]);
        assert_eq!(asked(&names, "A.Example.", RecordType::A), found("127.64.0.1"));
        assert_eq!(asked(&names, "b.example.", RecordType::A), found("127.64.0.2"));
        for kind in [RecordType::AAAA, RecordType::HTTPS, RecordType::TXT] {
            assert_eq!(asked(&names, "a.example.", kind), (ResponseCode::NoError, vec![]));
        }
        for name in ["c.example.", "x.a.example.", "example.", "."] {
            assert_eq!(asked(&names, name, RecordType::A), (ResponseCode::NXDomain, vec![]));
        }
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let names = Names::default();
        let response = Message::response(1, OpCode::Query).to_vec().unwrap();
        for bytes in [&[][..], &[0; 12][..4], b"GET / HTTP/1.1\r\n\r\n", &response] {
            assert_eq!(names.answer(bytes), None);
        }
        let none = Message::query().to_vec().unwrap();
        let answer = Message::from_vec(&names.answer(&none).unwrap()).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    }

    #[test]
    fn b08_what_is_asked_for_in_vain_is_told_once_and_only_if_it_can_be_written() {
        let names = Names::default();
        names.insert("docs.example");
        for name in [".", "docs.example.", "telemetry.example.", "TELEMETRY.example."] {
            asked(&names, name, RecordType::A);
        }
        names.miss("a\r\nb.example");
        assert_eq!(names.take_unresolved(), HashSet::from(["telemetry.example".to_owned()]));
        for number in 0..100 {
            asked(&names, &format!("{number}.example."), RecordType::AAAA);
        }
        assert_eq!(names.take_unresolved().len(), MAX_UNRESOLVED);
        assert!(names.take_unresolved().is_empty());
    }

    #[test]
    fn what_a_rule_names_by_the_time_it_would_be_told_is_not() {
        let names = Names::default();
        for name in ["docs.example.", "telemetry.example."] {
            asked(&names, name, RecordType::A);
        }
        names.insert("docs.example");
        assert_eq!(names.take_unresolved(), HashSet::from(["telemetry.example".to_owned()]));
    }

    #[tokio::test]
    async fn who_connects_and_asks_nothing_keeps_nobody_waiting() {
        let names = Arc::new(Names::default());
        names.insert("a.example");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(names.serve_tcp(listener));
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let query = query("a.example.", RecordType::A).to_vec().unwrap();
        let length = u16::try_from(query.len()).unwrap();
        stream.write_all(&[&length.to_be_bytes()[..], query.as_slice()].concat()).await.unwrap();
        let length = timeout(PATIENCE / 2, stream.read_u16()).await.expect("it waits").unwrap();
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1);
    }

    #[test]
    fn names_are_bounded() {
        let names = Names::default();
        for number in 0..MAX_NAMES {
            assert!(names.insert(&format!("{number}.example")).is_some());
        }
        assert_eq!(names.insert("more.example"), None);
        assert_eq!(names.insert("4095.example"), Some([127, 64, 16, 0].into()));
    }
}
