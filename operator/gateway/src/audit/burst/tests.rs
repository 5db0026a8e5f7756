use super::*;

const DENIAL: Entry<'_> = Entry {
    decision: Decision::Denied,
    rule: None,
    reason: Some(Reason::HostNotAllowed),
    sends: false,
    traffic: Traffic { sent_bytes: 0, received_bytes: 0 },
};
const READ: Entry<'_> = Entry {
    decision: Decision::Allowed,
    rule: Some("docs"),
    reason: None,
    sends: false,
    traffic: Traffic { sent_bytes: 100, received_bytes: 2_000 },
};

/// A request that sends as much by this rule.
fn sent(rule: &str, sent_bytes: u64) -> Entry<'_> {
    Entry { rule: Some(rule), sends: true, traffic: Traffic { sent_bytes, received_bytes: 10 }, ..READ }
}

/// Admits so many decisions at once; how many of them get a line.
fn written(burst: &mut Burst, entry: Entry<'_>, count: u32, now: Instant) -> u32 {
    (0..count).map(|_| u32::from(matches!(burst.admit(entry, now), Admission::Write { .. }))).sum()
}

#[test]
fn a_flood_gets_a_burst_and_then_a_line_a_second_and_all_is_counted() {
    let (mut burst, start) = (Burst::default(), Instant::now());
    let (mut written, mut held) = (0, 0);
    let mut is_first = true;
    for millisecond in 0..10_000 {
        match burst.admit(DENIAL, start + Duration::from_millis(millisecond)) {
            Admission::Write { seq } => {
                written += 1;
                assert_eq!(seq, millisecond + 1);
            }
            Admission::Hold { seq, first } => {
                assert_eq!((seq, first), (millisecond + 1, is_first));
                is_first = false;
            }
        }
        if millisecond % 1_000 == 999 {
            held += burst.release(Decision::Denied).sums.iter().map(|sum| sum.count).sum::<u64>();
            is_first = true;
        }
    }
    assert_eq!((written, held), (u64::from(DENIED.lines) + 9, 10_000 - u64::from(DENIED.lines) - 9));
    assert_eq!(burst.release(Decision::Denied), Held { sums: Vec::new(), seq: 10_000 });
}

#[test]
fn a_quiet_workspace_gets_its_burst_back() {
    let (mut burst, start) = (Burst::default(), Instant::now());
    assert_eq!(written(&mut burst, DENIAL, DENIED.lines * 2, start), DENIED.lines);
    let later = start + REFILL * DENIED.lines * 2;
    assert_eq!(written(&mut burst, DENIAL, DENIED.lines * 2, later), DENIED.lines);
}

#[test]
fn no_flood_takes_a_line_from_what_is_of_another_kind() {
    let (mut burst, now) = (Burst::default(), Instant::now());
    for (entry, lines) in [(DENIAL, DENIED.lines), (READ, READING.lines), (sent("model", 100), SENDING.lines)]
    {
        assert_eq!(written(&mut burst, entry, lines * 2, now), lines, "{entry:?}");
    }
}

#[test]
fn what_sends_much_has_its_line_after_any_flood() {
    let (mut burst, now) = (Burst::default(), Instant::now());
    written(&mut burst, READ, READING.lines * 2, now);
    written(&mut burst, sent("model", 100), SENDING.lines * 2, now);
    assert_eq!(written(&mut burst, sent("model", MUCH), 100, now), 100);
    assert_eq!(written(&mut burst, sent("model", MUCH - 1), 100, now), 0);
    // What no rule lets send more than a head is bounded by the lines alone.
    let traffic = Traffic { sent_bytes: MUCH, received_bytes: 0 };
    assert_eq!(written(&mut burst, Entry { traffic, ..READ }, 100, now), 0);
}

#[test]
fn what_is_held_is_summed_up_by_rule_and_reason() {
    let (mut burst, now) = (Burst::default(), Instant::now());
    for (entry, lines) in [(READ, READING.lines), (sent("model", 100), SENDING.lines), (DENIAL, DENIED.lines)]
    {
        written(&mut burst, entry, lines, now);
    }
    let cut = Entry { reason: Some(Reason::Revoked), ..READ };
    for (entry, count) in [(READ, 3), (sent("model", 100), 2), (READ, 1), (cut, 1), (DENIAL, 5)] {
        written(&mut burst, entry, count, now);
    }
    let sum = |rule: Option<&str>, reason, count, sent_bytes, received_bytes| Sum {
        rule: rule.map(str::to_owned),
        reason,
        count,
        traffic: Traffic { sent_bytes, received_bytes },
    };
    assert_eq!(
        burst.release(Decision::Allowed).sums,
        [
            sum(Some("docs"), None, 4, 400, 8_000),
            sum(Some("model"), None, 2, 200, 20),
            sum(Some("docs"), Some(Reason::Revoked), 1, 100, 2_000),
        ]
    );
    assert_eq!(burst.release(Decision::Denied).sums, [sum(None, Some(Reason::HostNotAllowed), 5, 0, 0)]);
}
