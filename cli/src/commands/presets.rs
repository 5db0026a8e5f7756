//! `ws presets`.

use std::fmt::Write as _;

use serde::Serialize;
use ws_policy::preset::Preset;

use super::Context;
use crate::error::{Error, chain};

/// Show the reviewed lists of requests that egress rules name
///
/// Without a name: all of them, one line each. With one: what it allows, as a rule would write it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of a preset
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// A preset in the JSON of `ws presets`.
#[derive(Serialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    preset: &'static Preset,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Error> {
    let ui = &context.ui;
    match &args.name {
        None => {
            let all = Preset::names().map(named).collect::<Result<Vec<_>, _>>()?;
            if ui.json() { ui.json_result(&all)? } else { ui.result(&list(&all))? }
        }
        Some(name) => {
            let one = named(name)?;
            if ui.json() {
                ui.json_result(&one)?;
            } else {
                let yaml = serde_yaml::to_string(&one.preset);
                ui.result(yaml.map_err(|error| Error::internal(chain(&error)))?.trim_end())?;
            }
        }
    }
    Ok(0)
}

fn named(name: &str) -> Result<Named, Error> {
    let preset = Preset::named(name).ok_or_else(|| {
        Error::user(format!("there is no preset `{name}`")).hinted("`ws presets` lists them")
    })?;
    Ok(Named { name: name.to_owned(), preset })
}

fn list(all: &[Named]) -> String {
    let width = all.iter().map(|named| named.name.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for Named { name, preset } in all {
        // Writing to a string cannot fail.
        writeln!(lines, "{name:width$}  v{}  {}", preset.version, preset.summary).ok();
    }
    lines.trim_end().to_owned()
}
