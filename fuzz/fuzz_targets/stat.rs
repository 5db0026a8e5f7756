//! Processes that call themselves whatever they like: what they use is read all the same.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use crate::stat::parse;

#[path = "../../operator/agent/src/idle/stat.rs"]
mod stat;

#[derive(Arbitrary, Debug)]
struct Process {
    /// User, system, and that of ended children.
    times: [u32; 4],
    began: u64,
    name: Vec<u8>,
}

fuzz_target!(|process: Process| {
    let Process { times, began, name } = process;
    let [user, system, children @ ..] = times.map(u64::from);
    let children = children.iter().sum::<u64>();
    let numbers = times.map(|time| time.to_string()).join(" ");
    let rest = format!(") S 1 7 7 0 -1 4194304 1 2 3 4 {numbers} 20 0 1 0 {began} 0\n");
    let stat = [b"7 (", name.as_slice(), rest.as_bytes()].concat();
    assert_eq!(parse(&stat, false), Some((began, user + system + children)));
    assert_eq!(parse(&stat, true), Some((began, children)));
    // And if it was all of it.
    let _ = parse(&name, false);
});
