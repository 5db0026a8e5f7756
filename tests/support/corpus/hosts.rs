//! Hosts in spellings that two programs may read differently.

/// What stands between two names, so that one program sees the first and another the second. The last ones become what stands before
/// them where a program has Unicode's compatible forms (UAX 15).
const BETWEEN: [&str; 40] = [
    "\0", "%00", "\t", "%09", " ", "%20", "\u{a0}", "\u{2028}", "\u{b}", "\u{7f}", "\r\n", "%0d%0a", "@",
    "%40", "#", "%23", "?", "%3f", "/", "%2f", "\\", "%5c", ",", ";", "&", "*", "^", "\"", "[", ":", ":443:",
    ":443@", "..", "%2e", "|", "\u{3002}", "\u{ff20}", "\u{ff03}", "\u{ff0f}", "\u{2100}",
];
/// Spellings of addresses that nobody outside has, of the denied host's own and of the company's, and names that lead inside.
const ADDRESSES: [&str; 70] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.000.000.001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "127.0.0.1%00",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "\u{661}\u{662}\u{667}.0.0.1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "0",
    "0.0.0.0",
    "255.255.255.255",
    "4294967296",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "localhost.localdomain",
    "::1",
    "[::1]",
    "[::1",
    "[::1]x",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[127.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[v1.fe80::a]",
    "[::1%eth0]",
    "[::1%25eth0]",
    "[fe80::1%25eth0]",
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "025177524776",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "0xa9.0xfe.0xa9fe",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:169.254.169.254]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "168.63.129.16",
    "metadata.google.internal",
    "10.96.0.1",
    "10.77.0.10",
    "10.77.10",
    "20.0.114.80",
    "20.0.29264",
    "335573584",
    "0x14007250",
    "024.0.0162.0120",
    "[::ffff:20.0.114.80]",
    "[::ffff:1400:7250]",
    "kubernetes.default.svc",
    "kubernetes",
];
/// Other forms of a name: none is the name, also where it has no capitals and one dot.
const FORMS: [fn(&str) -> String; 47] = [
    |name| name.replace('.', ".."),
    |name| format!(".{name}"),
    |name| format!("{name}.."),
    |name| name.replace('.', "%2e"),
    |name| name.replace('.', "\u{3002}"),
    |name| name.replace('.', "\u{ff0e}"),
    |name| name.replace('.', "\u{ff61}"),
    |name| name.replace('.', "\u{2024}"),
    // The same letter to whoever looks at it: full width, Cyrillic, mathematical.
    |name| name.replace('e', "\u{ff45}"),
    |name| name.replace('e', "\u{435}"),
    |name| name.replace('x', "\u{445}"),
    |name| name.replace('e', "\u{1d41e}"),
    |name| name.replace('l', "1"),
    |name| name.replace('m', "rn"),
    |name| name.replace('e', "%65"),
    |name| format!("%{name}"),
    |name| format!("user@{name}"),
    |name| format!("user:secret@{name}"),
    |name| format!("@{name}"),
    |name| format!("a@b@{name}"),
    |name| format!("{name}@"),
    |name| format!("[{name}]"),
    |name| format!("_{name}"),
    |name| name.replacen('.', "_.", 1),
    |name| format!("-{name}"),
    |name| format!("*.{name}"),
    |name| format!("{}.{name}", "x".repeat(63)),
    |name| format!("{}.{name}", "x".repeat(64)),
    |name| format!("{}{name}", "x.".repeat(121)),
    // What is not seen: a joiner, a soft hyphen, a mark of the order of bytes, and one that turns the text around.
    |name| format!("{name}\u{200c}"),
    |name| name.replacen('.', "\u{200d}.", 1),
    |name| format!("{name}\u{ad}"),
    |name| format!("\u{feff}{name}"),
    |name| format!("\u{202e}{name}"),
    // What IDNA of 2003 and of 2008 read differently, and what decodes to plain ASCII (RFC 5891, RFC 3492).
    |name| format!("\u{df}.{name}"),
    |name| format!("{name}\u{3c2}"),
    |name| format!("xn--{name}"),
    |name| format!("xn--{}", name.replacen('.', "-.", 1)),
    |name| format!("{name}:0443"),
    |name| format!("{name}:+443"),
    |name| format!("{name}:443\u{660}"),
    |name| format!("{name}:"),
    |name| format!("{name}:443:443"),
    |name| format!("{name}:https"),
    |name| format!("https://{name}"),
    |name| format!("//{name}"),
    |name| format!("\\\\{name}"),
];

/// More than 200 spellings of hosts, none of which is the allowed one.
pub fn hosts(allowed: &str, denied: &str) -> Vec<String> {
    let between = BETWEEN
        .iter()
        .flat_map(|text| [format!("{allowed}{text}{denied}"), format!("{denied}{text}{allowed}")]);
    let forms = FORMS.iter().flat_map(|form| [form(allowed), form(denied)]);
    let suffixed = [denied, "telemetry.example", "example"].map(str::to_owned);
    let shortened = allowed.get(..allowed.len() - 1).unwrap_or_default().to_owned();
    let evil = [format!("{allowed}.evil"), format!("{}.EVIL", allowed.to_uppercase()), format!("x{allowed}")];
    let ports = [22, 25, 80, 0, 65_536].map(|port| format!("{allowed}:{port}"));
    let addresses = ADDRESSES.map(str::to_owned);
    between
        .chain(forms)
        .chain(suffixed)
        .chain(evil)
        .chain([shortened])
        .chain(ports)
        .chain(addresses)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_200_spellings_each_of_which_is_another() {
        for (allowed, denied) in
            [("docs.example", "hidden.example"), ("docs.example.svc", "hidden.example.svc")]
        {
            let hosts = hosts(allowed, denied);
            // The port that is meant anyway makes no other spelling.
            let distinct: BTreeSet<&str> =
                hosts.iter().map(|host| host.strip_suffix(":443").unwrap_or(host)).collect();
            assert_eq!(distinct.len(), hosts.len());
            assert!(distinct.len() >= 200, "{}", distinct.len());
            let is_allowed = |host: &&&str| {
                let host = host.trim();
                host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(allowed)
            };
            assert_eq!(distinct.iter().find(is_allowed), None);
        }
    }
}
