//! What the presets of registries let through: what their clients ask for, and no more.

#![cfg(test)]

use serde_json::{Value, json};
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::{Decision, Denied, decide},
    request::{Length, Request},
};

mod debian;

/// A policy whose one rule is a registry's preset.
fn policy(preset: &str, packages: &Value) -> Policy {
    let rule = json!({"name": preset, "preset": preset, "hosts": ["a.example"], "packages": packages});
    let egress = serde_json::from_value(json!({"rules": [rule]})).unwrap();
    Policy::of(ClassPolicy::compile("default".parse().unwrap(), &egress).unwrap().into(), None)
}

fn verdict(policy: &Policy, path: &str) -> Result<Decision, Denied> {
    let url = format!("https://a.example{path}").parse().unwrap();
    decide(policy, &Request::absolute(http::Method::GET, &url, Length::None).unwrap())
}

/// Paths, by what becomes of them.
struct Paths<'a> {
    /// Allowed.
    named: &'a [&'a str],
    /// Of packages that the rule does not name: allowed where it names none.
    unnamed: &'a [&'a str],
    /// Denied for what stands in them, also where no package is named.
    misfits: &'a [&'a str],
}

fn holds(preset: &str, names: &[&str], paths: &Paths<'_>) {
    let gated = policy(preset, &json!({"names": names}));
    let open = [policy(preset, &json!(null)), policy(preset, &json!({"minimumAge": "1h"}))];
    let Paths { named, unnamed, misfits } = paths;
    for path in *named {
        assert!(verdict(&gated, path).is_ok(), "{preset} {path}: {:?}", verdict(&gated, path));
    }
    for path in *unnamed {
        let verdict = verdict(&gated, path);
        assert!(matches!(verdict, Err(Denied::PackageNotAllowed { .. })), "{preset} {path}: {verdict:?}");
    }
    for path in named.iter().chain(*unnamed) {
        assert!(open.iter().all(|open| verdict(open, path).is_ok()), "{preset} {path}: the control");
    }
    for path in *misfits {
        for policy in [&gated].into_iter().chain(&open) {
            let verdict = verdict(policy, path);
            let is_for_its_package =
                matches!(verdict, Err(Denied::PackageNotAllowed { .. } | Denied::PackagePath { .. }));
            assert!(is_for_its_package, "{preset} {path}: {verdict:?}");
        }
    }
}

#[test]
fn b19_a_crate_is_where_its_name_says() {
    holds(
        "cargo",
        &["a", "io", "url", "serde", "Inflector", "inflector"],
        &Paths {
            named: &[
                "/1/a",
                "/2/io",
                "/3/u/url",
                "/se/rd/serde",
                "/in/fl/inflector",
                "/index/1/a",
                "/index/3/u/url",
                "/index/se/rd/serde",
                "/crates/serde/serde-1.0.228.crate",
                "/crates/Inflector/Inflector-0.11.4.crate",
                "/crates/serde/1.0.0-rc.1/download",
                "/api/v1/crates/serde/1.0.0+build.5/download",
                "/api/v1/crates/serde/1.0.0%2Bbuild.5/download",
            ],
            unnamed: &["/1/b", "/ca/na/canary", "/index/ca/na/canary", "/crates/canary/canary-1.0.0.crate"],
            misfits: &[
                // Whose credential it is.
                "/api/v1/me",
                "/api/v1/crates",
                "/CANARY1/CANARY2/serde",
                "/se/CANARY/serde",
                "/rd/se/serde",
                "/index/CANARY1/CANARY2/serde",
                "/index/3/c/url",
                "/3/CANARY/url",
                "/se/rd/serde-%C3%A9",
                "/crates/serde/CANARY.crate",
                "/crates/serde/serde-CANARY.crate",
                "/crates/serde/io-1.0.0.crate",
                "/crates/serde/CANARY/download",
                "/api/v1/crates/serde/CANARY/download",
            ],
        },
    );
}

