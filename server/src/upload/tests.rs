//! Files in a folder and in a bucket, known in either database: what comes in is there as a whole or not at all, and goes when it should.

#[path = "../../tests/shared/s3.rs"]
mod s3;
mod sweeping;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::*;
use crate::{
    config::{Config, Sources},
    store::{
        listing::{Condition, Op, Order, Selection, Term},
        testing::Place,
    },
    world::Clock,
};

type Piece = Result<Bytes, std::io::Error>;

/// Uploads on a ground of their own.
struct Ground {
    uploads: Arc<Uploads>,
    clock: Arc<AtomicU64>,
    folder: PathBuf,
    _s3: Option<s3::S3>,
    _folder: tempfile::TempDir,
    _place: Place,
}

impl Ground {
    /// A folder and a bucket, each beside each database.
    async fn all(settings: &[&str]) -> Vec<Self> {
        let mut all = Vec::new();
        for place in Place::all().await {
            all.push(Self::new(place, None, settings).await);
        }
        for place in Place::all().await {
            all.push(Self::new(place, Some(s3::S3::start()), settings).await);
        }
        all
    }

    async fn new(place: Place, s3: Option<s3::S3>, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("files");
        let mut arguments = vec![format!("uploads.url=file:{}", path.display())];
        arguments.extend(s3.iter().flat_map(s3::S3::settings));
        arguments.extend(settings.iter().map(|setting| (*setting).to_owned()));
        let config = Config::load(&Sources { arguments, ..Sources::default() }).unwrap().uploads;
        let clock = Arc::new(AtomicU64::new(Clock::System.now()));
        let uploads = Uploads::open(Parts {
            config,
            db: place.open().await,
            tasks: Tasks::default(),
            metrics: Arc::new(Metrics::new()),
            world: World { clock: Clock::Manual(clock.clone()), ..World::system() },
        })
        .unwrap();
        let path = s3.as_ref().map_or(path, s3::S3::folder);
        Self { uploads, clock, folder: path, _s3: s3, _folder: folder, _place: place }
    }

    fn pass(&self, hours: u64) {
        self.clock.fetch_add(hours * 3_600_000, Relaxed);
    }

    async fn take_in(&self, owner: &str, content: &[u8]) -> Result<Upload, Refused> {
        let pieces: Vec<Piece> = content.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        self.uploads.take_in(new(owner), stream::iter(pieces)).await
    }

    async fn content(&self, upload: &Upload) -> Vec<u8> {
        self.part(upload, 0..upload.size).await
    }

    async fn part(&self, upload: &Upload, range: std::ops::Range<u64>) -> Vec<u8> {
        let mut outflow = self.uploads.read(upload, range).await.unwrap();
        let mut content = Vec::new();
        while let Some(piece) = outflow.next().await {
            content.extend_from_slice(&piece.unwrap());
        }
        content
    }

    /// Files below the place of the bytes, those that are not whole included.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(&self.folder, &mut files);
        files
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), files),
            // What the S3 server keeps beside an object.
            false if entry.file_name().to_string_lossy().starts_with('.') => {}
            false => files.push(entry.path()),
        }
    }
}

fn new(owner: &str) -> NewUpload {
    NewUpload { owner: owner.into(), channel: None, name: Name::parse("a.bin").unwrap(), claimed: None, declared: None }
}

