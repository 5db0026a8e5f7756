//! `WebSockets` (B21): what a rule allows passes as whole messages, counted; nothing else does.

use std::io::Write as _;

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{
        Bytes, Error, Message,
        client::IntoClientRequest as _,
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::{passing::HELLO, *};
use crate::testing::class;

/// Says each message again, and keeps what it was sent, with the kind of each.
async fn echo() -> (u16, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, got) = (listener.local_addr().unwrap().port(), Shared::default());
    let sink = got.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut sink = sink.clone();
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    writeln!(sink, "{message:?}").unwrap();
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    (port, got)
}

fn rules(port: u16, more: &Value) -> Value {
    let mut rule = json!({"name": "talk", "service": {"namespace": "models", "name": "ollama", "port": port},
        "allow": [{"methods": ["GET"], "paths": ["/talk"], "webSocket": {"maxMessage": "1Ki"}}]});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([rule])
}

impl Gateway {
    async fn web_socket(&self, port: u16, path: &str) -> Result<WebSocketStream<TcpStream>, Error> {
        let host = format!("ollama.models.svc:{port}");
        let stream = self.tunnel(&host).await;
        Ok(client_async(format!("ws://{host}{path}"), stream).await?.0)
    }
}

/// The status with which a WebSocket was refused.
fn refused(opened: Result<WebSocketStream<TcpStream>, Error>) -> u16 {
    match opened {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn b21_messages_pass_both_ways_whole_and_counted() {
    let (gateway, (port, got)) = (gateway().await, echo().await);
    gateway.judge.send_replace(policies_with(&rules(port, &json!({"budget": {"upload": "1Mi"}}))));
    let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"secret in a ping"))).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![7; 1_000])] {
        socket.send(message.clone()).await.unwrap();
        let answer = loop {
            let answer = socket.next().await.unwrap().unwrap();
            if !answer.is_pong() {
                break answer;
            }
        };
        assert_eq!(answer, message);
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    gateway.settle().await;
    assert!(!got.text().contains("Ping"), "what a ping carries goes no further: {}", got.text());
    let line = gateway.log.lines().pop().unwrap();
    assert_eq!(
        (&line["status"], &line["rule"], &line["path"]),
        (&json!(101), &json!("talk"), &json!("/talk"))
    );
    assert!((1_005..2_000).contains(&line["sentBytes"].as_u64().unwrap()), "{line}");
    assert_eq!(line["receivedBytes"], json!(1_005));
}

#[tokio::test]
async fn b21_a_web_socket_is_opened_only_where_a_rule_says_so() {
    let (gateway, (port, got)) = (gateway().await, echo().await);
    gateway.judge.send_replace(policies_with(&rules(port, &json!({}))));
    assert_eq!(refused(gateway.web_socket(port, "/other").await), 403);
    let plain = json!({"allow": [{"methods": ["GET"], "paths": ["/**"]}]});
    gateway.judge.send_replace(policies_with(&rules(port, &plain)));
    assert_eq!(refused(gateway.web_socket(port, "/talk").await), 403);
    assert_eq!(got.text(), "");
    gateway.settle().await;
    assert_eq!(gateway.log.lines().pop().unwrap()["reason"], "web-socket");
}

#[tokio::test]
async fn b21_a_host_that_opens_none_is_not_listened_to() {
    let (gateway, server) = (gateway().await, passing::server(HELLO).await);
    gateway.judge.send_replace(policies_with(&rules(server.port, &json!({}))));
    assert_eq!(refused(gateway.web_socket(server.port, "/talk").await), 200);
    let liar = passing::server("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n").await;
    gateway.judge.send_replace(policies_with(&rules(liar.port, &json!({}))));
    assert_eq!(refused(gateway.web_socket(liar.port, "/talk").await), 502);
}

