//! What the agent's own services answer, within bounds: what a pod sends is never kept without a limit.

use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf};
use tokio::sync::mpsc;

use crate::error::Error;

/// Longest complaint that is kept.
const COMPLAINT: usize = 1 << 10;

/// A service's answer, read to its end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    output: Vec<u8>,
    complaint: Vec<u8>,
    code: Option<u32>,
}

impl Answer {
    /// What it wrote to its standard output.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// The exit code, if there was one.
    pub fn code(&self) -> Option<u32> {
        self.code
    }

    /// What went wrong, in the pod's words, if something did.
    pub fn complaint(&self) -> Option<String> {
        if self.code == Some(0) {
            return None;
        }
        let words = String::from_utf8_lossy(&self.complaint).trim().to_owned();
        Some(if words.is_empty() { "it ended without an answer".to_owned() } else { words })
    }
}

/// Reads an answer of at most `limit` bytes; more is an error.
pub async fn answer(reader: &mut ChannelReadHalf, limit: usize) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    while let Some(message) = reader.wait().await {
        if answer.take(message, limit)? {
            break;
        }
    }
    Ok(answer)
}

/// Passes a long output on as it comes, at the receiver's pace; a receiver that is gone is passed nothing more.
pub async fn stream(reader: &mut ChannelReadHalf, output: mpsc::Sender<Bytes>) -> Answer {
    let mut answer = Answer::default();
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                if output.send(data).await.is_err() {
                    break;
                }
            }
            message => {
                if answer.note(message) {
                    break;
                }
            }
        }
    }
    answer
}

impl Answer {
    /// Takes one message of an answer of at most `limit` bytes; whether that was the last of it.
    pub fn take(&mut self, message: ChannelMsg, limit: usize) -> Result<bool, Error> {
        match message {
            ChannelMsg::Data { data } if self.output.len() + data.len() <= limit => {
                self.output.extend_from_slice(&data);
                Ok(false)
            }
            ChannelMsg::Data { .. } => Err(Error::lost("the agent says more than it should")),
            message => Ok(self.note(message)),
        }
    }

    /// Takes what is not output; whether that was the last of it.
    fn note(&mut self, message: ChannelMsg) -> bool {
        match message {
            ChannelMsg::ExtendedData { data, .. } => {
                let room = COMPLAINT.saturating_sub(self.complaint.len());
                self.complaint.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
            }
            ChannelMsg::ExitStatus { exit_status } => self.code = Some(exit_status),
            ChannelMsg::Failure => {
                self.complaint = b"it refuses; a project is received only once".to_vec();
                return true;
            }
            ChannelMsg::Close => return true,
            _ => {}
        }
        false
    }
}
