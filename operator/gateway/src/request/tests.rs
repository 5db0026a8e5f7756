use http::Request as HttpRequest;

use ws_policy::host::InvalidHost;

use super::*;

fn head(method: &str, target: &str, hosts: &[&str]) -> Option<Parts> {
    let mut request = HttpRequest::builder().method(method).uri(target);
    for host in hosts {
        request = request.header(header::HOST, *host);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

fn read(method: &str, target: &str, hosts: &[&str]) -> Result<String, Malformed> {
    Ok(match Asked::read(&head(method, target, hosts).unwrap(), Length::None)? {
        Asked::Tunnel(Destination { host, port }) => format!("CONNECT {host}:{port}"),
        Asked::Request(request) => format!("{} {}", request.method, request.url()),
    })
}

#[test]
fn each_form_of_a_target_is_read() {
    for (method, target, host, expected) in [
        ("CONNECT", "API.Example:443", "other.example", "CONNECT api.example:443"),
        ("CONNECT", "api.example.:8443", "api.example", "CONNECT api.example:8443"),
        ("CONNECT", "[::1]:443", "x", "CONNECT [::1]:443"),
        ("GET", "http://a.example/x?y", "evil.example", "GET http://a.example/x?y"),
        ("GET", "http://a.example:8080", "a.example", "GET http://a.example:8080/"),
        ("GET", "https://a.example/", "a.example", "GET https://a.example/"),
        ("POST", "http://[fd00::1]/", "x", "POST http://[fd00::1]/"),
        ("GET", "/x", "A.example", "GET http://a.example/x"),
        ("GET", "/x", "a.example:3128", "GET http://a.example:3128/x"),
        ("get", "/", "10.96.0.7:3128", "get http://10.96.0.7:3128/"),
        ("PROPFIND", "/", "[::1]", "PROPFIND http://[::1]/"),
    ] {
        assert_eq!(read(method, target, &[host]).as_deref(), Ok(expected), "{method} {target}");
    }
}

#[test]
fn b10_what_names_no_host_clearly_is_malformed() {
    for (method, target, hosts, expected) in [
        ("CONNECT", "a.example", &["a.example"][..], Malformed::Port),
        ("CONNECT", "http://a.example:443", &[], Malformed::Form),
        ("CONNECT", "/x", &["a.example"], Malformed::Form),
        ("CONNECT", "*", &["a.example"], Malformed::Form),
        ("GET", "a.example:80", &[], Malformed::Form),
        ("OPTIONS", "*", &["a.example"], Malformed::Form),
        ("GET", "ftp://a.example/", &[], Malformed::Scheme),
        ("GET", "ws://a.example/", &[], Malformed::Scheme),
        ("GET", "/", &[], Malformed::NoHost),
        ("GET", "/", &[""], Malformed::NoHost),
        ("GET", "/", &["a.example", "a.example"], Malformed::SeveralHosts),
        ("GET", "/", &["a.example:443:b"], Malformed::Port),
        ("GET", "/", &["a.example,b.example"], Malformed::Host(InvalidHost)),
        ("GET", "/", &["\u{e9}.example"], Malformed::Host(InvalidHost)),
        ("GET", "http://user:secret@a.example/", &[], Malformed::Port),
        ("GET", "http://user@a.example/", &[], Malformed::Host(InvalidHost)),
        ("GET", "http://a_b.example/", &[], Malformed::Host(InvalidHost)),
    ] {
        assert_eq!(read(method, target, hosts), Err(expected), "{method} {target} {hosts:?}");
    }
}

#[test]
fn a_port_has_one_spelling() {
    for port in [
        "0", "00", "0443", "+443", "-1", "65536", "99999", "4 43", " 443", "443 ", "0x1bb", "", "٤٤٣",
        "443:443",
    ] {
        assert_eq!(authority_of(&format!("a.example:{port}"), Some(80)), Err(Malformed::Port), "{port:?}");
    }
    assert_eq!(authority_of("a.example:65535", None).unwrap().1, 65_535);
}

#[test]
fn brackets_protect_only_an_address() {
    for authority in ["]:443", "a]:443", "[::1]443", "[::1]x:443", "[a:443", "[::1]]:443"] {
        assert_eq!(authority_of(authority, Some(80)), Err(Malformed::Host(InvalidHost)), "{authority}");
    }
}

#[test]
fn the_record_holds_the_host_and_no_password() {
    for (target, host, expected) in [
        ("http://user:secret@a_b.example/path?token=1", "x", "a_b.example"),
        ("/", "user:secret@\u{1f980}", "\u{1f980}"),
        ("/", "", ""),
        ("/", &*"x".repeat(1_000), &"x".repeat(MAX_NAME)),
    ] {
        assert_eq!(written_host(&head("GET", target, &[host]).unwrap()), expected, "{target}");
    }
}

#[test]
fn b04_b05_on_a_tunnel_every_name_is_the_tunnels() {
    let tunnel = Destination { host: Host::parse("a.example").unwrap(), port: 443 };
    let read = |target: &str, hosts: &[&str]| {
        let head = head("GET", target, hosts).unwrap();
        Ok(within(&tunnel, Scheme::Https, &head, Length::None)?.url())
    };
    let misdirected = || Err(Misfit::Misdirected);
    let malformed = |malformed: Malformed| Err(Misfit::Malformed(malformed));
    for (target, hosts, expected) in [
        ("/x?y", &["A.example"][..], Ok("https://a.example/x?y")),
        ("/x", &["a.example.:443"], Ok("https://a.example/x")),
        ("https://a.example/x", &["a.example"], Ok("https://a.example/x")),
        // As HTTP/2 brings it.
        ("https://a.example/x", &[], Ok("https://a.example/x")),
        ("/x", &["b.example"], misdirected()),
        ("/x", &["a.example:80"], misdirected()),
        ("/x", &["a.example.evil.example"], misdirected()),
        ("https://a.example/x", &["b.example"], misdirected()),
        ("https://b.example/x", &["a.example"], misdirected()),
        ("/x", &["a.example", "b.example"], malformed(Malformed::SeveralHosts)),
        ("/x", &[], malformed(Malformed::NoHost)),
        ("/x", &["a.example,b.example"], malformed(Malformed::Host(InvalidHost))),
        ("http://a.example/x", &["a.example"], malformed(Malformed::Form)),
        ("a.example:443", &["a.example"], malformed(Malformed::Form)),
        ("*", &["a.example"], malformed(Malformed::Form)),
    ] {
        assert_eq!(read(target, hosts).as_deref(), expected.as_deref(), "{target} {hosts:?}");
    }
}
