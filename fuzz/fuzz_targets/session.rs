//! What an SSH client asks of a session: only variables that sessions may set, and only modes of a terminal that it named. An input is
//! the modes as they are encoded, and lines of variables.

#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use russh::Pty;
use rustix::{
    fd::OwnedFd,
    pty::{OpenptFlags, openpt},
    termios::{ControlModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};

use crate::{modes::apply, parts::parts, variables::Variables};

#[path = "../../operator/agent/src/session/modes.rs"]
mod modes;
mod parts;
#[path = "../../operator/agent/src/server/variables.rs"]
mod variables;

static TERMINAL: LazyLock<(OwnedFd, Termios)> = LazyLock::new(|| {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    let modes = tcgetattr(&terminal).expect("its modes");
    (terminal, modes)
});

fuzz_target!(|bytes: &[u8]| {
    let [modes, variables] = parts(bytes);
    terminal(modes);
    environment(variables);
});

fn terminal(encoded: &[u8]) {
    let modes: Vec<(Pty, u32)> = encoded
        .chunks_exact(5)
        .filter_map(|mode| Some((Pty::from_u8(mode[0])?, u32::from_be_bytes(mode[1..].try_into().ok()?))))
        .collect();
    let (terminal, before) = &*TERMINAL;
    let mut after = before.clone();
    apply(&modes, &mut after);
    // The last one of each counts, in whichever order.
    let last: BTreeMap<u8, (Pty, u32)> = modes.iter().map(|mode| (mode.0 as u8, *mode)).collect();
    let mut sorted = before.clone();
    apply(&last.values().copied().collect::<Vec<_>>(), &mut sorted);
    assert_eq!(numbers(&sorted), numbers(&after));
    // One by one, nothing but what is named changes.
    for (mode, value) in last.values() {
        let mut without = after.clone();
        apply(&[(*mode, u32::from(*value == 0))], &mut without);
        apply(&[(*mode, *value)], &mut without);
        assert_eq!(numbers(&without), numbers(&after), "{mode:?}");
    }
    tcsetattr(terminal, OptionalActions::Now, &after).expect("a terminal takes it");
    let mut taken = tcgetattr(terminal).expect("its modes");
    // A pseudo-terminal has eight bits and no parity.
    let fixed = ControlModes::CSIZE | ControlModes::PARENB | ControlModes::CREAD;
    taken.control_modes = (taken.control_modes - fixed) | (after.control_modes & fixed);
    assert_eq!(numbers(&taken), numbers(&after), "it is as it was asked to be");
}

fn numbers(termios: &Termios) -> ([u32; 4], String) {
    let Termios { input_modes, output_modes, control_modes, local_modes, special_codes, .. } = termios;
    let flags = [input_modes.bits(), output_modes.bits(), control_modes.bits(), local_modes.bits()];
    (flags, format!("{special_codes:?}"))
}

fn environment(lines: &[u8]) {
    let lines = String::from_utf8_lossy(lines);
    let mut variables = Variables::default();
    for line in lines.split('\n') {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let is_named = matches!(name, "LANG" | "TERM" | "COLORTERM") || name.starts_with("LC_");
        let is_fit = name.len() + value.len() <= 4_096 && variables.as_slice().len() < 64;
        let is_text = !line.contains('\0') && !name.contains('=');
        assert_eq!(variables.set(name, value), is_named && is_fit && is_text, "{line:?}");
    }
    for (name, value) in variables.as_slice() {
        assert!(lines.contains(name.as_str()) && lines.contains(value.as_str()));
    }
}
