//! `/proc/PID/stat`, see `proc_pid_stat(5)`. Pure.

/// Start time and processor time, ended children included: a loop of short commands is work. Of the agent itself only its children
/// count.
pub fn parse(stat: &[u8], is_agent: bool) -> Option<(u64, u64)> {
    // The command's name may hold anything, also half of a character: it is cut to fifteen bytes. So it is skipped by its last
    // parenthesis; the state is the third field.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let children = field(16)?.checked_add(field(17)?)?;
    let own = if is_agent { 0 } else { field(14)?.checked_add(field(15)?)? };
    Some((field(22)?, own.checked_add(children)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &[u8], times: [u64; 4]) -> Vec<u8> {
        let [user, system, child_user, child_system] = times;
        let rest = format!(
            ") S 1 7 7 0 -1 4194304 1 2 3 4 {user} {system} {child_user} {child_system} 20 0 1 0 555 0\n"
        );
        [b"7 (", name, rest.as_bytes()].concat()
    }

    #[test]
    fn times_are_read_whatever_the_command_is_called() {
        // The last is what is left of a name of more than fifteen bytes, which ends in the middle of a character.
        let half = &"übersetzungsläufer".as_bytes()[..15];
        assert!(str::from_utf8(half).is_err());
        for name in [&b"bash"[..], b"a) S 1 (b", b"", b"x y z", b"two\nlines", b"\xff", half] {
            let read = parse(&stat(name, [1, 2, 30, 40]), false);
            assert_eq!(read, Some((555, 73)), "{}", name.escape_ascii());
        }
        assert_eq!(parse(&stat(b"ws-agent", [1, 2, 30, 40]), true), Some((555, 70)));
    }

    #[test]
    fn what_is_no_stat_is_no_process() {
        let beyond = stat(b"bash", [u64::MAX, 1, 0, 0]);
        for broken in [
            &b""[..],
            b"7 bash S",
            b"7 (bash) S 1 2",
            b"7 (bash) S x x x x x x x x x x x x x x x x x x x x",
            &beyond,
        ] {
            assert_eq!(parse(broken, false), None, "{}", broken.escape_ascii());
        }
    }
}
