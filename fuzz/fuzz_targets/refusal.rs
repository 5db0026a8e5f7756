//! What the reader of ages needs of the gateway.

use std::time::Duration;

#[derive(Debug)]
pub enum Refusal {
    NoAge { rule: String },
    TooNew { rule: String, since: String, minimum: Duration },
}
