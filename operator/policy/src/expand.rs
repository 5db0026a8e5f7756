//! What a rule says in full: presets, repositories and defaults written out. This is what an admin reviews, and all that is
//! compiled.

use ws_api::egress::{Budget, Credential, EgressRule, Requests, Values};

use crate::{
    preset::{Injection, ModelPlace, Preset, REPOSITORY},
    request::default_port,
};

/// Place of a JSON body that names the model.
pub(crate) const MODEL: &str = "model";

/// Writes a rule out. Expanding it once more changes nothing.
///
/// # Errors
///
/// What an admin has to correct.
pub fn expand(rule: &EgressRule) -> Result<EgressRule, String> {
    let mut full = rule.clone();
    let preset = rule.preset.as_deref().map(known).transpose()?;
    full.preset = None;
    if let Some(preset) = preset {
        if rule.allow.is_some() || rule.passthrough.is_some() {
            return Err("a preset brings what is allowed: leave `allow` and `passthrough` out".to_owned());
        }
        let packages = rule.packages.as_ref();
        if preset.without_lockfiles && packages.is_some_and(|packages| packages.from_lockfiles.is_some()) {
            return Err("no lockfile names what the preset fetches: leave `fromLockfiles` out".to_owned());
        }
        if rule.hosts.is_none() && rule.service.is_none() && !preset.hosts.is_empty() {
            full.hosts = Some(preset.hosts);
        }
        full.allow = Some(with_models(preset.allow, preset.model, &rule.models)?);
        full.budget = merged(rule.budget.as_ref(), preset.budget);
        full.credential =
            rule.credential.as_ref().map(|credential| placed(credential, preset.credential)).transpose()?;
    } else if !rule.models.is_empty() {
        return Err("only a preset knows where requests name models: leave `models` out".to_owned());
    } else {
        full.credential =
            rule.credential.as_ref().map(|credential| placed(credential, Some(bearer()))).transpose()?;
    }
    if rule.service.is_none() {
        let scheme = rule.scheme.unwrap_or_default();
        full.scheme = Some(scheme);
        full.ports = Some(rule.ports.clone().unwrap_or_else(|| vec![default_port(scheme)]));
    }
    full.allow = full
        .allow
        .map(|allow| allow.iter().map(|requests| of_repositories(requests, &rule.repositories)).collect())
        .transpose()?;
    full.repositories.clear();
    full.models.clear();
    Ok(full)
}

/// A preset's budget where the rule does not say otherwise, member by member: who bounds one thing does not lift the other bounds.
fn merged(own: Option<&Budget>, preset: Option<Budget>) -> Option<Budget> {
    let (Some(own), Some(preset)) = (own, &preset) else { return own.cloned().or(preset) };
    Some(Budget {
        upload: own.upload.clone().or(preset.upload.clone()),
        request: own.request.clone().or(preset.request.clone()),
        not_found: own.not_found.or(preset.not_found),
    })
}

/// Requests that name one of these models, if there are any.
fn with_models(
    allow: Vec<Requests>,
    place: Option<ModelPlace>,
    models: &[String],
) -> Result<Vec<Requests>, String> {
    if models.is_empty() {
        return Ok(allow);
    }
    let place = place.ok_or("the preset knows no models: leave `models` out")?;
    let narrowed = allow.into_iter().map(|mut requests| {
        match place {
            ModelPlace::Body => {
                let json = requests.body.as_mut().and_then(|body| body.json.as_mut());
                if let Some(json) = json.filter(|json| json.required.iter().any(|place| place == MODEL)) {
                    json.values.push(Values { at: MODEL.to_owned(), any_of: models.to_vec() });
                }
            }
            ModelPlace::Path => {
                let models: Vec<_> = models.iter().map(|model| model.replace('*', "{rest}")).collect();
                requests.paths =
                    requests.paths.iter().flat_map(|path| each(path, "{model}", &models)).collect();
            }
        }
        requests
    });
    Ok(narrowed.collect())
}

/// A path once for each of what its placeholder may be, or the path if it has none.
fn each(path: &str, placeholder: &str, values: &[String]) -> Vec<String> {
    if path.contains(placeholder) {
        values.iter().map(|value| path.replace(placeholder, value)).collect()
    } else {
        vec![path.to_owned()]
    }
}

fn known(name: &str) -> Result<Preset, String> {
    let unknown = || {
        let names: Vec<_> = Preset::names().collect();
        format!("there is no preset \"{name}\"; there are {}", names.join(", "))
    };
    Preset::named(name).cloned().ok_or_else(unknown)
}

fn bearer() -> Injection {
    Injection { header: "authorization".to_owned(), prefix: "Bearer ".to_owned() }
}

/// A credential with its place in a request. Another header than the default has another prefix, which is none if it is left out.
fn placed(credential: &Credential, default: Option<Injection>) -> Result<Credential, String> {
    let default = default.ok_or("the preset takes no credential")?;
    let is_own = credential.header.as_ref().is_some_and(|header| *header != default.header);
    let prefix = if is_own { String::new() } else { default.prefix };
    Ok(Credential {
        header: Some(credential.header.clone().unwrap_or(default.header)),
        prefix: Some(credential.prefix.clone().unwrap_or(prefix)),
        ..credential.clone()
    })
}

