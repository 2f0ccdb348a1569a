//! What goes by itself: deleted long ago, attached to nothing, left behind.

use tokio::sync::mpsc;

use super::*;

impl Ground {
    /// Everything that a sweeper does in its time.
    async fn sweep(&self) {
        for shard in 0..depot::SHARDS {
            self.uploads.sweep(shard).await.unwrap();
        }
    }
}

fn room(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_needs_goes_and_the_rest_stays() {
    for ground in Ground::all(&["uploads.orphans_after=24h", "uploads.retention=48h"]).await {
        let loose = ground.take_in("alice", &content(1_000, 1)).await.unwrap();
        let attached = ground.take_in("alice", &content(2_000, 2)).await.unwrap();
        let deleted = ground.take_in("alice", &content(3_000, 3)).await.unwrap();
        let twin = ground.take_in("bob", &content(1_000, 1)).await.unwrap();
        ground.uploads.attach("alice", &room("room:1"), 1, &[&attached.id]).await.unwrap();
        ground.uploads.attach("bob", &room("room:1"), 2, &[&twin.id]).await.unwrap();
        ground.uploads.delete(&deleted.id, None).await.unwrap();
        ground.pass(23);
        ground.sweep().await;
        assert!(ground.uploads.find(&loose.id).await.is_ok());
        ground.pass(2);
        ground.sweep().await;
        assert!(matches!(ground.uploads.find(&loose.id).await, Err(Refused::NotFound)), "a day old and in no message");
        assert!(ground.content(&twin).await == content(1_000, 1), "its bytes are somebody else's, too");
        assert!(ground.uploads.find_deleted(&deleted.id).await.is_ok(), "it can still be restored");
        assert_eq!(ground.files().len(), 3);
        // What was restored has its time again.
        let restored = ground.uploads.restore(&deleted.id, None).await.unwrap();
        ground.sweep().await;
        assert!(ground.content(&restored).await == content(3_000, 3));
        ground.uploads.delete(&deleted.id, None).await.unwrap();
        ground.uploads.detach(&room("room:1"), 1).await.unwrap();
        ground.pass(49);
        ground.sweep().await;
        assert!(matches!(ground.uploads.find_deleted(&deleted.id).await, Err(Refused::NotFound)));
        assert!(matches!(ground.uploads.find(&attached.id).await, Err(Refused::NotFound)), "loose since it was detached");
        assert!(ground.content(&twin).await == content(1_000, 1), "attached for days");
        assert_eq!(ground.files().len(), 1);
        assert_eq!(uploads::used(&ground.uploads.db, "alice").await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_swept_while_the_same_bytes_come_in() {
    for ground in Ground::all(&["uploads.orphans_after=1s"]).await {
        let bytes = content(7 << 20, 5);
        let old = ground.take_in("alice", &bytes).await.unwrap();
        ground.clock.fetch_add(2_000, Relaxed);
        // The same bytes are on their way, all but the last.
        let (sender, receiver) = mpsc::channel::<Piece>(1);
        let body = stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|piece| (piece, receiver)));
        let uploads = ground.uploads.clone();
        let upload = tokio::spawn(async move { uploads.take_in(new("bob"), Box::pin(body)).await });
        for piece in bytes[..bytes.len() - 1].chunks(1 << 20) {
            sender.send(Ok(Bytes::copy_from_slice(piece))).await.unwrap();
        }
        ground.sweep().await;
        assert!(matches!(ground.uploads.find(&old.id).await, Err(Refused::NotFound)));
        sender.send(Ok(Bytes::copy_from_slice(&bytes[bytes.len() - 1..]))).await.unwrap();
        drop(sender);
        let new = upload.await.unwrap().unwrap();
        assert_eq!(new.sha256, old.sha256);
        ground.sweep().await;
        assert!(ground.content(&new).await == bytes);
        assert_eq!(ground.files().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sweeping_and_taking_in_the_same_bytes_never_loses_any() {
    for place in Place::all().await {
        let ground = Ground::new(place, None, &["uploads.orphans_after=1s", "uploads.at_once=64"]).await;
        let bytes = content(500, 5);
        for _ in 0..40 {
            let old = ground.take_in("alice", &bytes).await.unwrap();
            ground.clock.fetch_add(1_001, Relaxed);
            let (swept, one, two) = tokio::join!(ground.uploads.sweep(0), ground.take_in("bob", &bytes), ground.take_in("carol", &bytes));
            swept.unwrap();
            assert!(matches!(ground.uploads.find(&old.id).await, Err(Refused::NotFound)));
            for upload in [one.unwrap(), two.unwrap()] {
                assert!(ground.content(&upload).await == bytes);
                ground.uploads.purge(&upload.id).await.unwrap();
            }
            assert_eq!(ground.files(), Vec::<PathBuf>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_without_a_row_go_when_they_are_old() {
    for ground in Ground::all(&[]).await {
        let kept = ground.take_in("alice", b"kept").await.unwrap();
        ground.uploads.attach("alice", &room("room:1"), 1, &[&kept.id]).await.unwrap();
        // As an instance leaves it that is killed between the object and the row.
        let object = Depot::name_for(&ground.uploads.world.id().to_string());
        let mut incoming = ground.uploads.depot.begin(object.clone()).unwrap();
        incoming.write(b"left behind").await.unwrap();
        incoming.finish().await.unwrap();
        assert_eq!(ground.files().len(), 2);
        ground.sweep().await;
        assert_eq!(ground.files().len(), 2, "it might be on its way");
        // What is not ours stays, wherever it lies.
        let place = ground.files().into_iter().find(|file| file.to_string_lossy().ends_with(&object)).unwrap();
        let foreign = place.with_file_name("README");
        std::fs::write(&foreign, "by an operator").unwrap();
        ground.pass(25);
        ground.sweep().await;
        assert!(!place.exists() && foreign.exists());
        assert_eq!(ground.content(&kept).await, b"kept");
    }
}

#[tokio::test]
async fn what_was_half_written_by_an_instance_that_was_killed_goes() {
    let ground = Ground::new(Place::sqlite(), None, &[]).await;
    let upload = ground.take_in("alice", b"whole").await.unwrap();
    ground.uploads.attach("alice", &room("room:1"), 1, &[&upload.id]).await.unwrap();
    let half = ground.files()[0].with_extension("half#1");
    std::fs::write(&half, "ha").unwrap();
    ground.sweep().await;
    assert!(half.exists());
    ground.pass(25);
    ground.sweep().await;
    assert!(!half.exists());
    assert_eq!(ground.content(&upload).await, b"whole");
}

#[tokio::test]
async fn only_own_uploads_and_those_of_the_channel_are_attached() {
    for place in Place::all().await {
        let ground = Ground::new(place, None, &[]).await;
        let (mine, his) = (ground.take_in("alice", b"mine").await.unwrap(), ground.take_in("bob", b"his").await.unwrap());
        let piece: Piece = Ok(Bytes::from_static(b"the room's"));
        let of_room = NewUpload { channel: Some(room("room:1")), ..new("bob") };
        let of_room = ground.uploads.take_in(of_room, stream::iter([piece])).await.unwrap();
        let attach = async |channel: &str, seq, ids: &[&str]| ground.uploads.attach("alice", &room(channel), seq, ids).await;
        attach("room:1", 1, &[&mine.id, &of_room.id]).await.unwrap();
        attach("room:1", 1, &[&of_room.id, &mine.id]).await.unwrap();
        assert!(matches!(attach("room:1", 2, &[&mine.id, &his.id]).await, Err(Refused::NotAttachable { index: 1 })));
        assert!(matches!(attach("room:2", 1, &[&of_room.id]).await, Err(Refused::NotAttachable { index: 0 })));
        assert!(matches!(attach("room:1", 2, &["nowhere"]).await, Err(Refused::NotAttachable { index: 0 })));
        let attached = ground.uploads.attached(&room("room:1"), 1, 10).await.unwrap();
        assert_eq!(attached, [(1, mine.clone()), (1, of_room.clone())]);
        // Whoever may read where it is attached may read it.
        assert_eq!(ground.uploads.channels(&mine).await.unwrap(), [room("room:1")]);
        assert_eq!(ground.uploads.channels(&of_room).await.unwrap(), [room("room:1")]);
        assert!(ground.uploads.channels(&his).await.unwrap().is_empty());
        let mut many = Vec::new();
        for number in 0..MAX_ATTACHMENTS + 1 {
            many.push(ground.take_in("alice", number.to_string().as_bytes()).await.unwrap().id);
        }
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(matches!(attach("room:1", 3, &many).await, Err(Refused::TooManyAttachments { .. })));
        attach("room:1", 3, &many[1..]).await.unwrap();
        ground.uploads.delete(&mine.id, None).await.unwrap();
        assert_eq!(ground.uploads.attached(&room("room:1"), 1, 1).await.unwrap(), [(1, of_room)]);
        ground.uploads.purge(&mine.id).await.unwrap();
        assert!(matches!(attach("room:1", 4, &[&mine.id]).await, Err(Refused::NotAttachable { index: 0 })));
    }
}

#[tokio::test]
async fn whoever_takes_uploads_away_waits_for_nobody_who_waits_for_him() {
    const MANY: u64 = 60;
    for place in Place::all().await {
        let ground = Ground::new(place, None, &[]).await;
        let channel = room("room:1");
        let mut ids = Vec::new();
        for seq in 1..=MANY {
            let upload = ground.take_in("alice", seq.to_string().as_bytes()).await.unwrap();
            ground.uploads.attach("alice", &channel, seq, &[&upload.id]).await.unwrap();
            ids.push(upload.id);
        }
        // Each in its own order: by place, the newest first, and the oldest first in one go.
        let detach = async {
            for seq in 1..=MANY {
                ground.uploads.detach(&channel, seq).await.unwrap();
            }
        };
        let purge = async {
            for id in ids.iter().rev().step_by(2) {
                ground.uploads.purge(id).await.unwrap();
            }
        };
        let trim = async { while uploads::detach(&ground.uploads.db, "room:1", 0..MANY + 1, 1, 50).await.unwrap() > 0 {} };
        let again = async {
            let others: Vec<&str> = ids.iter().rev().skip(1).step_by(2).take(MAX_ATTACHMENTS).map(String::as_str).collect();
            ground.uploads.attach("alice", &room("room:2"), 1, &others).await.unwrap();
        };
        tokio::join!(detach, purge, trim, again);
        assert_eq!(ground.uploads.attached(&channel, 1, MANY).await.unwrap(), []);
        assert_eq!(ground.uploads.attached(&room("room:2"), 1, 1).await.unwrap().len(), MAX_ATTACHMENTS);
    }
}
