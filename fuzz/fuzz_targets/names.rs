//! Queries to the name server in a pod: an answer is to what was asked, no longer than it has to be, and holds only addresses
//! that a name was given.

#![no_main]

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::RData,
};
use libfuzzer_sys::fuzz_target;

use crate::names::Names;

#[allow(dead_code)]
#[path = "../../operator/agent/src/accept.rs"]
mod accept;
#[path = "../../operator/agent/src/lock.rs"]
mod lock;
#[allow(dead_code)]
#[path = "../../operator/agent/src/names.rs"]
mod names;

/// What a record of an address takes, and what a name may grow by that was compressed.
const MOST_MORE: usize = 512;

fuzz_target!(|query: &[u8]| {
    let names = Names::default();
    let known = ["a.example", "b.example"].map(|name| names.insert(name).expect("there is room"));
    let Some(answer) = names.answer(query) else { return };
    assert!(answer.len() <= query.len() + MOST_MORE, "it amplifies");
    let (query, answer) =
        (Message::from_vec(query).expect("a query"), Message::from_vec(&answer).expect("an answer"));
    assert_eq!(query.metadata.message_type, MessageType::Query);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert_eq!(answer.metadata.id, query.metadata.id);
    if answer.metadata.response_code == ResponseCode::FormErr {
        assert_ne!(query.queries.len(), 1);
        return;
    }
    assert_eq!(answer.queries, query.queries);
    let name = query.queries[0].name().to_ascii().to_ascii_lowercase();
    let expected = match name.trim_end_matches('.') {
        "a.example" => Some(known[0]),
        "b.example" => Some(known[1]),
        _ => None,
    };
    assert!(answer.answers.len() <= 1);
    for record in &answer.answers {
        let RData::A(address) = &record.data else { panic!("{record}") };
        assert_eq!(Some(address.0), expected);
    }
    if answer.metadata.response_code == ResponseCode::NoError {
        assert!(expected.is_some(), "{name} does not exist");
    }
});
