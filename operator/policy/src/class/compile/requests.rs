//! The requests that a rule allows.

use std::{str::FromStr, sync::Arc, time::Duration};

use http::{HeaderName, Method};
use ws_api::egress::{self, Registry, Requests};

use super::{
    super::{Allowance, BodyRule, HeaderRule, PackageNames, PackageRule, QueryRule},
    whole,
};
use crate::{
    json::JsonRule,
    package::{PackageName, normalized},
    path::Query,
    pattern::PathPattern,
};

/// Headers that a rule cannot pass on: they carry credentials, or say how the message itself is carried.
const NEVER_PASSED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// The most that a message of a WebSocket may have, in bytes: it has to be there whole.
const MAX_MESSAGE: u64 = 16 << 20;

/// The most that a body may have which is looked into, in bytes: it has to be there whole, and others' beside it.
pub const MAX_INSPECTED: u64 = 32 << 20;

/// What holds for the packages of a rule.
pub(super) struct Gate {
    /// Names, and where those of lockfiles are of use too; none: any.
    names: Option<(Arc<[String]>, Option<Registry>)>,
    minimum_age: Option<Duration>,
}

impl Gate {
    pub(super) fn of(written: &egress::Packages) -> Self {
        let is_any = written.names.is_none() && written.from_lockfiles.is_none();
        let exact = written.names.as_deref().unwrap_or_default();
        let names = (!is_any).then(|| (Arc::from(exact), written.from_lockfiles));
        Self { names, minimum_age: written.minimum_age.map(Into::into) }
    }
}

pub(super) fn allowance(written: &Requests, packages: Option<&Gate>) -> Result<Allowance, String> {
    let method = |method: &String| match method.as_str() {
        "CONNECT" | "TRACE" => Err(format!("method {method} cannot be allowed")),
        method => Method::from_str(method).map_err(|_| format!("\"{method}\" is not a valid method")),
    };
    let path = |path: &String| path.parse().map_err(|error| format!("path \"{path}\": {error}"));
    let paths: Vec<PathPattern> = written.paths.iter().map(path).collect::<Result<_, _>>()?;
    let package = written.package.as_ref().map(|asked| package(asked, &paths, packages)).transpose()?;
    Ok(Allowance {
        methods: written.methods.iter().map(method).collect::<Result<_, _>>()?,
        paths,
        query: query(&written.query)?,
        headers: written.headers.iter().map(header).collect::<Result<_, _>>()?,
        body: written.body.as_ref().map(body).transpose()?,
        package,
        web_socket: written.web_socket.as_ref().map(|socket| web_socket(socket, written)).transpose()?,
    })
}

fn package(
    asked: &egress::Package,
    paths: &[PathPattern],
    gate: Option<&Gate>,
) -> Result<PackageRule, String> {
    let name: Option<PackageName> =
        asked.name.as_ref().map(|name| name.parse()).transpose().map_err(|error| format!("{error}"))?;
    if let Some((name, path)) =
        name.as_ref().and_then(|name| Some((name, paths.iter().find(|path| !name.fits(path))?)))
    {
        return Err(format!("path \"{path}\" does not hold what package name \"{name}\" is made of"));
    }
    let as_asked = |names: Arc<[String]>| {
        if asked.normalized { names.iter().map(|name| normalized(name)).collect() } else { names }
    };
    let names = gate.and_then(|gate| gate.names.clone());
    Ok(PackageRule {
        asked: name,
        names: names.map(|(names, locked)| PackageNames { written: as_asked(names), locked }),
        is_normalized: asked.normalized,
        minimum_age: gate.and_then(|gate| gate.minimum_age).filter(|_| asked.version),
    })
}

fn web_socket(socket: &egress::WebSocket, written: &Requests) -> Result<u64, String> {
    if written.methods != ["GET"] || written.body.is_some() {
        return Err("a WebSocket is opened with GET and without a body".to_owned());
    }
    let max = whole(&socket.max_message)?;
    if max > MAX_MESSAGE {
        return Err(format!("a message of a WebSocket has at most {MAX_MESSAGE} bytes"));
    }
    Ok(max)
}

fn query(written: &[String]) -> Result<QueryRule, String> {
    if written.iter().any(|name| name == "*") {
        return Ok(QueryRule::Any);
    }
    let parameter = |parameter: &String| {
        let parsed = Query::parse(parameter).map_err(|error| format!("query \"{parameter}\": {error}"))?;
        match parsed.pairs() {
            [pair] if parsed.to_string() == *parameter => Ok(pair.clone()),
            _ => Err(format!("query \"{parameter}\" is not a valid `name` or `name=value`")),
        }
    };
    Ok(QueryRule::Only(written.iter().map(parameter).collect::<Result<_, _>>()?))
}

fn header(written: &egress::Header) -> Result<HeaderRule, String> {
    Ok(HeaderRule { name: header_name(&written.name)?, values: written.values.clone() })
}

/// A header that may be passed on.
pub(super) fn header_name(name: &str) -> Result<HeaderName, String> {
    if NEVER_PASSED.contains(&name) {
        return Err(format!("header {name} cannot be passed on"));
    }
    HeaderName::from_str(name).map_err(|_| format!("\"{name}\" is not a valid header"))
}

fn body(written: &egress::Body) -> Result<BodyRule, String> {
    let json = written.json.as_ref().map(JsonRule::compile).transpose().map_err(|error| error.to_string())?;
    let max = whole(&written.max)?;
    if json.is_some() && max > MAX_INSPECTED {
        return Err("a body that is looked into has at most 32Mi".to_owned());
    }
    Ok(BodyRule { max, json })
}