#[test]
fn b18_a_crate_has_its_age_wherever_a_mirror_keeps_it() {
    let policy = policy("cargo", &json!({"minimumAge": "72h"}));
    for path in ["/crates/serde/serde-1.0.0.crate", "/crates/serde/1.0.0/download"] {
        let Ok(Decision::Allowed(allowed)) = verdict(&policy, path) else { panic!("{path}") };
        assert_eq!(allowed.minimum_age().map(|age| age.as_secs()), Some(72 * 3_600), "{path}");
    }
}

#[test]
fn b19_a_package_of_npms_has_files_of_its_name() {
    let long = format!("/left-pad/-/left-pad-1.{}.tgz", "0".repeat(128));
    holds(
        "npm",
        &["left-pad", "@acme/*"],
        &Paths {
            named: &[
                "/left-pad",
                "/left-pad/latest",
                "/left-pad/1.3.0",
                "/left-pad/-/left-pad-1.3.0.tgz",
                "/left-pad/-/left-pad-2.0.0-beta.1+5.tgz",
                "/@acme%2Fshop",
                "/@acme%2fshop",
                "/@acme/shop",
                "/@acme/shop/latest",
                "/@acme%2Fshop/1.0.0",
                "/@acme/shop/-/shop-1.0.0.tgz",
            ],
            unnamed: &["/CANARY", "/CANARY/1.0.0", "/CANARY/-/CANARY-1.0.0.tgz", "/@CANARY/shop"],
            misfits: &[
                // Whose credential it is.
                "/-/whoami",
                "/-/ping",
                "/left-pad/CANARY",
                "/left-pad/1.3.0%20CANARY",
                "/left-pad/-/CANARY.tgz",
                "/left-pad/-/left-pad-CANARY.tgz",
                "/left-pad/-/left-padCANARY-1.0.0.tgz",
                &long,
                "/@acme/shop/-/CANARY.tgz",
                "/@acme/shop/-/@acme-1.0.0.tgz",
                "/@acme/shop/CANARY",
                "/@acme%2Fshop/CANARY",
                "/@acme/%C3%A9",
            ],
        },
    );
}

#[test]
fn b19_a_file_of_pythons_is_in_folders_of_its_digest_or_its_name() {
    let digest = "0cdb1c".repeat(10);
    let long = format!("/packages/ab/cd/{}/ws_shop-1.0.tar.gz", "0".repeat(129));
    holds(
        "pypi",
        &["WS_shop"],
        &Paths {
            named: &[
                "/simple/ws-shop/",
                "/simple/ws-shop",
                "/pypi/ws-shop/json",
                "/pypi/WS.Shop/1.0/json",
                &format!("/packages/1c/db/{digest}/ws_shop-1.0-py3-none-any.whl"),
                &format!(
                    "/packages/1c/db/{digest}/ws_shop-1!2.0.post1+local-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl.metadata"
                ),
                "/packages/ws_shop-1.0.tar.gz",
                "/packages/ws-shop/1.0/ws_shop-1.0.tar.gz",
                "/packages/source/w/ws-shop/ws_shop-1.0.tar.gz",
                "/packages/py3/w/ws-shop/ws_shop-1.0.0-py3-none-any.whl",
            ],
            unnamed: &[
                "/simple/CANARY/",
                "/pypi/CANARY/json",
                "/packages/1c/db/0c/CANARY-1.0-py3-none-any.whl",
            ],
            misfits: &[
                "/simple/%C3%A9/",
                "/pypi/ws-shop/CANARY/json",
                "/packages/CANARY/1c/db/ws_shop-1.0-py3-none-any.whl",
                "/packages/ab/cd/CANARY/ws_shop-1.0-py3-none-any.whl",
                "/packages/CANARY/1.0/ws_shop-1.0.tar.gz",
                "/packages/ws-shop/CANARY/ws_shop-1.0.tar.gz",
                "/packages/source/CANARY/ws-shop/ws_shop-1.0.tar.gz",
                "/packages/py3/w/CANARY/ws_shop-1.0.0-py3-none-any.whl",
                "/packages/ws_shop-CANARY",
                &long,
            ],
        },
    );
    let free =
        verdict(&policy("pypi", &json!({"names": ["ws-shop"]})), "/packages/CANARY/ws_shop-1.0.tar.gz");
    assert!(matches!(free, Err(Denied::RequestNotAllowed { .. })), "{free:?}");
}

