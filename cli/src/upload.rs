//! The project on its way into the workspace. Reading and packing begin at once and run while the pod starts.

mod spool;

use std::{collections::BTreeSet, io, path::PathBuf, pin::pin, thread};

use russh::{ChannelWriteHalf, client::Msg};
use tokio::sync::oneshot;
use ws_api::ssh::RECEIVE_SUBSYSTEM;
use ws_ssh::Gate;
use ws_tree::{Receipt, SendOptions, Sent, TreePath, send};

use crate::{
    error::{Error, chain},
    project::{self, Selection},
    ssh::Connection,
    subsystem::{self, Answer},
    ui::Ui,
    units,
};
use spool::{Source, spool};

/// Longest answer of an agent that is kept; its receipt is much shorter.
const ANSWER: usize = 4 << 10;

/// A project that is being packed.
pub struct Upload {
    source: Source,
    packing: Packing,
}

enum Packing {
    Going(oneshot::Receiver<Result<Packed, Error>>),
    Done(Packed),
}

/// A project that was read to its end.
pub struct Packed {
    pub sent: Sent,
    selection: project::Report,
}

impl Packed {
    /// What the user should know about what was sent and what was not.
    pub fn remarks(&self) -> Vec<String> {
        let warnings = self.sent.warnings.iter().map(ToString::to_string);
        self.selection.lines().into_iter().chain(warnings).collect()
    }
}

/// A project that the workspace confirmed to have.
pub struct Uploaded {
    pub packed: Packed,
    /// Bytes that were sent: compressed.
    pub bytes: u64,
}

impl Upload {
    /// Starts to pack the project in `folder`, on a thread of its own. `include`: what is sent in any case.
    pub fn start(folder: PathBuf, include: BTreeSet<TreePath>) -> Self {
        let (sink, source) = spool();
        let (sender, packed) = oneshot::channel();
        thread::spawn(move || {
            let result =
                project::select(&folder, &include).and_then(|Selection { root, sources, report }| {
                    let sent = send(&root, &sources, sink, &SendOptions::default());
                    let sent = sent.map_err(|error| {
                        Error::user(format!("the project cannot be read: {}", chain(&error)))
                    })?;
                    Ok(Packed { sent, selection: report })
                });
            // Nobody waits for it any more if the command was interrupted.
            drop(sender.send(result));
        });
        Self { source, packing: Packing::Going(packed) }
    }

    /// Returns if and when the project cannot be packed; never otherwise.
    pub async fn broken(&mut self) -> Error {
        match self.pack().await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    }

    /// Sends the project and has it confirmed.
    pub async fn deliver(mut self, connection: &Connection, ui: &Ui) -> Result<Uploaded, Error> {
        let channel = connection.subsystem(RECEIVE_SUBSYSTEM).await?;
        let (mut reader, writer) = channel.split();
        let (gate, mut bytes) = (connection.gate(), 0);
        let mut answer = pin!(subsystem::answer(&mut reader, ANSWER));
        // An agent that refuses says so before everything is sent, and then takes no more.
        let answer = tokio::select! {
            answer = &mut answer => answer?,
            fed = self.feed(&writer, &gate, ui, &mut bytes) => {
                fed?;
                answer.await?
            }
        };
        if answer.complaint().is_some() {
            return Err(refused(&answer));
        }
        self.pack().await?;
        match self.packing {
            Packing::Done(packed) => {
                confirm(&answer, &packed.sent)?;
                Ok(Uploaded { packed, bytes })
            }
            Packing::Going(_) => Err(Error::internal("the project was confirmed before it was packed")),
        }
    }

    async fn feed(
        &mut self,
        writer: &ChannelWriteHalf<Msg>,
        gate: &Gate,
        ui: &Ui,
        bytes: &mut u64,
    ) -> Result<(), Error> {
        while let Some(chunk) = self.source.next().await.map_err(|error| spooling(&error))? {
            gate.opened().await;
            *bytes += chunk.len() as u64;
            writer.data_bytes(chunk).await.map_err(|error| Error::lost(&chain(&error)))?;
            ui.tick(&format!("sending the project: {}", units::bytes(*bytes)));
        }
        // A project that could not be packed ends too early, and why is known here.
        self.pack().await?;
        writer.eof().await.map_err(|error| Error::lost(&chain(&error)))
    }

    async fn pack(&mut self) -> Result<(), Error> {
        if let Packing::Going(packed) = &mut self.packing {
            let packed =
                packed.await.map_err(|_| Error::internal("the thread that packs the project ended"))??;
            self.packing = Packing::Done(packed);
        }
        Ok(())
    }
}

/// Whether the workspace has exactly what was sent.
fn confirm(answer: &Answer, sent: &Sent) -> Result<(), Error> {
    match Receipt::decode(answer.output()) {
        Ok(receipt) if sent.matches(&receipt) => Ok(()),
        Ok(_) => {
            Err(Error::user("the workspace did not receive the project as it was sent").hinted("try again"))
        }
        Err(error) => {
            Err(Error::user(format!("the workspace did not confirm the project: {}", chain(&error))))
        }
    }
}

fn refused(answer: &Answer) -> Error {
    let why = answer.complaint().unwrap_or_else(|| "it gave no reason".to_owned());
    Error::user(format!("the workspace did not take the project: {why}"))
}

fn spooling(error: &io::Error) -> Error {
    Error::user(format!("the packed project cannot be kept in a temporary file: {error}"))
        .hinted("make room in the folder for temporary files, or name another one with TMPDIR")
}