/// A piece of a text message.
#[tokio::test]
async fn b24_a_credential_does_not_come_back_in_messages_nor_in_pieces_of_them() {
    for pieces in [vec![CREDENTIAL], CREDENTIAL.split_inclusive("").collect()] {
        let (gateway, (port, got)) = (gateway().await, echo().await);
        let secret = json!({"credential": {"secretName": "token", "key": "key"}});
        gateway.judge.send_replace(policies_with(&rules(port, &secret)));
        let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"), "the control");
        let mut back = String::new();
        for piece in &pieces {
            socket.send(Message::text(*piece)).await.ok();
            match socket.next().await {
                Some(Ok(Message::Text(text))) => back.push_str(&text),
                _ => break,
            }
        }
        assert!(got.text().contains(pieces[0]) && back.len() <= CREDENTIAL.len() / 2, "{back:?}");
        drop(socket);
        gateway.settle().await;
        assert_eq!(gateway.log.lines().pop().unwrap()["reason"], "credential-reflected");
    }
}

fn piece(text: &'static str, kind: Data, is_last: bool) -> Frame {
    Frame::message(text, OpCode::Data(kind), is_last)
}

#[tokio::test]
async fn b21_a_message_in_pieces_goes_on_whole() {
    let (gateway, (port, got)) = (gateway().await, echo().await);
    gateway.judge.send_replace(policies_with(&rules(port, &json!({}))));
    let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
    for frame in [piece("he", Data::Text, false), piece("", Data::Continue, false)] {
        socket.send(Message::Frame(frame)).await.unwrap();
    }
    socket.send(Message::Ping(Bytes::from_static(b"between"))).await.unwrap();
    socket.send(Message::Frame(piece("llo", Data::Continue, true))).await.unwrap();
    let answer = loop {
        let answer = socket.next().await.unwrap().unwrap();
        if !answer.is_pong() {
            break answer;
        }
    };
    assert_eq!(answer, Message::text("hello"));
    assert_eq!(got.text().lines().count(), 1, "{}", got.text());
}

#[tokio::test]
async fn b21_there_is_no_compression_to_hide_in() {
    let (gateway, (port, got)) = (gateway().await, echo().await);
    gateway.judge.send_replace(policies_with(&rules(port, &json!({}))));
    let host = format!("ollama.models.svc:{port}");
    let mut request = format!("ws://{host}/talk").into_client_request().unwrap();
    let offer = "permessage-deflate".parse().unwrap();
    request.headers_mut().insert("sec-websocket-extensions", offer);
    let stream = gateway.tunnel(&host).await;
    let (mut socket, response) = client_async(request, stream).await.unwrap();
    assert!(!response.headers().contains_key("sec-websocket-extensions"), "{response:?}");
    let mut compressed = piece("hidden", Data::Text, true);
    compressed.header_mut().rsv1 = true;
    socket.send(Message::Frame(compressed)).await.unwrap();
    assert!(!matches!(socket.next().await, Some(Ok(Message::Text(_)))), "it is not taken");
    assert!(!got.text().contains("Text"), "{}", got.text());
}

#[tokio::test]
async fn b21_what_is_too_long_or_too_much_ends_the_conversation_unsent() {
    for (more, messages, reason) in [
        (json!({}), vec![Message::text("x".repeat(1_025))], "body-too-long"),
        (json!({"budget": {"upload": "1000"}}), vec![Message::text("x".repeat(600)); 3], "over-budget"),
        (json!({"budget": {"upload": "1000"}}), vec![Message::text(""); 100], "over-budget"),
        (json!({"budget": {"request": "1000"}}), vec![Message::text("x".repeat(300)); 10], "over-budget"),
    ] {
        let (gateway, (port, got)) = (gateway().await, echo().await);
        gateway.judge.send_replace(policies_with(&rules(port, &more)));
        let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
        for message in messages {
            socket.send(message).await.ok();
        }
        let end = timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} });
        assert!(end.await.is_ok(), "it ends");
        drop(socket);
        gateway.settle().await;
        assert!(got.text().matches('x').count() <= 1_000, "{reason}");
        assert_eq!(gateway.log.lines().pop().unwrap()["reason"], reason);
    }
}

