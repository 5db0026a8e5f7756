use futures::future::join_all;
use tokio::time::sleep;

use super::*;

/// Room for so many bytes that have come.
async fn taken(room: &Room, own: &OwnRoom, units: usize) -> Option<BodyPermit> {
    let mut permit = room.permit(own);
    permit.grow((units * UNIT) as u64).await.map(|()| permit)
}

fn own() -> OwnRoom {
    OwnRoom::of(100 * UNIT)
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_room_and_leaves_it_when_it_is_gone() {
    let room = Room::of(9 * UNIT);
    let first = taken(&room, &own(), 3).await.unwrap().hold(Bytes::from_static(b"body"));
    assert_eq!(first, "body");
    let copy = first.clone();
    assert!(taken(&room, &own(), 3).await.is_none(), "there is none");
    drop(first);
    assert!(taken(&room, &own(), 3).await.is_none(), "a copy is one too");
    drop(copy);
    assert!(taken(&room, &own(), 3).await.is_some());
    assert!(room.permit(&own()).grow(u64::MAX).await.is_none());
    assert_eq!(room.left(), 9 * UNIT);
}

#[tokio::test(start_paused = true)]
async fn b25_who_fills_its_own_room_waits_for_itself_alone() {
    let (room, own, other) = (Room::of(8 * UNIT), OwnRoom::of(2 * UNIT), OwnRoom::of(2 * UNIT));
    let held = taken(&room, &own, 2).await.unwrap();
    let waiting: Vec<_> = (0..50).map(|_| Box::pin(taken(&room, &own, 2))).collect();
    let (waited, others) = tokio::join!(join_all(waiting), async {
        sleep(Duration::from_secs(1)).await;
        timeout(Duration::from_millis(1), taken(&room, &other, 2)).await
    });
    assert!(others.is_ok_and(|taken| taken.is_some()), "others have theirs at once");
    assert!(waited.iter().all(Option::is_none));
    drop(held);
    assert!(taken(&room, &own, 2).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn b25_what_is_announced_and_does_not_come_takes_nothing_from_others() {
    let (room, own) = (Room::of(6 * UNIT), OwnRoom::of(2 * UNIT));
    let mut announced = room.permit(&own);
    announced.announce(2 * UNIT as u64).await.unwrap();
    assert_eq!(room.left(), 6 * UNIT);
    assert!(room.permit(&own).announce(1).await.is_none(), "its own wait for each other");
    announced.grow(1).await.unwrap();
    assert_eq!(room.left(), 5 * UNIT);
    drop(announced);
    assert!(room.permit(&own).announce(2 * UNIT as u64).await.is_some());
    assert_eq!(room.left(), 6 * UNIT);
}

#[tokio::test(start_paused = true)]
async fn b25_what_is_small_does_not_wait_behind_what_is_large() {
    let room = Room::of(9 * UNIT);
    let _held = taken(&room, &own(), 3).await.unwrap();
    let (large, small) = (own(), own());
    let (large, small) = tokio::join!(taken(&room, &large, 3), async {
        sleep(Duration::from_secs(1)).await;
        timeout(Duration::from_millis(1), taken(&room, &small, 1)).await
    });
    assert!(small.is_ok_and(|taken| taken.is_some()));
    assert!(large.is_none());
}

#[tokio::test(start_paused = true)]
async fn b25_who_takes_all_it_gets_leaves_twice_as_much_to_others() {
    let room = Room::of(15 * UNIT);
    let mut permits: Vec<_> = (0..3).map(|_| room.permit(&own())).collect();
    for units in 1..=15 {
        for permit in &mut permits {
            permit.grow((units * UNIT) as u64).await;
        }
    }
    assert_eq!(permits.iter().map(|permit| permit.held).collect::<Vec<_>>(), [3, 3, 3]);
    assert!(taken(&room, &own(), 2).await.is_some(), "who comes next has room");
    permits.truncate(1);
    assert!(permits[0].grow(5 * UNIT as u64).await.is_some());
    assert_eq!(room.left(), 10 * UNIT);
    assert!(permits[0].grow(6 * UNIT as u64).await.is_none(), "a third is all that one gets");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_when_room_is_given_back() {
    let (room, own) = (Room::of(6 * UNIT), own());
    let held = taken(&room, &own, 2).await.unwrap();
    let (taken, ()) = tokio::join!(timeout(PATIENCE / 2, taken(&room, &own, 2)), async {
        sleep(Duration::from_secs(1)).await;
        drop(held);
    });
    assert!(taken.is_ok_and(|taken| taken.is_some()));
}
