//! Where the bytes are: objects in a folder or a bucket, under names that are never given twice. An object is there as a whole or not at
//! all; nothing here knows whose it is.

mod incoming;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    ClientOptions, GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt, RetryConfig, aws::AmazonS3Builder,
    local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use thiserror::Error;

use crate::config::{UploadsConfig, UploadsUrl};

pub(super) use incoming::Incoming;

/// In how many parts names are sorted, by their last byte.
pub(super) const SHARDS: u16 = 256;
/// Bytes of a part on S3: the least that it takes (5 MiB), and the same for each, as some of its kin want it.
const S3_PART: usize = 5 << 20;
/// Bytes that are written to a file at once.
const FILE_PART: usize = 1 << 20;
/// Bytes that are read of a file at once.
const PIECE: u64 = 256 << 10;
/// How long a bucket may take to be connected, and to send anything.
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(30);
/// How often, and for how long, a request to a bucket is tried again.
const RETRIES: usize = 4;
const RETRY: Duration = Duration::from_secs(20);

/// The place of the bytes failed, or has none of this name.
#[derive(Debug, Error)]
pub enum DepotError {
    /// The folder or the bucket.
    #[error("the place of uploaded files failed: {0}")]
    Store(#[from] object_store::Error),
    /// The folder itself.
    #[error("the folder of uploaded files failed: {0}")]
    Folder(#[from] io::Error),
}

impl DepotError {
    /// Whether there is no object of that name.
    pub fn is_missing(&self) -> bool {
        matches!(self, DepotError::Store(object_store::Error::NotFound { .. }))
    }
}

/// The bytes of an object, piece by piece.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, DepotError>>;

/// A folder or a bucket.
#[derive(Debug)]
pub(super) struct Depot(Place);

#[derive(Debug)]
enum Place {
    /// Made when the first object comes.
    Folder {
        path: PathBuf,
        store: OnceLock<Arc<LocalFileSystem>>,
    },
    Bucket(Arc<dyn ObjectStore>),
}

/// Something that a look has found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name.
    pub object: String,
    /// When it came, in Unix milliseconds.
    pub time: u64,
}

impl Depot {
    /// The place that the configuration names. A bucket is not asked anything yet.
    pub fn open(config: &UploadsConfig) -> Result<Self, DepotError> {
        Ok(Self(match &config.url {
            UploadsUrl::Folder(path) => Place::Folder { path: std::path::absolute(path)?, store: OnceLock::new() },
            UploadsUrl::Bucket { bucket, prefix } => Place::Bucket(open_bucket(config, bucket, prefix)?),
        }))
    }

    fn store(&self) -> Result<Arc<dyn ObjectStore>, DepotError> {
        match &self.0 {
            Place::Bucket(store) => Ok(store.clone()),
            Place::Folder { path, store } => {
                if let Some(store) = store.get() {
                    return Ok(store.clone());
                }
                make_folder(path)?;
                let opened = Arc::new(LocalFileSystem::new_with_prefix(path)?.with_fsync(true));
                Ok(store.get_or_init(|| opened).clone())
            }
        }
    }

    /// The name of an object for the upload `id`.
    pub fn name_for(id: &str) -> String {
        let shard = id.get(id.len().saturating_sub(2)..).unwrap_or_default();
        format!("{shard}/{id}")
    }

    /// Begins an object. It is there once it is finished; dropped before, it leaves nothing.
    pub fn begin(&self, object: String) -> Result<Incoming, DepotError> {
        let part = match &self.0 {
            Place::Folder { .. } => FILE_PART,
            Place::Bucket(_) => S3_PART,
        };
        Ok(Incoming::new(self.store()?, object, part))
    }

    /// The bytes in `range`, which is within the object.
    pub async fn read(&self, object: &str, range: Range<u64>) -> Result<Pieces, DepotError> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let got = self.store()?.get_opts(&Path::from(object), options).await?;
        let range = got.range.clone();
        Ok(match got.payload {
            GetResultPayload::File(file, _) => pieces(file, range),
            GetResultPayload::Stream(stream) => stream.map_err(DepotError::from).boxed(),
        })
    }

    /// Deletes an object, if it is there.
    pub async fn delete(&self, object: &str) -> Result<(), DepotError> {
        match self.store()?.delete(&Path::from(object)).await.map_err(DepotError::from) {
            Err(error) if error.is_missing() => Ok(()),
            other => other,
        }
    }

    /// The objects whose names end in this byte, and what an instance that was killed left half-written in a folder: it is deleted if it is
    /// from before `old`.
    pub async fn shard(&self, shard: u8, old: u64) -> Result<BoxStream<'static, Result<Found, DepotError>>, DepotError> {
        let folder = format!("{shard:02x}");
        match &self.0 {
            Place::Folder { path, .. } => {
                let path = path.join(&folder);
                let found = tokio::task::spawn_blocking(move || look(&path, &folder, old)).await.map_err(io::Error::other)??;
                Ok(stream::iter(found.into_iter().map(Ok)).boxed())
            }
            Place::Bucket(store) => {
                let listed = store.list(Some(&Path::from(folder)));
                let found = listed.map_ok(|meta| Found {
                    object: meta.location.to_string(),
                    time: u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default(),
                });
                Ok(found.map_err(DepotError::from).boxed())
            }
        }
    }
}

fn open_bucket(config: &UploadsConfig, bucket: &str, prefix: &str) -> Result<Arc<dyn ObjectStore>, DepotError> {
    let s3 = &config.s3;
    let client = ClientOptions::new()
        .with_allow_http(s3.allow_http)
        .with_connect_timeout(CONNECT)
        .with_read_timeout(SILENCE)
        // A download takes as long as its reader; who is silent is caught above.
        .with_timeout_disabled();
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_region(&s3.region).with_client_options(client).with_retry(retry);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    if let Some((id, secret)) = &s3.keys {
        builder = builder.with_access_key_id(id).with_secret_access_key(String::from_utf8_lossy(secret.expose()));
    }
    let store = builder.build()?;
    Ok(if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) })
}

/// Nobody else has business in it.
fn make_folder(path: &FilePath) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The objects in one folder of a shard. What is being written has a `#` in its name.
fn look(path: &FilePath, folder: &str, old: u64) -> io::Result<Vec<Found>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(time) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        if !name.contains('#') {
            found.push(Found { object: format!("{folder}/{name}"), time });
        } else if time < old {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(found)
}

/// A file in pieces. One that ends too early fails.
fn pieces(file: File, range: Range<u64>) -> Pieces {
    stream::try_unfold((Some(file), range), |(file, range)| async move {
        let Some(mut file) = file.filter(|_| !range.is_empty()) else { return Ok(None) };
        let length = PIECE.min(range.end - range.start);
        let read = move || {
            let mut piece = vec![0; length as usize];
            file.seek(SeekFrom::Start(range.start))?;
            file.read_exact(&mut piece)?;
            Ok::<_, io::Error>(Some((Bytes::from(piece), (Some(file), range.start + length..range.end))))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?.map_err(DepotError::from)
    })
    .boxed()
}
