//! x
pub struct Applied;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ApplyError;
pub fn apply() {}