/// Bytes that differ everywhere, and from those of another seed.
fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_in_goes_out() {
    for ground in Ground::all(&[]).await {
        // Around the parts of a file (1 MiB) and of S3 (5 MiB).
        for length in [0, 1, 70_000, 1 << 20, (1 << 20) + 1, 5 << 20, (5 << 20) + 1, 12 << 20] {
            let content = content(length, 7);
            let upload = ground.take_in("alice", &content).await.unwrap();
            assert_eq!(upload.size, length as u64);
            assert_eq!(upload.sha256, sha256(&content));
            assert_eq!(ground.uploads.find(&upload.id).await.unwrap(), upload);
            assert!(ground.content(&upload).await == content, "{length} bytes");
            if length > 10 {
                let (from, to) = (length as u64 / 3, length as u64 - 2);
                assert!(ground.part(&upload, from..to).await == content[from as usize..to as usize]);
            }
        }
        let used: u64 = uploads::used(&ground.uploads.db, "alice").await.unwrap();
        assert_eq!(used, 70_003 + (24 << 20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn equal_bytes_are_kept_once() {
    for ground in Ground::all(&[]).await {
        let content = content(6 << 20, 1);
        let both = tokio::join!(ground.take_in("alice", &content), ground.take_in("bob", &content));
        let (one, two) = (both.0.unwrap(), both.1.unwrap());
        let three = ground.take_in("carol", &content).await.unwrap();
        assert!(one.id != two.id && one.sha256 == two.sha256 && two.sha256 == three.sha256);
        assert_eq!(ground.files().len(), 1, "{:?}", ground.files());
        ground.uploads.purge(&one.id).await.unwrap();
        ground.uploads.purge(&three.id).await.unwrap();
        assert!(ground.content(&two).await == content);
        ground.uploads.purge(&two.id).await.unwrap();
        assert_eq!(ground.files(), Vec::<PathBuf>::new());
        assert!(matches!(ground.uploads.purge(&two.id).await, Err(Refused::NotFound)));
        assert!(matches!(ground.uploads.read(&two, 0..1).await, Err(Refused::NotFound)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_leaves_nothing() {
    for ground in Ground::all(&["uploads.max_size=7MiB"]).await {
        let broken = || {
            let good = (0..60).map(|_| Ok(Bytes::from(vec![7; 100_000])));
            good.chain([Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))])
        };
        let refused = ground.uploads.take_in(new("alice"), stream::iter(broken())).await;
        assert!(matches!(refused, Err(Refused::Broken)), "{refused:?}");
        let refused = ground.take_in("alice", &vec![1; (7 << 20) + 1]).await;
        assert!(matches!(refused, Err(Refused::TooLarge { max: 7_340_032 })), "{refused:?}");
        // Whoever uploads goes away in the middle.
        let endless = stream::iter(broken().take(55)).chain(stream::pending());
        let (uploads, mut upload) = (ground.uploads.clone(), Box::pin(ground.uploads.take_in(new("alice"), endless)));
        let gone = tokio::time::timeout(std::time::Duration::from_millis(300), &mut upload).await;
        assert!(gone.is_err(), "it goes on for ever");
        drop(upload);
        let declared = NewUpload { declared: Some(8 << 20), ..new("alice") };
        let refused = uploads.take_in(declared, stream::pending::<Piece>()).await;
        assert!(matches!(refused, Err(Refused::TooLarge { .. })), "before the first byte: {refused:?}");
        for _ in 0..500 {
            if ground.files().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(ground.files(), Vec::<PathBuf>::new());
        assert_eq!(uploads::used(&uploads.db, "alice").await.unwrap(), 0);
        assert!(ground.take_in("alice", b"all places are free again").await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_holds_however_many_come_at_once() {
    for place in Place::all().await {
        let ground = Ground::new(place, None, &["uploads.max_size=1KiB", "uploads.user_quota=4KiB", "uploads.at_once=64"]).await;
        let contents: Vec<_> = (0..8).map(|seed| content(1_000, seed + 1)).collect();
        let results = futures_util::future::join_all(contents.iter().map(|content| ground.take_in("alice", content))).await;
        let taken: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(taken.len(), 4);
        assert!(
            results.iter().filter_map(|result| result.as_ref().err()).all(|refused| matches!(refused, Refused::OverQuota { quota: 4096 }))
        );
        assert_eq!(ground.files().len(), 4, "of those that were refused nothing is left");
        assert!(ground.take_in("bob", &content(1_000, 99)).await.is_ok(), "each has a quota of their own");
        // What can be restored counts; what is gone for good does not.
        ground.uploads.delete(&taken[0].id, None).await.unwrap();
        assert!(matches!(ground.take_in("alice", &content(1_000, 50)).await, Err(Refused::OverQuota { .. })));
        ground.uploads.purge(&taken[0].id).await.unwrap();
        assert!(ground.take_in("alice", &content(1_000, 50)).await.is_ok());
    }
}

#[tokio::test]
async fn changes_need_the_version_that_was_read() {
    for place in Place::all().await {
        let ground = Ground::new(place, None, &[]).await;
        let upload = ground.take_in("alice", b"hello").await.unwrap();
        let name = Name::parse("b.txt").unwrap();
        let renamed = ground.uploads.rename(&upload.id, Some(1), &name).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.version), ("b.txt", 2));
        assert!(matches!(ground.uploads.rename(&upload.id, Some(1), &name).await, Err(Refused::OtherVersion)));
        assert!(matches!(ground.uploads.delete(&upload.id, Some(1)).await, Err(Refused::OtherVersion)));
        assert!(matches!(ground.uploads.restore(&upload.id, None).await, Err(Refused::NotFound)), "it is not deleted");
        let deleted = ground.uploads.delete(&upload.id, Some(2)).await.unwrap();
        assert!(deleted.deleted_at.is_some());
        assert!(matches!(ground.uploads.find(&upload.id).await, Err(Refused::NotFound)));
        assert!(matches!(ground.uploads.rename(&upload.id, None, &name).await, Err(Refused::NotFound)));
        let restored = ground.uploads.restore(&upload.id, Some(3)).await.unwrap();
        assert_eq!((restored.deleted_at, restored.version), (None, 4));
        assert_eq!(ground.content(&restored).await, b"hello");
        assert!(matches!(ground.uploads.delete("nowhere", None).await, Err(Refused::NotFound)));
    }
}

#[tokio::test]
async fn pages_go_on_where_one_ended() {
    for place in Place::all().await {
        let ground = Ground::new(place, None, &[]).await;
        let mut ids = Vec::new();
        for number in 0..7_u32 {
            // Three at a time have the same time.
            ground.clock.fetch_add(u64::from(number % 3 == 0), Relaxed);
            let channel = (number % 2 == 0).then(|| ChannelName::parse("room:1").unwrap());
            let new = NewUpload { channel, ..new("alice") };
            let piece: Piece = Ok(Bytes::from(number.to_string()));
            ids.push(ground.uploads.take_in(new, stream::iter([piece])).await.unwrap().id);
        }
        ground.take_in("bob", b"his").await.unwrap();
        let deleted = ids.remove(3);
        ground.uploads.delete(&deleted, None).await.unwrap();
        let all = async |column: &'static str, value: &str, deleted: Op, descending: bool| {
            let condition = |column, op, terms| Condition { column, op, terms };
            let conditions = vec![condition(column, Op::In, vec![Term::Text(value.to_owned())]), condition("deleted_at", deleted, vec![])];
            let order = Order { column: "created_at", descending };
            let mut selection = Selection { conditions, order, after: None, limit: 2 };
            let mut found = Vec::new();
            loop {
                let page = ground.uploads.list(&selection).await.unwrap();
                let Some(last) = page.last() else { return found };
                selection.after = Some((Term::Whole(last.created_at as i64), last.id.clone()));
                found.extend(page.into_iter().map(|upload| upload.id));
            }
        };
        let sorted = |ids: &[String]| {
            let mut ids = ids.to_vec();
            ids.sort();
            ids
        };
        let newest = all("owner", "alice", Op::Absent, true).await;
        assert_eq!(sorted(&newest), sorted(&ids));
        let mut oldest = all("owner", "alice", Op::Absent, false).await;
        oldest.reverse();
        assert_eq!(oldest, newest);
        assert_eq!(all("owner", "alice", Op::Present, true).await, [deleted]);
        let of_channel = all("channel", "room:1", Op::Absent, true).await;
        assert_eq!(sorted(&of_channel), sorted(&[ids[0].clone(), ids[2].clone(), ids[3].clone(), ids[5].clone()]));
        assert!(all("owner", "nobody", Op::Absent, true).await.is_empty());
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
