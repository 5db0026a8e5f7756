//! What holds for packages: their names, their age, and how often nothing is found.

use super::{
    passing::{Server, server},
    *,
};

const OLD: &str =
    "HTTP/1.1 200 OK\r\nlast-modified: Mon, 02 Nov 2020 10:00:00 GMT\r\ncontent-length: 5\r\n\r\nhello";
const AGELESS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone";

fn registry(server: &Server, more: &Value) -> Value {
    let mut rule = json!({"name": "npm", "preset": "npm",
        "service": {"namespace": "models", "name": "ollama", "port": server.port}});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([rule])
}

async fn fetch(answer: &'static str, rule: &Value, path: &str) -> (String, String) {
    let (gateway, server) = (gateway().await, server(answer).await);
    gateway.judge.send_replace(policies_with(&registry(&server, rule)));
    let (printed, _) = gateway.curl(&[&format!("http://ollama.models.svc:{}{path}", server.port)]).await;
    (printed, server.got.text())
}

#[tokio::test]
async fn b18_a_package_that_no_rule_names_is_not_even_asked_for() {
    let names = json!({"packages": {"names": ["left-pad", "@acme/*"]}});
    for path in
        ["/left-pad", "/left-pad/-/left-pad-1.3.0.tgz", "/@acme%2Fshop", "/@acme/shop/-/shop-1.0.0.tgz"]
    {
        assert_eq!(fetch(AGELESS, &names, path).await.0, "hello", "{path}");
    }
    for path in ["/left-pads", "/evil/-/left-pad-1.3.0.tgz", "/@acne%2Fshop", "/@acme%2Fshop/-/x"] {
        let (printed, got) = fetch(AGELESS, &names, path).await;
        assert!(printed.contains("denied: rule \"npm\"") && got.is_empty(), "{path}: {printed}");
    }
}

#[tokio::test]
async fn b18_a_version_is_passed_on_once_it_has_been_there_for_long() {
    let day = json!({"packages": {"minimumAge": "24h"}});
    let path = "/left-pad/-/left-pad-1.3.0.tgz";
    assert_eq!(fetch(OLD, &day, path).await.0, "hello");
    assert_eq!(fetch(AGELESS, &json!({}), path).await.0, "hello", "without a gate");
    assert_eq!(fetch(AGELESS, &day, "/left-pad").await.0, "hello", "what is no version");
    let (printed, _) = fetch(AGELESS, &day, path).await;
    assert!(printed.contains("the registry sends no Last-Modified"), "{printed}");
}

#[tokio::test]
async fn b19_what_is_broken_off_once_it_was_asked_counts_as_asked_in_vain() {
    let (gateway, listener) = (gateway().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let server = Server { port: listener.local_addr().unwrap().port(), got: Shared::default() };
    gateway.judge.send_replace(policies_with(&registry(&server, &json!({"budget": {"notFound": 2}}))));
    let host = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 4_096]).await.unwrap(), 0, "it is asked, and says nothing");
        }
    });
    let ask = async || gateway.curl(&[&format!("http://ollama.models.svc:{}/left-pad", server.port)]).await.0;
    for _ in 0..2 {
        let printed = ask().await;
        assert!(printed.contains("cannot be reached"), "{printed}");
    }
    let printed = ask().await;
    assert!(printed.contains("allows 2 requests that find nothing"), "{printed}");
    host.await.unwrap();
}

#[tokio::test]
async fn b19_who_asks_in_vain_too_often_may_ask_no_more() {
    let (gateway, server) = (gateway().await, server(MISSING).await);
    let three = json!({"budget": {"notFound": 3}});
    gateway.judge.send_replace(policies_with(&registry(&server, &three)));
    let ask = async |name: &str| {
        let url = format!("http://ollama.models.svc:{}/{name}", server.port);
        gateway.curl(&[&url]).await.0
    };
    for name in ["secret-1", "secret-2", "secret-3"] {
        assert_eq!(ask(name).await, "none");
    }
    let printed = ask("secret-4").await;
    assert!(printed.contains("allows 3 requests that find nothing"), "{printed}");
    assert!(!server.got.text().contains("secret-4"));
    gateway.settle().await;
    assert_eq!(gateway.status.lock().unwrap()["egress"]["rules"][0]["notFound"], json!(3));
}

#[tokio::test]
async fn b19_who_asks_at_once_or_does_not_wait_for_answers_may_not_ask_more() {
    const NEVER: &str = "";
    let three = json!({"budget": {"notFound": 3}});
    for (answer, patience) in [(MISSING, "15"), (NEVER, "0.5")] {
        let (gateway, server) = (gateway().await, server(answer).await);
        gateway.judge.send_replace(policies_with(&registry(&server, &three)));
        let urls: Vec<_> = (0..20)
            .map(|number| format!("http://ollama.models.svc:{}/secret-{number}", server.port))
            .collect();
        let ask = async |url: &str| gateway.curl(&["--max-time", patience, url]).await;
        let printed = futures::future::join_all(urls.iter().map(|url| ask(url))).await;
        let refused =
            printed.iter().filter(|(printed, _)| printed.contains("allows 3 requests that find nothing"));
        assert_eq!((refused.count(), server.got.text().matches("secret").count()), (17, 3));
        let (printed, _) = ask(&urls[0]).await;
        assert!(
            printed.contains("allows 3 requests that find nothing"),
            "what is broken off was asked: {printed}"
        );
    }
}

#[tokio::test]
async fn what_is_found_costs_no_guess() {
    let (gateway, server) = (gateway().await, server(AGELESS).await);
    gateway.judge.send_replace(policies_with(&registry(&server, &json!({"budget": {"notFound": 1}}))));
    let url = format!("http://ollama.models.svc:{}/left-pad", server.port);
    for _ in 0..3 {
        assert_eq!(gateway.curl(&[&url]).await.0, "hello");
    }
}