fn of_repositories(requests: &Requests, repositories: &[String]) -> Result<Requests, String> {
    if repositories.is_empty() && requests.paths.iter().any(|path| path.contains(REPOSITORY)) {
        return Err("name the `repositories`".to_owned());
    }
    let paths = requests.paths.iter().flat_map(|path| each(path, REPOSITORY, repositories)).collect();
    Ok(Requests { paths, ..requests.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn expanded(rule: Value) -> Result<Value, String> {
        let rule: EgressRule = serde_json::from_value(rule).unwrap();
        let full = expand(&rule)?;
        assert_eq!(expand(&full).as_ref(), Ok(&full), "expanding is idempotent");
        Ok(serde_json::to_value(full).unwrap())
    }

    #[test]
    fn defaults_are_written_out() {
        let allow = json!([{"methods": ["GET"], "paths": ["/"]}]);
        let full = expanded(
            json!({"name": "a", "hosts": ["a.example"], "allow": allow, "credential": {"secretName": "s", "key": "k"}}),
        );
        assert_eq!(
            full.unwrap(),
            json!({
                "name": "a", "hosts": ["a.example"], "scheme": "https", "ports": [443], "allow": allow,
                "credential": {"secretName": "s", "key": "k", "header": "authorization", "prefix": "Bearer "},
            })
        );
        let plain =
            expanded(json!({"name": "a", "hosts": ["a.example"], "scheme": "http", "allow": allow})).unwrap();
        assert_eq!(plain["ports"], json!([80]));
        let own = expanded(json!({"name": "a", "hosts": ["a.example"], "allow": allow,
            "credential": {"secretName": "s", "key": "k", "header": "x-key"}}));
        assert_eq!(own.unwrap()["credential"]["prefix"], "");
    }

    #[test]
    fn a_preset_brings_hosts_requests_and_the_credentials_place() {
        let full = expanded(
            json!({"name": "a", "preset": "anthropic", "credential": {"secretName": "s", "key": "k"}}),
        )
        .unwrap();
        assert_eq!(
            (&full["hosts"], &full["credential"]["header"]),
            (&json!(["api.anthropic.com"]), &json!("x-api-key"))
        );
        assert_eq!(full["credential"]["prefix"], "");
        let other =
            expanded(json!({"name": "a", "preset": "anthropic", "hosts": ["models.acme.example"]})).unwrap();
        assert_eq!(other["hosts"], json!(["models.acme.example"]));
        let repository =
            expanded(json!({"name": "a", "preset": "github", "repositories": ["acme/shop", "acme/tools"]}))
                .unwrap();
        assert_eq!(
            repository["allow"][0]["paths"],
            json!([
                "/acme/shop/info/refs",
                "/acme/tools/info/refs",
                "/acme/shop.git/info/refs",
                "/acme/tools.git/info/refs"
            ])
        );
    }

    #[test]
    fn models_stand_where_requests_name_them() {
        let models = json!(["gemini-2.5-pro", "gemma-*"]);
        let full = expanded(json!({"name": "g", "preset": "google", "models": models})).unwrap();
        assert_eq!(full["allow"][0]["paths"][0], "/v1beta/models/gemini-2.5-pro:generateContent");
        assert_eq!(full["allow"][0]["paths"][1], "/v1beta/models/gemma-{rest}:generateContent");
        let full = expanded(json!({"name": "a", "preset": "anthropic", "models": models})).unwrap();
        let values = full["allow"][0]["body"]["json"]["values"].as_array().unwrap().clone();
        assert_eq!(values.last(), Some(&json!({"at": "model", "anyOf": models})));
    }

    #[test]
    fn b19_a_budget_of_ones_own_lifts_none_of_the_presets() {
        let preset = json!({"upload": "4Mi", "request": "4Ki", "notFound": 50});
        for (own, expected) in [
            (json!(null), preset.clone()),
            (json!({"upload": "1Mi"}), json!({"upload": "1Mi", "request": "4Ki", "notFound": 50})),
            (json!({"notFound": 3}), json!({"upload": "4Mi", "request": "4Ki", "notFound": 3})),
            (
                json!({"upload": "8Mi", "request": "1Ki", "notFound": 0}),
                json!({"upload": "8Mi", "request": "1Ki", "notFound": 0}),
            ),
        ] {
            let full =
                expanded(json!({"name": "c", "preset": "cargo", "hosts": ["a.example"], "budget": own}));
            assert_eq!(full.unwrap()["budget"], expected, "{own}");
        }
        let without = expanded(
            json!({"name": "a", "hosts": ["a.example"], "allow": [{"methods": ["GET"], "paths": ["/"]}],
            "budget": {"upload": "1Mi"}}),
        );
        assert_eq!(
            without.unwrap()["budget"],
            json!({"upload": "1Mi"}),
            "no preset, no more than what is said"
        );
    }

    #[test]
    fn a_service_may_have_a_preset_and_keeps_its_own_address() {
        let service = json!({"namespace": "models", "name": "ollama", "port": 11434});
        let full = expanded(json!({"name": "o", "preset": "ollama", "service": service})).unwrap();
        assert_eq!((&full["service"], full.get("hosts"), full.get("ports")), (&service, None, None));
    }

    #[test]
    fn what_an_admin_has_to_correct_is_said() {
        for (rule, problem) in [
            (
                json!({"name": "a", "preset": "pipe"}),
                "there is no preset \"pipe\"; there are anthropic, cargo",
            ),
            (json!({"name": "a", "preset": "github"}), "name the `repositories`"),
            (json!({"name": "a", "preset": "npm", "allow": []}), "a preset brings what is allowed"),
            (json!({"name": "a", "preset": "npm", "models": ["m"]}), "the preset knows no models"),
            (
                json!({"name": "a", "preset": "debian", "packages": {"fromLockfiles": "cargo"}}),
                "no lockfile names what the preset fetches: leave `fromLockfiles` out",
            ),
            (json!({"name": "a", "hosts": ["a.example"], "models": ["m"]}), "only a preset knows"),
        ] {
            let error = expanded(rule).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
