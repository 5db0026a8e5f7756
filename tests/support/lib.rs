//! What the tests of the whole system share: the lab, a namespace for each test, the `ws` command with a home of its own,
//! and what to print when a test fails.

pub mod api_proxy;
pub mod audit;
pub mod class;
pub mod command;
pub mod corpus;
pub mod diagnostics;
pub mod lab;
pub mod namespace;
pub mod pod;
pub mod probe;
pub mod project;
pub mod raw;
pub mod redteam;
pub mod spelling;
pub mod stock;
pub mod tunnel;
pub mod unconfined;
pub mod user;
pub mod wait;
pub mod ws;
