use super::*;
use crate::testing::{CREATED, KEY, class, time, workspace};

fn asking(change: impl FnOnce(&mut ws_api::workspace::WorkspaceSpec)) -> Result<Validated, Reason> {
    let mut workspace = workspace();
    change(&mut workspace.spec);
    validate(&workspace, &class()).map_err(|invalid| Cause::from(invalid).reason)
}

fn hours(hours: u64) -> kube::core::Duration {
    Duration::from_hours(hours).into()
}

#[test]
fn a_plain_workspace_gets_what_its_class_says() {
    let valid = asking(|_| ()).unwrap();
    assert_eq!(valid.image.to_string(), "ghcr.io/ws-dev/workspace:1");
    assert_eq!(valid.expires_at, time(CREATED) + Duration::from_hours(4));
    assert_eq!(valid.idle, Duration::from_mins(30));
    assert_eq!(valid.owner.controller, Some(true));
}

#[test]
fn a_workspace_is_held_to_its_class() {
    type Change = fn(&mut ws_api::workspace::WorkspaceSpec);
    let cases: [(&str, Change, Option<Reason>); 12] = [
        ("an allowed image", |s| s.image = Some("ghcr.io/acme/app:2".into()), None),
        ("the class's own image", |s| s.image = Some("ghcr.io/ws-dev/workspace:1".into()), None),
        (
            "another tag of it",
            |s| s.image = Some("ghcr.io/ws-dev/workspace:2".into()),
            Some(Reason::ImageNotAllowed),
        ),
        ("another image", |s| s.image = Some("ghcr.io/acme-evil/app".into()), Some(Reason::ImageNotAllowed)),
        ("no image at all", |s| s.image = Some("ghcr.io/ACME/app".into()), Some(Reason::InvalidImage)),
        ("a rule of the class", |s| s.egress = Some(vec!["docs".into()]), None),
        ("no rules", |s| s.egress = Some(vec![]), None),
        (
            "an unknown rule",
            |s| s.egress = Some(vec!["docs".into(), "x".into()]),
            Some(Reason::UnknownEgressRule),
        ),
        ("the longest lifetime", |s| s.lifetime = Some(hours(24)), None),
        ("a longer one", |s| s.lifetime = Some(hours(25)), Some(Reason::LifetimeTooLong)),
        (
            "an RSA key",
            |s| s.ssh_public_keys.push("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==".into()),
            Some(Reason::InvalidKey),
        ),
        (
            "a broken key",
            |s| s.ssh_public_keys = vec![KEY.replace("AAAAC3", "AAAAC4")],
            Some(Reason::InvalidKey),
        ),
    ];
    for (what, change, expected) in cases {
        assert_eq!(asking(change).err(), expected, "{what}");
    }
}

#[test]
fn a_workspace_without_a_class_name_gets_the_one_default() {
    let mut unnamed = workspace();
    unnamed.spec.class_name = None;
    let named = |name: &str, default: &str| {
        let mut class = class();
        class.metadata.name = Some(name.into());
        class.annotations_mut().insert(DEFAULT_CLASS_ANNOTATION.into(), default.into());
        Arc::new(class)
    };
    let (a, b, c) = (named("a", "true"), named("b", "false"), named("c", "true"));
    assert_eq!(class_of(&unnamed, &[b.clone(), a.clone()]), Ok(a.clone()));
    assert_eq!(class_of(&unnamed, std::slice::from_ref(&b)), Err(Invalid::NoDefaultClass));
    assert_eq!(
        class_of(&unnamed, &[c, a.clone()]),
        Err(Invalid::ManyDefaultClasses(vec!["`a`".into(), "`c`".into()]))
    );
    assert_eq!(class_of(&workspace(), &[a, b]), Err(Invalid::ClassNotFound("default".into())));
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let messages: Vec<String> = [
        Invalid::ClassNotFound("x".into()),
        Invalid::NoDefaultClass,
        Invalid::ImageNotAllowed {
            class: "default".into(),
            image: "x".into(),
            allowed: vec!["`a`".into(), "`b/*`".into()],
        },
        Invalid::LifetimeTooLong {
            class: "default".into(),
            asked: Duration::from_hours(48),
            max: Duration::from_hours(24),
        },
        Invalid::Key(2),
    ]
    .map(|invalid| invalid.to_string())
    .into();
    insta::assert_yaml_snapshot!(messages);
}
