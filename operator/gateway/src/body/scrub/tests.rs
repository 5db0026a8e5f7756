use super::*;

const SECRET: &str = "sk-ant-1/2+3=é~x";

fn passed_of(secret: &str, pieces: &[&[u8]]) -> Result<Vec<u8>, Found> {
    let mut search = Search::new(Arc::new(Spellings::of(secret)));
    let mut passed = Vec::new();
    for piece in pieces {
        passed.extend(search.push(&Bytes::copy_from_slice(piece))?);
    }
    passed.extend(search.finish());
    Ok(passed)
}

fn passed(pieces: &[&[u8]]) -> Result<Vec<u8>, Found> {
    passed_of(SECRET, pieces)
}

/// Whether a text is stopped, wherever it is split.
fn assert_is_found(secret: &str, text: &[u8]) {
    for split in 0..text.len() {
        let (one, other) = text.split_at(split);
        assert_eq!(passed_of(secret, &[one, other]), Err(Found), "{} at {split}", text.escape_ascii());
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(passed_of(secret, &bytes), Err(Found), "{}", text.escape_ascii());
}

#[test]
fn b24_every_spelling_is_found_at_every_place_and_split_anywhere() {
    for spelling in [
        SECRET,
        "736b2d616e742d312f322b333dc3a97e78",
        "736B2D616E742D312F322B333DC3A97E78",
        // `x` and `yy` before it.
        "c2stYW50LTEvMiszPcOpfng=",
        "eHNrLWFudC0xLzIrMz3DqX54",
        "eXlzay1hbnQtMS8yKzM9w6l+eA==",
        "eXlzay1hbnQtMS8yKzM9w6l-eA",
        // All signs escaped, as JavaScript does it, and in small letters.
        "sk-ant-1%2F2%2B3%3D%C3%A9~x",
        "sk-ant-1%2f2%2b3%3d%c3%a9~x",
        // Python leaves `/`, Go's paths `+` and `=`, other libraries what is in no Latin alphabet.
        "sk-ant-1/2%2B3%3D%C3%A9~x",
        "sk-ant-1%2F2+3=%C3%A9~x",
        "sk-ant-1%2F2%2B3%3Dé~x",
        // HTML, of which Go's templates escape `+` alone.
        "sk-ant-1/2&#43;3=é~x",
        "sk-ant-1/2&#043;3=é~x",
        "sk-ant-1/2&#x2b;3=é~x",
        "sk-ant-1/2&#x2B;3=é~x",
        "sk-ant-1/2&#X2B;3=é~x",
        "sk-ant-1&#47;2+3=&#233;~x",
        "sk-ant-1&sol;2&plus;3&equals;é~x",
        // JSON and programming languages.
        "sk-ant-1\\/2+3=é~x",
        "sk-ant-1/2\\u002b3=é~x",
        "sk-ant-1/2\\u002B3\\u003d\\u00e9~x",
        "sk-ant-1\\x2f2+3=é~x",
        "sk-ant-1/2+3=\\xc3\\xa9~x",
        "sk\\-ant\\-1\\/2\\+3\\=é\\~x",
        // All of it, and each sign in another way.
        "%73%6B%2D%61%6E%74%2D%31%2F%32%2B%33%3D%C3%A9%7E%78",
        "&#115;k\\u002dant%2D1\\/2&plus;3\\x3d%c3%A9~&#x78;",
        // What is encoded already.
        "eXlzay1hbnQtMS8yKzM9w6l%2BeA%3D%3D",
        "eXlzay1hbnQtMS8yKzM9w6l&#43;eA",
        // As ISO 8859-1.
        "sk-ant-1/2+3=Ã©~x",
        "sk-ant-1/2+3=\\u00c3\\u00a9~x",
    ] {
        assert_is_found(SECRET, format!("{{\"echo\": \"{spelling}\"}}").as_bytes());
    }
}

#[test]
fn b24_what_stands_before_it_hides_nothing() {
    for (secret, text) in [
        ("41bc/def", "%41bc/def"),
        ("41bc/def", "%41bc%2Fdef"),
        ("lt;bc/def", "&lt;bc&sol;def"),
        ("u0041bc/def", "\\u0041bc\\/def"),
        // What looks as if it were escaped.
        ("ab%2Bc/d%3D", "ab%2Bc/d%3D"),
        ("ab%2Bc/d%3D", "ab%2Bc%2Fd%3D"),
        ("ab%2Bc/d%3D", "ab%252Bc%2Fd%253D"),
        ("a%25b/c%25", "a%25b%2Fc%25"),
        ("a\\\\b/c\\d", "a\\\\b\\/c\\d"),
        ("a\\\\b/c\\d", "a\\\\\\\\b/c\\\\d"),
    ] {
        assert_is_found(secret, text.as_bytes());
    }
}

#[test]
fn b24_each_sign_that_has_a_name_is_found_by_it() {
    for (name, sign) in NAMED {
        let (secret, text) = (format!("abc{sign}def"), format!("abc&{name};def"));
        assert!(Spellings::of(&secret).are_in(text.as_bytes()), "{name}");
        assert!(name.len() <= MAX_REFERENCE, "{name}");
    }
}

#[test]
fn b24_what_the_basic_scheme_says_is_found_as_well() {
    for shown in
        ["bot:ghp_secret", "bot%3Aghp_secret", "ghp_secret", "Ym90OmdocF9zZWNyZXQ=", "6768705f736563726574"]
    {
        assert!(
            Spellings::of("Ym90OmdocF9zZWNyZXQ=").are_in(format!("bad token {shown}!").as_bytes()),
            "{shown}"
        );
    }
    assert!(!Spellings::of("Ym90OmdocF9zZWNyZXQ=").are_in(b"bot"));
}

#[test]
fn b24_half_of_it_is_too_much_where_nothing_is_held_back() {
    for shown in [SECRET, "sk%2Dant%2D1%2F2%2B3%3D%C3%A9~x"] {
        let mut search = Search::new(Arc::new(Spellings::of(SECRET)));
        let mut passed = 0;
        for byte in shown.as_bytes().chunks(1) {
            search.push(&Bytes::copy_from_slice(byte)).unwrap();
            if search.is_close() {
                break;
            }
            passed += 1;
        }
        let of_it = shown[..passed].replace("%2D", "-").replace("%2F", "/").len();
        assert!((MIN - 1..SECRET.len() / 2 + 2).contains(&of_it), "{shown}: {of_it}");
        search.push(&Bytes::from_static(b"!")).unwrap();
        assert!(!search.is_close());
    }
}

#[test]
fn everything_else_passes_unchanged_and_in_time() {
    let near = &SECRET[..SECRET.len() - 1];
    for pieces in [
        vec![&b"data: {}\n\n"[..], b"data: [DONE]\n\n"],
        vec![near.as_bytes(), b"!", near.as_bytes()],
        vec![b"sk-ant-", b"sk-ant-", b"1"],
        vec![b"sk-ant-1%2F2%2B3%3D%C3%A9~", b"y 100%", b" &", b"amp; &amp", b"; \\", b"u00"],
        vec![b"sk-ant-1%2G2", b"sk-ant-1&#47", b"2", b"sk-ant-1&#xFFFFFFFF;", b"sk-ant-1\\ud83d"],
        vec![b"", b""],
    ] {
        assert_eq!(passed(&pieces), Ok(pieces.concat()), "{pieces:?}");
    }
    let mut search = Search::new(Arc::new(Spellings::of(SECRET)));
    for event in [&b"data: {}\n\n"[..], b"data: {\"text\": \"a\\nb\\/c &amp; 100%\"}\n\n"] {
        let event = Bytes::copy_from_slice(event);
        assert_eq!(search.push(&event), Ok(event.clone()), "nothing is held back without a reason");
    }
}

#[test]
fn what_is_held_back_is_no_longer_than_the_longest_spelling() {
    let mut search = Search::new(Arc::new(Spellings::of(SECRET)));
    for text in ["&", "&#", "&#x", "%", "\\", "\\u00", "&#0000000000", "%2%2%2", "sk-ant-1&#x0002F"] {
        for piece in text.repeat(1_000).as_bytes().chunks(7) {
            search.push(&Bytes::copy_from_slice(piece)).unwrap();
            assert!(search.held.len() <= SECRET.len() * (MAX_REFERENCE + 2), "{text}: {}", search.held.len());
        }
    }
}
