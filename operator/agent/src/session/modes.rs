//! Terminal modes as a client encodes them (RFC 4254 §8), put onto Linux' terminals (termios(3)).

use russh::Pty;
use rustix::termios::{ControlModes, InputModes, LocalModes, OutputModes, SpecialCodeIndex, Termios};

/// The value by which a client says that a character is switched off, and Linux' for the same.
const DISABLED: (u32, u8) = (255, 0);

/// Puts a client's modes onto a terminal. What Linux does not have is left out.
pub fn apply(modes: &[(Pty, u32)], termios: &mut Termios) {
    for (mode, value) in modes {
        if let Some(index) = character(*mode) {
            let code =
                if *value == DISABLED.0 { DISABLED.1 } else { u8::try_from(*value).unwrap_or(DISABLED.1) };
            termios.special_codes[index] = code;
        } else if let Some(flag) = flag(*mode) {
            flag.set(termios, *value != 0);
        }
    }
}

enum Flag {
    Input(InputModes),
    Local(LocalModes),
    Output(OutputModes),
    Control(ControlModes),
}

impl Flag {
    fn set(self, termios: &mut Termios, on: bool) {
        match self {
            Self::Input(flag) => termios.input_modes.set(flag, on),
            Self::Local(flag) => termios.local_modes.set(flag, on),
            Self::Output(flag) => termios.output_modes.set(flag, on),
            Self::Control(flag) => termios.control_modes.set(flag, on),
        }
    }
}

fn character(mode: Pty) -> Option<SpecialCodeIndex> {
    Some(match mode {
        Pty::VINTR => SpecialCodeIndex::VINTR,
        Pty::VQUIT => SpecialCodeIndex::VQUIT,
        Pty::VERASE => SpecialCodeIndex::VERASE,
        Pty::VKILL => SpecialCodeIndex::VKILL,
        Pty::VEOF => SpecialCodeIndex::VEOF,
        Pty::VEOL => SpecialCodeIndex::VEOL,
        Pty::VEOL2 => SpecialCodeIndex::VEOL2,
        Pty::VSTART => SpecialCodeIndex::VSTART,
        Pty::VSTOP => SpecialCodeIndex::VSTOP,
        Pty::VSUSP => SpecialCodeIndex::VSUSP,
        Pty::VREPRINT => SpecialCodeIndex::VREPRINT,
        Pty::VWERASE => SpecialCodeIndex::VWERASE,
        Pty::VLNEXT => SpecialCodeIndex::VLNEXT,
        Pty::VDISCARD => SpecialCodeIndex::VDISCARD,
        _ => return None,
    })
}

fn flag(mode: Pty) -> Option<Flag> {
    use Flag::{Control, Input, Local, Output};
    Some(match mode {
        Pty::IGNPAR => Input(InputModes::IGNPAR),
        Pty::PARMRK => Input(InputModes::PARMRK),
        Pty::INPCK => Input(InputModes::INPCK),
        Pty::ISTRIP => Input(InputModes::ISTRIP),
        Pty::INLCR => Input(InputModes::INLCR),
        Pty::IGNCR => Input(InputModes::IGNCR),
        Pty::ICRNL => Input(InputModes::ICRNL),
        Pty::IXON => Input(InputModes::IXON),
        Pty::IXANY => Input(InputModes::IXANY),
        Pty::IXOFF => Input(InputModes::IXOFF),
        Pty::IMAXBEL => Input(InputModes::IMAXBEL),
        Pty::IUTF8 => Input(InputModes::IUTF8),
        Pty::ISIG => Local(LocalModes::ISIG),
        Pty::ICANON => Local(LocalModes::ICANON),
        Pty::ECHO => Local(LocalModes::ECHO),
        Pty::ECHOE => Local(LocalModes::ECHOE),
        Pty::ECHOK => Local(LocalModes::ECHOK),
        Pty::ECHONL => Local(LocalModes::ECHONL),
        Pty::NOFLSH => Local(LocalModes::NOFLSH),
        Pty::TOSTOP => Local(LocalModes::TOSTOP),
        Pty::IEXTEN => Local(LocalModes::IEXTEN),
        Pty::ECHOCTL => Local(LocalModes::ECHOCTL),
        Pty::ECHOKE => Local(LocalModes::ECHOKE),
        Pty::OPOST => Output(OutputModes::OPOST),
        Pty::ONLCR => Output(OutputModes::ONLCR),
        Pty::OCRNL => Output(OutputModes::OCRNL),
        Pty::ONOCR => Output(OutputModes::ONOCR),
        Pty::ONLRET => Output(OutputModes::ONLRET),
        Pty::PARENB => Control(ControlModes::PARENB),
        Pty::PARODD => Control(ControlModes::PARODD),
        _ => return None,
    })
}
