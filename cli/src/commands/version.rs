//! `ws version`.

use serde::Serialize;

use super::Context;
use crate::error::Error;

/// Print the version
#[derive(Debug, clap::Args)]
pub struct Args {}

/// The JSON of `ws version`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    api_version: String,
}

pub fn run(_: &Args, context: &Context) -> Result<u8, Error> {
    let version =
        Version { version: env!("CARGO_PKG_VERSION"), api_version: format!("{}/v1alpha1", ws_api::GROUP) };
    if context.ui.json() {
        context.ui.json_result(&version)?;
    } else {
        context.ui.result(&format!("ws {} ({})", version.version, version.api_version))?;
    }
    Ok(0)
}
