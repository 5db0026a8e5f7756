//! What holds for any policy and any request, tried on random ones.

#![cfg(test)]

use std::sync::Arc;

use proptest::{
    collection::vec,
    prelude::{Strategy as _, any, prop_assert, prop_assert_eq, proptest},
    test_runner::Config,
};
use ws_api::egress::Locked;
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::{Decision, decide},
    host::Host,
    path::{Path, Query},
    request::Request,
};

mod model;
mod random;

use random::{Asked, asked, class, locked, spelled};

/// Enough to reach each of the small universe's rules from each of its requests many times.
const CASES: u32 = 4_000;

/// The rule that allows a request with its body, if one does.
fn allowed_by(
    class: &Arc<ClassPolicy>,
    (picks, locked): (&[String], &Locked),
    asked: &Asked,
) -> Option<String> {
    let policy = Policy::of(class.clone(), Some(picks)).with_locked(locked.clone().sorted().into());
    let allowed = match decide(&policy, &asked.request).ok()? {
        Decision::Allowed(allowed) => allowed,
        Decision::NeedsBody(undecided) => undecided.decide(&asked.request.host, &asked.body).ok()?,
    };
    // A body whose length nobody said is cut as it is sent.
    let max = allowed.body().map_or(0, |body| body.max);
    (asked.body.len() as u64 <= max).then(|| Some(allowed.rule().name.clone()))?
}

/// Some of a class's rules, by the bits of a number.
fn picked(class: &ClassPolicy, bits: u8) -> Vec<String> {
    let names = class.rules().map(|rule| rule.name.clone()).enumerate();
    names.filter(|(index, _)| bits & 1 << index != 0).map(|(_, name)| name).collect()
}

proptest! {
    #![proptest_config(Config { cases: CASES, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_decision_is_the_models(egress in class(), bits in any::<u8>(), locked in locked(), asked in asked()) {
        let class = Arc::new(model::compile(&egress));
        let picks = picked(&class, bits);
        let expected = model::allowed_by(&egress, (&picks, &locked), &asked);
        prop_assert_eq!(allowed_by(&class, (&picks, &locked), &asked), expected.map(str::to_owned));
    }

    #[test]
    fn a_workspace_can_only_narrow(
        egress in class(), bits in any::<u8>(), more in any::<u8>(), locked in locked(), asked in asked(),
    ) {
        let class = Arc::new(model::compile(&egress));
        let (few, many) = (picked(&class, bits), picked(&class, bits | more));
        if let Some(rule) = allowed_by(&class, (&few, &locked), &asked) {
            prop_assert!(few.contains(&rule), "by a rule that was picked");
            let alone = allowed_by(&class, (std::slice::from_ref(&rule), &locked), &asked);
            prop_assert_eq!(alone.as_ref(), Some(&rule), "which allows it alone");
            let policy = Policy::of(class.clone(), Some(&many)).with_locked(locked.clone().sorted().into());
            let by_head = decide(&policy, &asked.request);
            prop_assert!(by_head.is_ok(), "a rule more denies nothing");
            // Without a length, the first rule whose head it has takes it, and cuts it where that one says.
            if asked.has_length() {
                let before = |name: &str| class.rules().position(|rule| rule.name == name);
                let other = allowed_by(&class, (&many, &locked), &asked);
                prop_assert!(other.is_some(), "a rule more denies nothing");
                prop_assert!(before(&other.unwrap()) <= before(&rule), "the first that allows it does");
            }
        }
        prop_assert!(allowed_by(&class, (&[], &locked), &asked).is_none(), "who picks nothing reaches nothing");
    }

    #[test]
    fn a_name_more_in_the_lockfiles_denies_nothing(egress in class(), few in locked(), more in locked(), asked in asked()) {
        let class = Arc::new(model::compile(&egress));
        let all = picked(&class, u8::MAX);
        let both = |few: &[String], more: &[String]| [few, more].concat();
        let many = Locked { npm: both(&few.npm, &more.npm), go: both(&few.go, &more.go), ..Locked::default() };
        if allowed_by(&class, (&all, &few), &asked).is_some() && asked.has_length() {
            prop_assert!(allowed_by(&class, (&all, &many), &asked).is_some());
        }
    }

    #[test]
    fn what_is_decided_on_is_what_is_dialled(egress in class(), asked in asked(), choices in vec(any::<u8>(), 64)) {
        let class = Arc::new(model::compile(&egress));
        let url = asked.request.url();
        let written = spelled(&url, &choices);
        let read = Request::absolute(asked.request.method.clone(), &written.parse().unwrap(), asked.request.body);
        prop_assert_eq!(read.as_ref().map(Request::url), Ok(url), "{}", written);
        let opens_web_socket = asked.request.opens_web_socket;
        let read = Asked { request: Request { opens_web_socket, ..read.unwrap() }, body: asked.body.clone() };
        prop_assert_eq!(&read.request, &asked.request);
        let all = picked(&class, u8::MAX);
        let none = Locked::default();
        prop_assert_eq!(allowed_by(&class, (&all, &none), &read), allowed_by(&class, (&all, &none), &asked));
    }

    #[test]
    fn canonicalising_a_host_is_idempotent(written in random::host()) {
        if let Ok(host) = Host::parse(&written) {
            prop_assert_eq!(Host::parse(host.as_str()), Ok(host.clone()));
            prop_assert_eq!(Host::parse(&written.to_uppercase()), Ok(host));
        }
    }

    #[test]
    fn canonicalising_a_path_is_idempotent(written in "(/[a-z%2-7AEFaef.;:@~é ]{0,6}){1,4}") {
        if let Ok(path) = Path::parse(&written) {
            prop_assert_eq!(Path::parse(path.as_str()), Ok(path.clone()));
            prop_assert_eq!(path.segments().count(), written.split('/').count() - 1);
        }
    }

    #[test]
    fn canonicalising_a_query_is_idempotent(written in "([a-z%2-7AEFaef?/]{0,4}=?[a-z%2-7AEFaef]{0,4}&?){0,4}") {
        if let Ok(query) = Query::parse(&written) {
            prop_assert_eq!(Query::parse(&query.to_string()), Ok(query));
        }
    }
}

/// Without it, the properties could hold because nothing is ever allowed, or all is.
#[test]
fn the_random_requests_are_allowed_and_denied_in_every_way() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let (mut allowed, mut by_name, mut by_body) = (0, 0, 0);
    let mut denied = std::collections::HashMap::<_, u32>::new();
    for _ in 0..CASES {
        let (egress, locked, asked) = (class(), locked(), asked()).new_tree(&mut runner).unwrap().current();
        let policy = Policy::of(Arc::new(model::compile(&egress)), None).with_locked(locked.sorted().into());
        match decide(&policy, &asked.request) {
            Ok(Decision::Allowed(by)) => {
                let packages =
                    egress.rules.iter().find(|rule| rule.name == by.rule().name).unwrap().packages.as_ref();
                let holds_names = packages
                    .is_some_and(|packages| packages.names.is_some() || packages.from_lockfiles.is_some());
                by_name += u32::from(holds_names);
                allowed += 1;
            }
            Ok(Decision::NeedsBody(_)) => by_body += 1,
            Err(reason) => *denied.entry(std::mem::discriminant(&reason)).or_default() += 1,
        }
    }
    // All reasons but those of a body and of a rule that was not picked.
    let enough = CASES / 40;
    let is_enough = allowed > enough && by_body > enough && by_name > enough / 10 && denied.len() >= 9;
    assert!(is_enough, "{allowed}, {by_name}, {by_body}, {denied:?}");
}