/// Whether a conversation has ended.
async fn is_over(socket: &mut WebSocketStream<TcpStream>, patience: Duration) -> bool {
    timeout(patience, async { while let Some(Ok(_)) = socket.next().await {} }).await.is_ok()
}

#[tokio::test]
async fn a13_b21_a_conversation_ends_when_the_policy_does_not_allow_it_any_more() {
    let of_length = |max: &str| json!({"allow": [{"methods": ["GET"], "paths": ["/talk"], "webSocket": {"maxMessage": max}}]});
    for (rules_then, goes_on) in [
        (None, false),
        (Some(of_length("1Ki")), true),
        (Some(of_length("2Ki")), true),
        (Some(of_length("512")), false),
    ] {
        let (gateway, (port, _)) = (gateway().await, echo().await);
        gateway.judge.send_replace(policies_with(&rules(port, &json!({}))));
        let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
        let now = rules_then.as_ref().map_or_else(|| json!([]), |more| rules(port, more));
        gateway.judge.send_if_modified(|policies| policies.insert_class(class(&now)));
        let patience = Duration::from_millis(if goes_on { 500 } else { 5_000 });
        assert_eq!(is_over(&mut socket, patience).await, !goes_on, "{now}");
        drop(socket);
        gateway.settle().await;
        let reason = gateway.log.lines().pop().unwrap()["reason"].clone();
        assert_eq!(reason, if goes_on { "broken-off" } else { "revoked" });
    }
}

/// Lets so much time pass at once.
async fn after(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn b25_a_conversation_ends_when_nobody_says_anything_and_a_ping_says_something() {
    const SOON: Duration = Duration::from_millis(300);
    let (gateway, (port, _)) = (gateway().await, echo().await);
    gateway.judge.send_replace(policies_with(&rules(port, &json!({}))));
    let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
    for message in [Message::Ping(Bytes::new()), Message::text("hello")] {
        after(590).await;
        assert!(!is_over(&mut socket, SOON).await);
        socket.send(message).await.unwrap();
        let answer = timeout(PATIENCE, socket.next()).await.expect("it is answered");
        assert!(answer.unwrap().is_ok());
    }
    after(590).await;
    assert!(!is_over(&mut socket, SOON).await);
    after(10).await;
    assert!(is_over(&mut socket, PATIENCE).await);
    drop(socket);
    gateway.settle().await;
    assert_eq!(gateway.log.lines().pop().unwrap()["reason"], "idle");
}

#[tokio::test]
async fn b21_a_workspace_is_told_why_a_conversation_ends() {
    let (gateway, (port, _)) = (gateway().await, echo().await);
    gateway.judge.send_replace(policies_with(&rules(port, &json!({}))));
    let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
    socket.send(Message::text("x".repeat(1_025))).await.unwrap();
    let Some(Ok(Message::Close(Some(told)))) = socket.next().await else { panic!("it is closed") };
    assert_eq!(u16::from(told.code), 1_009);
}

#[tokio::test]
async fn b25_conversations_in_which_nothing_is_said_take_no_room_from_bodies() {
    let (gateway, (port, _), server) = (gateway().await, echo().await, crowd::server().await);
    let long =
        json!({"allow": [{"methods": ["GET"], "paths": ["/talk"], "webSocket": {"maxMessage": "16Mi"}}]});
    let mut rules = rules(port, &long);
    rules.as_array_mut().unwrap().push(crowd::documents(&server));
    gateway.judge.send_replace(policies_with(&rules));
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut socket = gateway.web_socket(port, "/talk").await.unwrap();
        // One is announced, and does not come.
        socket.get_mut().write_all(&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        open.push(socket);
    }
    assert!(gateway.serves(&server, 3 << 20).await);
    assert_eq!(gateway.proxy.room.left(), BODIES);
}