#[test]
fn b19_a_module_has_versions_and_its_database_numbers() {
    let long = format!("/acme.example/shop/@v/{}.info", "a".repeat(129));
    holds(
        "go",
        &["acme.example/shop", "acme.example/!tools"],
        &Paths {
            named: &[
                "/acme.example/shop/@v/list",
                "/acme.example/!tools/@latest",
                "/acme.example/shop/@v/v1.2.0.mod",
                "/acme.example/shop/@v/v1.2.3-pre.0.20191109021931-daa7c04131f5+incompatible.zip",
                "/acme.example/shop/@v/v1.0.0-!r!c1.zip",
                "/acme.example/shop/@v/master.info",
                "/acme.example/shop/@v/daa7c04131f5.info",
                "/sumdb/sums.example/supported",
                "/sumdb/sums.example/tile/8/0/x001/234",
                "/sumdb/sums.example/tile/8/data/x001/x234/567",
                "/sumdb/sums.example/tile/8/1/000.p/12",
                "/sumdb/sums.example/lookup/acme.example/shop@v1.2.0",
            ],
            unnamed: &["/CANARY/@v/list", "/lookup/CANARY/shop@v1.2.0"],
            misfits: &[
                "/acme.example/shop/@v/CANARY.mod",
                "/acme.example/shop/@v/CANARY.zip",
                "/acme.example/shop/@v/1%20CANARY.info",
                &long,
                "/sumdb/sums.example/tile/CANARY/0/x001/234",
                "/sumdb/sums.example/tile/8/0/x001/CANARY",
                "/tile/8/0/1234",
                "/sumdb/sums.example/lookup/acme.example/shop@CANARY",
            ],
        },
    );
}

#[test]
fn what_is_wrong_with_a_path_is_said() {
    let policy = policy("npm", &json!({"names": ["left-pad"]}));
    for (path, expected) in [
        ("/evil", "a.example denied: rule \"npm\" does not name package \"evil\""),
        (
            "/left-pad/-/evil.tgz",
            "a.example denied by rule \"npm\": the {file} in this path does not belong to package left-pad",
        ),
    ] {
        assert_eq!(verdict(&policy, path).unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_is_wrong_with_a_path_of_no_package_is_said() {
    let denied = verdict(&policy("go", &json!(null)), "/tile/CANARY/0/x001").unwrap_err();
    let expected = "a.example denied by rule \"go\": the {number} in this path does not belong to a registry";
    assert_eq!(denied.to_string(), expected);
}

/// A rule of an admin's own is held as presets are.
#[test]
fn b19_a_rule_of_ones_own_is_held_as_well() {
    let allow = json!([{"methods": ["GET"], "paths": ["/repository/{name}/**/{name}-{version}"],
        "package": {"name": "{name}"}}]);
    let rule = |packages: Value| {
        let rule = json!({"name": "own", "hosts": ["a.example"], "allow": allow, "packages": packages});
        let egress = serde_json::from_value(json!({"rules": [rule]})).unwrap();
        Policy::of(ClassPolicy::compile("default".parse().unwrap(), &egress).unwrap().into(), None)
    };
    let (named, any) = (rule(json!({"names": ["shop"]})), rule(json!(null)));
    let folders = |count: usize| format!("/repository/shop/{}shop-1.0", "abcdefg/".repeat(count));
    for (path, by_named, by_any) in [
        (folders(1), true, true),
        (folders(16), true, true),
        (folders(19), false, false),
        ("/repository/shop/%C3%A9/shop-1.0".to_owned(), false, false),
        ("/repository/evil/x/shop-1.0".to_owned(), false, false),
        ("/repository/evil/x/evil-1.0".to_owned(), false, true),
    ] {
        assert_eq!(verdict(&named, &path).is_ok(), by_named, "{path}");
        assert_eq!(verdict(&any, &path).is_ok(), by_any, "{path}: without names");
    }
}
