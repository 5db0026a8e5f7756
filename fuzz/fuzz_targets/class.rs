//! Classes as an admin writes them: what compiles allows nothing by itself, names hosts only in their canonical form, and says the
//! same written out.

#![no_main]

use std::sync::Arc;

use http::Method;
use libfuzzer_sys::fuzz_target;
use ws_api::egress::Egress;
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::{Decision, decide, decide_tunnel},
    expand::expand,
    host::Host,
    lint::lint,
    request::{Length, Request},
};

fuzz_target!(|written: &str| {
    let Ok(egress) = serde_yaml::from_str::<Egress>(written) else { return };
    let _ = lint(&egress.rules);
    let class = match ClassPolicy::compile("default".parse().expect("a name"), &egress) {
        Ok(class) => Arc::new(class),
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty()));
            return;
        }
    };
    let rules = egress.rules.iter().map(|rule| expand(rule).expect("what compiles can be written out"));
    let full = Egress { rules: rules.collect(), ..egress.clone() };
    for rule in &full.rules {
        assert_eq!(expand(rule).as_ref(), Ok(rule), "writing out is idempotent");
    }
    let written_out =
        ClassPolicy::compile("default".parse().expect("a name"), &full).expect("the same class");
    assert_eq!(class.upload(), written_out.upload());
    let (all, none) = (Policy::of(class.clone(), None), Policy::of(class.clone(), Some(&[])));
    for (rule, same) in class.rules().zip(written_out.rules()) {
        assert_eq!((&rule.name, rule.scheme, rule.ports()), (&same.name, same.scheme, same.ports()));
        assert_eq!(
            (&rule.credential, rule.upload, rule.request),
            (&same.credential, same.upload, same.request)
        );
        assert!(rule.hosts().eq(same.hosts()));
        for name in rule.hosts() {
            let host = Host::parse(name).expect("a rule names hosts");
            assert_eq!((host.as_str(), host.is_address()), (name, false));
            for port in rule.ports() {
                assert!(decide_tunnel(&all, &host, *port).is_ok());
                assert!(decide_tunnel(&none, &host, *port).is_err());
                let request = Request {
                    method: Method::GET,
                    scheme: rule.scheme,
                    host: host.clone(),
                    port: *port,
                    path: ws_policy::path::Path::parse("/").expect("a path"),
                    query: ws_policy::path::Query::default(),
                    body: Length::None,
                    opens_web_socket: false,
                };
                assert!(decide(&none, &request).is_err(), "who picks nothing reaches nothing");
                if let Ok(Decision::Allowed(allowed)) = decide(&all, &request) {
                    assert!(allowed.rule().hosts().any(|host| host == name));
                }
            }
        }
    }
});
