//! How long a version of a package has been there: what is taken over by somebody else is mostly found out within days. Pure.

use std::time::SystemTime;

use http::{header::LAST_MODIFIED, response::Parts};
use ws_policy::decide::Allowed;

use crate::refusal::Refusal;

/// Whether an answer is old enough for what allows it. One that holds no version (an error, another address) has no age, and one that
/// says that the workspace has it already brings nothing.
pub fn check(allowed: &Allowed, answer: &Parts, now: SystemTime) -> Result<(), Refusal> {
    let Some(minimum) = allowed.minimum_age().filter(|_| answer.status.is_success()) else { return Ok(()) };
    let since = answer.headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let rule = allowed.rule().name.clone();
    let Some(since) = since.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return Err(Refusal::NoAge { rule });
    };
    // A date in the future has no age yet.
    if now.duration_since(since).unwrap_or_default() < minimum {
        let since = httpdate::fmt_http_date(since);
        return Err(Refusal::TooNew { rule, since, minimum });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Response;
    use serde_json::json;
    use ws_api::egress::Egress;
    use ws_policy::{
        class::{ClassPolicy, Policy},
        decide::{Decision, decide},
        request::{Length, Request},
    };

    use super::*;

    fn allowed(path: &str) -> Allowed {
        let egress: Egress = serde_json::from_value(json!({"rules": [
            {"name": "npm", "preset": "npm", "hosts": ["npm.example"], "packages": {"minimumAge": "24h"}},
        ]}))
        .unwrap();
        let class = ClassPolicy::compile("default".parse().unwrap(), &egress).unwrap();
        let policy = Policy::of(class.into(), None);
        let url = format!("https://npm.example{path}").parse().unwrap();
        let request = Request::absolute(http::Method::GET, &url, Length::None).unwrap();
        match decide(&policy, &request).unwrap() {
            Decision::Allowed(allowed) => allowed,
            Decision::NeedsBody(_) => panic!("it has no body"),
        }
    }

    fn reason(path: &str, status: u16, date: Option<&str>) -> Option<&'static str> {
        let mut answer = Response::builder().status(status);
        if let Some(date) = date {
            answer = answer.header(LAST_MODIFIED, date);
        }
        let now =
            httpdate::parse_http_date("Sun, 22 Nov 2026 12:00:00 GMT").unwrap() + Duration::from_millis(5);
        let checked = check(&allowed(path), &answer.body(()).unwrap().into_parts().0, now);
        checked.err().map(|refusal| refusal.reason().as_str())
    }

    #[test]
    fn a_version_is_passed_on_when_it_is_old_enough() {
        const VERSION: &str = "/left-pad/-/left-pad-1.3.0.tgz";
        for (path, status, date, expected) in [
            (VERSION, 200, Some("Sat, 21 Nov 2026 12:00:00 GMT"), None),
            (VERSION, 200, Some("Sat, 21 Nov 2026 12:00:01 GMT"), Some("too-new")),
            (VERSION, 206, Some("Sun, 22 Nov 2026 11:00:00 GMT"), Some("too-new")),
            (VERSION, 200, Some("Mon, 23 Nov 2026 12:00:00 GMT"), Some("too-new")),
            (VERSION, 200, Some("yesterday"), Some("too-new")),
            (VERSION, 200, None, Some("too-new")),
            (VERSION, 302, None, None),
            (VERSION, 304, None, None),
            (VERSION, 404, None, None),
            ("/left-pad", 200, None, None),
        ] {
            assert_eq!(reason(path, status, date), expected, "{path} {status} {date:?}");
        }
    }
}
