//! Decisions as a gateway writes them, a line each, and as people read them. Whoever writes them is not trusted. Pure.

use ws_api::gateway::Decided;

use crate::units;

/// The longest line that a gateway writes, in bytes.
const MAX_LINE: usize = 16 << 10;

/// Lines that come in pieces.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

/// It is no line of a gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unreadable;

impl Lines {
    /// What is complete with this piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Decided>, Unreadable> {
        self.0.extend_from_slice(piece);
        let end = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let rest = self.0.split_off(end);
        let whole = std::mem::replace(&mut self.0, rest);
        // A line is as long as it is, however it comes.
        if self.0.len() > MAX_LINE {
            return Err(Unreadable);
        }
        let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(read).collect()
    }
}

fn read(line: &[u8]) -> Result<Decided, Unreadable> {
    if line.len() > MAX_LINE {
        return Err(Unreadable);
    }
    serde_json::from_slice(line).map_err(|_| Unreadable)
}

/// One decision, for people. The host is hostile: whoever prints it escapes it.
pub fn line(decided: &Decided) -> String {
    let Decided { ts, decision, method, host, port, path, status, reason, rule, .. } = decided;
    let time = ts.split(['T', '.']).nth(1).unwrap_or(ts);
    let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
    let what = format!("{method} {host}{port}{}", path.as_deref().unwrap_or_default());
    let mut parts = vec![format!("{time}  {decision:<7}  {what}")];
    parts.extend(status.map(|status| status.to_string()));
    parts.extend(reason.clone());
    parts.extend(rule.as_ref().map(|rule| format!("rule {rule}")));
    if decision == "allowed" {
        let (sent, received) = (units::bytes(decided.sent_bytes), units::bytes(decided.received_bytes));
        parts.push(format!("sent {sent}, received {received}, {} ms", decided.milliseconds));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &str = r#"{"ts":"2026-11-22T08:00:01.250Z","seq":1,"decision":"allowed","count":1,"rule":"anthropic","method":"POST","host":"api.anthropic.com","port":443,"path":"/v1/messages","status":200,"credential":true,"sentBytes":2048,"receivedBytes":512,"milliseconds":812,"source":"10.0.0.1"}"#;
    const DENIED: &str = r#"{"ts":"2026-11-22T08:00:02.000Z","seq":2,"decision":"denied","count":1,"reason":"host-not-allowed","method":"CONNECT","host":"telemetry.example","port":8443}"#;

    #[test]
    fn decisions_read_as_lines_whichever_way_they_are_cut() {
        let all = format!("{ALLOWED}\n{DENIED}\n");
        for cut in 0..all.len() {
            let (first, second) = all.as_bytes().split_at(cut);
            let mut lines = Lines::default();
            let mut decided = lines.push(first).unwrap();
            decided.extend(lines.push(second).unwrap());
            let shown: Vec<_> = decided.iter().map(line).collect();
            assert_eq!(
                shown,
                [
                    "08:00:01  allowed  POST api.anthropic.com/v1/messages  200  rule anthropic  sent 2.0 kB, received 512 B, 812 ms",
                    "08:00:02  denied   CONNECT telemetry.example:8443  host-not-allowed",
                ]
            );
        }
    }

    #[test]
    fn what_is_no_line_of_a_gateway_is_an_error_and_not_kept() {
        assert_eq!(Lines::default().push(b"no\n"), Err(Unreadable));
        assert_eq!(Lines::default().push(&vec![b' '; MAX_LINE + 1]), Err(Unreadable));
    }

    #[test]
    fn a_line_is_too_long_whether_it_comes_at_once_or_not() {
        let padded = |length: usize| {
            let (start, end) = ALLOWED.split_at(1);
            format!("{start}{end:>width$}\n", width = length - start.len())
        };
        for (line, is_read) in [(padded(MAX_LINE), true), (padded(MAX_LINE + 1), false)] {
            for cut in [0, 1, MAX_LINE, line.len() - 1, line.len()] {
                let (first, second) = line.as_bytes().split_at(cut);
                let mut lines = Lines::default();
                let decided = lines.push(first).and_then(|_| lines.push(second));
                assert_eq!(decided.is_ok(), is_read, "{} cut at {cut}", line.len());
            }
        }
    }
}
