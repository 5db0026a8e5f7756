//! `ws ls`.

use k8s_openapi::jiff::Timestamp;

use super::{
    Context,
    view::{Summary, table},
};
use crate::error::Error;

/// List workspaces
#[derive(Debug, clap::Args)]
pub struct Args {
    /// List all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

pub async fn run(args: &Args, context: &mut Context) -> Result<u8, Error> {
    let cluster = context.cluster().await?;
    let workspaces = context.interrupts.unless(cluster.list(args.all_namespaces)).await?;
    let mut list: Vec<Summary> = workspaces.iter().map(Summary::of).collect();
    list.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let ui = &context.ui;
    if ui.json() {
        ui.json_result(&list)?;
    } else if list.is_empty() {
        let place = if args.all_namespaces {
            String::new()
        } else {
            format!(" in namespace `{}`", cluster.namespace())
        };
        ui.note(&format!("there are no workspaces{place}"));
    } else {
        ui.result(&table(&list, args.all_namespaces, Timestamp::now()))?;
    }
    Ok(0)
}
