//! What is too long, or cannot come.

use super::*;

#[test]
fn what_cannot_be_brought_back_is_told_wherever_changes_are() {
    let session = Session::begin(|root| {
        write(root, "hidden", b"x\n");
        write(root, "torn", b"x\n");
    });
    let pod = session.pod.path();
    symlink("/etc/passwd", pod.join("outside")).unwrap();
    let (unpulled, patch) = session.patch();
    let outside = "outside (a symbolic link that leads out of the project)";
    assert_eq!(unpulled, Unpulled { paths: 0, missing: vec![outside.to_owned()] });
    assert_eq!(String::from_utf8(patch).unwrap(), format!("# not in this patch: {outside}\n"));

    write(pod, "torn", b"y\n");
    let mut changes = session.changes();
    let at = |path: &str| TreePath::parse(path.as_bytes()).unwrap();
    changes.altered = BTreeSet::from([at("torn"), at("elsewhere")]);
    changes.reverted = vec![at("hidden")];
    let difference = diff(session.laptop.path(), &changes).unwrap();
    assert!(!difference.is_empty());
    insta::assert_snapshot!(difference.remarks().join("\n"), @r"
    ! cannot be brought back: outside (a symbolic link that leads out of the project)
    ! cannot be brought back: hidden (no longer changed in the workspace; what was pulled of it is still here)
    ! torn (changed while it was read: perhaps neither the old content nor the new)
    ");
    let report = serde_json::to_value(difference.report().unwrap()).unwrap();
    assert_eq!(report["unsupported"][1]["path"], "hidden");
    assert_eq!(report["altered"], serde_json::json!(["torn"]));
    let mut patch = Vec::new();
    let unpulled = unpulled_patch(session.laptop.path(), &changes, &mut patch).unwrap();
    assert_eq!((unpulled.paths, unpulled.missing.len()), (1, 3));
    let notes = String::from_utf8(patch).unwrap();
    assert!(notes.starts_with("# careful with torn (changed while it was read"), "{notes}");
}

#[test]
fn content_that_is_too_long_to_compare_is_passed_on_in_pieces() {
    let length = usize::try_from(sides::LONGEST).unwrap() + 1;
    let text = |line: &str| line.repeat(length.div_ceil(line.len())).into_bytes();
    let mut numbers = Numbers(7);
    let noise: Vec<u8> = (0..length).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect();
    let session = Session::begin(|root| {
        write(root, "edited", &text("old\n"));
        write(root, "gone", &noise);
        write(root, "tool", &noise);
        write(root, "shrunk", &noise);
    });
    let pod = session.pod.path();
    write(pod, "edited", &text("new\n"));
    write(pod, "noise", &noise);
    fs::remove_file(pod.join("gone")).unwrap();
    make_executable(pod, "tool");
    write(pod, "shrunk", b"short\n");
    let changes = session.changes();
    let difference = diff(session.laptop.path(), &changes).unwrap();
    insta::assert_snapshot!(difference.stat().unwrap().join("\n"), @r"
    edited | binary 2097156 -> 2097156 bytes
    gone   | gone binary 2097153 -> 0 bytes
    noise  | new binary 0 -> 2097153 bytes
    shrunk | binary 2097153 -> 6 bytes
    tool   | binary 2097153 -> 2097153 bytes [held back: it becomes executable]
    ");
    let mut lines = Vec::new();
    difference
        .text(&mut |line| {
            lines.push(line.to_owned());
            Ok(())
        })
        .unwrap();
    assert!(lines.contains(&"too large to show: 2097156 bytes before, 2097156 now".to_owned()), "{lines:?}");
    assert_eq!(lines.len(), 14, "{lines:?}");
    apply_with_git(&session);
    assert_eq!(snapshot(session.laptop.path()), snapshot(session.pod.path()));
}
