//! What a pod's own services answer: bounded, and told as they said it.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use russh::ChannelMsg;

use crate::subsystem::Answer;

#[allow(dead_code)]
#[path = "../../cli/src/error.rs"]
mod error;
#[allow(dead_code)]
#[path = "../../cli/src/subsystem.rs"]
mod subsystem;

/// What the errors need of the command.
mod interrupt {
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Signal;

    impl Signal {
        pub fn exit_code(self) -> u8 {
            130
        }
    }
}

const LIMIT: usize = 256;
const COMPLAINT: usize = 1 << 10;

#[derive(Arbitrary, Debug)]
enum Said {
    Output(Vec<u8>),
    Complaint { code: u32, words: Vec<u8> },
    Exit(u32),
    Eof,
    Success,
    Failure,
    Close,
}

impl Said {
    fn message(&self) -> ChannelMsg {
        match self {
            Self::Output(data) => ChannelMsg::Data { data: data.clone().into() },
            Self::Complaint { code, words } => {
                ChannelMsg::ExtendedData { data: words.clone().into(), ext: *code }
            }
            Self::Exit(code) => ChannelMsg::ExitStatus { exit_status: *code },
            Self::Eof => ChannelMsg::Eof,
            Self::Success => ChannelMsg::Success,
            Self::Failure => ChannelMsg::Failure,
            Self::Close => ChannelMsg::Close,
        }
    }
}

fuzz_target!(|said: Vec<Said>| {
    let (mut answer, mut output, mut words, mut code) = (Answer::default(), Vec::new(), Vec::new(), None);
    for said in said {
        let taken = answer.take(said.message(), LIMIT);
        let mut is_last = false;
        match &said {
            Said::Output(data) => output.extend(data),
            Said::Complaint { words: more, .. } => words.extend(more),
            Said::Exit(exit) => code = Some(*exit),
            Said::Eof | Said::Success => {}
            Said::Failure => {
                words = b"it refuses; a project is received only once".to_vec();
                is_last = true;
            }
            Said::Close => is_last = true,
        }
        let Ok(taken) = taken else {
            assert!(output.len() > LIMIT, "it fits");
            return;
        };
        assert_eq!(taken, is_last);
        if is_last {
            break;
        }
    }
    assert_eq!((answer.output(), answer.code()), (output.as_slice(), code));
    assert!(output.len() <= LIMIT);
    let complaint = answer.complaint();
    assert_eq!(complaint.is_none(), code == Some(0));
    if let Some(complaint) = complaint {
        words.truncate(COMPLAINT);
        let expected = String::from_utf8_lossy(&words);
        let expected = Some(expected.trim()).filter(|words| !words.is_empty());
        assert_eq!(complaint, expected.unwrap_or("it ended without an answer"));
    }
});
