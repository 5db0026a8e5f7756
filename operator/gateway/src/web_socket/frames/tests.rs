use rustls::crypto::aws_lc_rs::default_provider;
use tokio::io::{DuplexStream, duplex};

use super::*;

const MIB: usize = 1 << 20;
const WHOLE: OpCode = OpCode::Data(Data::Binary);

fn limits(max: u64) -> Limits {
    Limits { max, room: Room::of(8 * MIB), own: OwnRoom::of(2 * MIB) }
}

/// What says frames byte by byte, and who reads them as a host's, or a workspace's.
fn spoken(max: u64, is_masked: bool) -> (DuplexStream, Reader<DuplexStream>) {
    let (near, far) = duplex(4 * MIB);
    (near, Reader::new(far, is_masked, limits(max)))
}

/// What comes of these bytes of a host, with at most four bytes a message.
async fn heard(bytes: &[u8]) -> Result<Event, Reason> {
    let (mut host, mut reader) = spoken(4, false);
    host.write_all(bytes).await.unwrap();
    drop(host);
    reader.next().await
}

#[tokio::test]
async fn what_is_said_is_heard_whatever_its_length_and_whether_it_is_masked() {
    for is_masked in [false, true] {
        let random = Some(default_provider().secure_random).filter(|_| is_masked);
        for length in [0, 1, 125, 126, 65_535, 65_536, PIECE, PIECE + 1, 2 * MIB - 1] {
            let (near, mut reader) = spoken(2 << 20, is_masked);
            let said: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut writer = Writer::new(near, random);
            let (spoken, event) = tokio::join!(writer.say(WHOLE, &said), reader.next());
            spoken.unwrap();
            let Ok(Event::Message(Message { kind: Data::Binary, bytes })) = event else {
                panic!("{event:?}")
            };
            assert!(bytes == said, "{length}");
            writer.close(Some(1_000)).await;
            assert!(matches!(reader.next().await, Ok(Event::Close)));
        }
    }
}

#[tokio::test]
async fn b21_what_is_no_message_ends_the_conversation() {
    for (bytes, reason) in [
        (&[0x81, 1, 0xff][..], Reason::Malformed),
        (&[0xc2, 1, b'x'], Reason::Malformed),
        (&[0x83, 1, b'x'], Reason::Malformed),
        (&[0x80, 1, b'x'], Reason::Malformed),
        (&[0x02, 1, b'x', 0x82, 1, b'x'], Reason::Malformed),
        (&[0x82, 0x81, 0, 0, 0, 0, b'x'], Reason::Malformed),
        (&[0x09, 0], Reason::Malformed),
        (&[0x89, 126, 0, 126], Reason::Malformed),
        (&[0x8b, 0], Reason::Malformed),
        (&[0x82, 5], Reason::BodyTooLong),
        (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Reason::BodyTooLong),
        (&[0x02, 3, b'x', b'x', b'x', 0x80, 2], Reason::BodyTooLong),
        (&[0x02, 1, b'x'], Reason::BrokenOff),
        (&[], Reason::BrokenOff),
    ] {
        let heard = heard(bytes).await;
        assert_eq!(heard.map(drop), Err(reason), "{bytes:02x?}");
    }
    let (mut workspace, mut reader) = spoken(4, true);
    workspace.write_all(&[0x82, 1, b'x']).await.unwrap();
    assert_eq!(reader.next().await.map(drop), Err(Reason::Malformed), "it has to mask what it says");
}

#[tokio::test]
async fn a_message_comes_whole_however_it_comes_and_whoever_stops_waiting() {
    let (mut host, mut reader) = spoken(4, false);
    for byte in [0x01, 2, 0xc3, 0xa4, 0x89, 1, b'p', 0x00, 0, 0x80, 1] {
        host.write_all(&[byte]).await.unwrap();
        let asked = timeout(Duration::from_millis(5), reader.next()).await;
        assert!(matches!(asked, Err(_) | Ok(Ok(Event::Ping(_)))), "{byte}: {asked:?}");
    }
    host.write_all(b"x\x8a\x00").await.unwrap();
    let Ok(Event::Message(Message { kind: Data::Text, bytes })) = reader.next().await else { panic!() };
    assert_eq!(bytes, "äx");
    assert!(matches!(reader.next().await, Ok(Event::Pong)));
}

#[tokio::test]
async fn b25_a_message_takes_room_as_it_comes_and_as_long_as_somebody_has_it() {
    let (mut host, mut reader) = spoken(MIB as u64, false);
    let room = reader.limits.room.clone();
    let before = room.left();
    host.write_all(&[0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]).await.unwrap();
    assert!(timeout(Duration::from_millis(5), reader.next()).await.is_err());
    assert_eq!(room.left(), before, "it is only announced");
    host.write_all(&vec![0; MIB / 2]).await.unwrap();
    assert!(timeout(Duration::from_millis(50), reader.next()).await.is_err());
    assert_eq!(room.left(), before - MIB / 2);
    host.write_all(&vec![0; MIB / 2]).await.unwrap();
    let message = reader.next().await.unwrap();
    assert_eq!(room.left(), before - MIB);
    drop(message);
    assert_eq!(room.left(), before, "an open conversation has none");
    assert!(reader.unread.capacity() <= 3 * PIECE);
}

#[tokio::test(start_paused = true)]
async fn b25_a_message_that_does_not_come_to_its_end_is_not_waited_for() {
    let (mut host, mut reader) = spoken(4, false);
    assert!(timeout(ARRIVAL * 2, reader.next()).await.is_err(), "who says nothing may take its time");
    host.write_all(&[0x82, 2, b'x']).await.unwrap();
    let start = Instant::now();
    assert_eq!(reader.next().await.map(drop), Err(Reason::SlowBody));
    assert_eq!(start.elapsed().as_secs(), ARRIVAL.as_secs());
}

#[tokio::test(start_paused = true)]
async fn b25_a_message_that_nobody_takes_is_not_kept() {
    let (near, _far) = duplex(PIECE);
    let mut writer = Writer::new(near, None);
    let start = Instant::now();
    assert_eq!(writer.say(WHOLE, &vec![0; 3 * PIECE]).await, Err(Reason::SlowBody));
    assert_eq!(start.elapsed().as_secs(), DELIVERY.as_secs());
}

#[tokio::test]
async fn nothing_is_said_in_the_middle_of_something() {
    let (near, mut far) = duplex(2 * PIECE);
    let mut writer = Writer::new(near, None);
    let said = timeout(Duration::from_millis(5), writer.say(WHOLE, &vec![0; 3 * PIECE])).await;
    assert!(said.is_err(), "it is too much");
    writer.close(Some(1_000)).await;
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert!(heard.len() <= 2 * PIECE && heard.iter().skip(10).all(|byte| *byte == 0));
}
