//! The names that lead out, for programs that know of no proxy: a name server (RFC 1035) on the pod's loopback, which gives each
//! name an address of its own there. Nothing is asked of anybody: what no rule names does not exist.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Notify,
    time::timeout,
};

/// Where programs look for a name server (RFC 1035 §4.2).
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// The first address that a name gets. What is below belongs to whoever listens on the loopback by himself.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 1);
/// Names at most: more than a class can have.
const MAX_NAMES: usize = 4_096;
/// Names that are told to have been asked for in vain, at a time.
const MAX_IN_VAIN: usize = 8;
/// Longest name (RFC 1035 §3.1), as text.
const MAX_NAME: usize = 253;
/// Seconds for which an answer holds. An address stays its name's, so that this matters little.
const TTL: u32 = 5;
/// Largest query over UDP.
const MAX_DATAGRAM: usize = 4_096;
const PATIENCE: Duration = Duration::from_secs(5);

/// Names and their addresses. A name keeps its address as long as the pod lives.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<HashMap<String, Ipv4Addr>>,
    missed: Notify,
    /// Names that were asked for in vain and not taken yet.
    in_vain: Mutex<HashSet<String>>,
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

    /// Takes the names that were asked for in vain since the last time.
    pub fn take_in_vain(&self) -> HashSet<String> {
        std::mem::take(&mut *lock(&self.in_vain))
    }

    fn miss(&self, name: &str) {
        let mut names = lock(&self.in_vain);
        if names.len() < MAX_IN_VAIN && is_speakable(name) {
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

    /// Answers datagrams.
    pub async fn serve_udp(&self, socket: UdpSocket) {
        let mut query = vec![0; MAX_DATAGRAM];
        loop {
            // What could not be received or sent is lost, as datagrams are.
            let Ok((length, peer)) = socket.recv_from(&mut query).await else { continue };
            if let Some(answer) = self.answer(query.get(..length).unwrap_or_default()) {
                socket.send_to(&answer, peer).await.ok();
            }
        }
    }

    /// Answers connections, one query each and one after another: hardly anybody makes one.
    pub async fn serve_tcp(&self, listener: TcpListener) {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                timeout(PATIENCE, self.converse(stream)).await.ok();
            }
        }
    }

    /// A message over TCP has its length before it (RFC 1035 §4.2.2).
    async fn converse(&self, mut stream: TcpStream) -> Option<()> {
        let length = stream.read_u16().await.ok()?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await.ok()?;
        let answer = self.answer(&query)?;
        let mut message = u16::try_from(answer.len()).ok()?.to_be_bytes().to_vec();
        message.extend(answer);
        stream.write_all(&message).await.ok()
    }
}

/// Whether a name may stand in a line that the agent writes.
fn is_speakable(name: &str) -> bool {
    name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use hickory_proto::{op::Query, rr::Name};

    use super::*;

    fn asked(names: &Names, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
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
        for name in ["docs.example.", "telemetry.example.", "TELEMETRY.example."] {
            asked(&names, name, RecordType::A);
        }
        names.miss("a\r\nb.example");
        assert_eq!(names.take_in_vain(), HashSet::from(["telemetry.example".to_owned()]));
        for number in 0..100 {
            asked(&names, &format!("{number}.example."), RecordType::AAAA);
        }
        assert_eq!(names.take_in_vain().len(), MAX_IN_VAIN);
        assert!(names.take_in_vain().is_empty());
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
