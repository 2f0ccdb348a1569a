//! `[uploads]`: where files are kept, and how much of them.

use std::{path::PathBuf, time::Duration};

use super::{
    Secret,
    reader::{Section, Show},
};

const KIB: usize = 1 << 10;
const GIB: usize = 1 << 30;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// Bytes of a key of S3, at most.
const MAX_KEY: usize = 1024;
const ACCEPTS_URL: &str =
    "\"file:\" and the path of a folder, such as \"file:hubbub-uploads\", or \"s3://\", a bucket and perhaps a prefix in it";
const ACCEPTS_ENDPOINT: &str = "\"\", or the http:// or https:// address of a server that speaks S3";

/// Where the bytes of uploads are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadsUrl {
    /// `file:`: in this folder.
    Folder(PathBuf),
    /// `s3:`: in a bucket.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of all objects begin with; empty for none.
        prefix: String,
    },
}

impl UploadsUrl {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("file", path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                (!path.is_empty() && !path.contains(char::is_control)).then(|| Self::Folder(path.into()))
            }
            ("s3", rest) => {
                let rest = rest.strip_prefix("//")?;
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                let prefix = prefix.trim_end_matches('/');
                let parts_are_plain = prefix.is_empty()
                    || prefix.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_plain));
                ((3..=63).contains(&bucket.len()) && bucket.bytes().all(is_plain) && prefix.len() <= 512 && parts_are_plain)
                    .then(|| Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            _ => None,
        }
    }
}

/// How a bucket is reached.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The server; AWS's own without one.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key and its secret; those of the machine's role without them.
    pub keys: Option<(String, Secret)>,
    /// Whether the endpoint may be spoken to without TLS.
    pub allow_http: bool,
}

/// `[uploads]`.
#[derive(Debug, Clone)]
pub struct UploadsConfig {
    /// Where the bytes are.
    pub url: UploadsUrl,
    /// For a bucket.
    pub s3: S3Config,
    /// Bytes of an upload, at most.
    pub max_size: u64,
    /// Bytes of all uploads of a user, at most; `None`: as many as there is room for.
    pub user_quota: Option<u64>,
    /// Uploads that come in at once, at most, on this instance.
    pub at_once: usize,
    /// After so long without enough of a body, or without a reader, a transfer ends.
    pub idle_timeout: Duration,
    /// An upload that no message refers to for so long is deleted; `None`: never.
    pub orphans_after: Option<Duration>,
    /// How long a deleted upload can be restored.
    pub retention: Duration,
}

impl UploadsConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let s3 = s3(&mut section);
        let config = Self {
            url: section.parsed("url", Show::Whole, ACCEPTS_URL, UploadsUrl::parse),
            s3,
            max_size: section.size("max_size", KIB..=16 * GIB) as u64,
            user_quota: Some(section.size("user_quota", 0..=KIB * KIB * GIB) as u64).filter(|quota| *quota > 0),
            at_once: section.whole("at_once", 1..=10_000),
            idle_timeout: section.duration("idle_timeout", SECOND..=600 * SECOND),
            orphans_after: Some(section.duration("orphans_after", Duration::ZERO..=3_650 * DAY)).filter(|after| !after.is_zero()),
            retention: section.duration("retention", Duration::ZERO..=3_650 * DAY),
        };
        if config.user_quota.is_some_and(|quota| quota < config.max_size) {
            section.contradiction("user_quota", "must be 0B or at least", "max_size");
        }
        config
    }
}

fn s3(section: &mut Section<'_>) -> S3Config {
    let endpoint = section.parsed("endpoint", Show::Scheme, ACCEPTS_ENDPOINT, |text| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let is_address = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|sign: char| sign.is_whitespace() || sign == '@'));
        (text.is_empty() || is_address).then(|| text.to_owned())
    });
    let allow_http = section.switch("allow_http");
    if endpoint.starts_with("http://") && !allow_http {
        section.contradiction("endpoint", "is not encrypted, which has to be allowed by", "allow_http");
    }
    let access_key = section.line("access_key_id", MAX_KEY);
    let inline = section.parsed("secret_access_key", Show::Nothing, &format!("a text of at most {MAX_KEY} bytes"), |text| {
        (text.len() <= MAX_KEY).then(|| (!text.is_empty()).then(|| Secret::new(text.as_bytes())))
    });
    let in_file = section.file("secret_access_key_file", MAX_KEY as u64).map(|content| Secret::new(content.trim_ascii()));
    if inline.is_some() && in_file.is_some() {
        section.contradiction("secret_access_key", "excludes", "secret_access_key_file");
    }
    let secret = inline.or(in_file);
    match (&access_key, &secret) {
        (Some(_), None) => section.contradiction("access_key_id", "needs secret_access_key_file or", "secret_access_key"),
        (None, Some(_)) => section.contradiction("secret_access_key", "needs", "access_key_id"),
        _ => {}
    }
    S3Config {
        endpoint: (!endpoint.is_empty()).then_some(endpoint),
        region: section.line("region", 64).unwrap_or_else(|| "us-east-1".to_owned()),
        keys: access_key.zip(secret),
        allow_http,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn the_scheme_decides_the_place() {
        assert_eq!(UploadsUrl::parse("file:hubbub-uploads"), Some(UploadsUrl::Folder("hubbub-uploads".into())));
        assert_eq!(UploadsUrl::parse("file:///srv/files"), Some(UploadsUrl::Folder("/srv/files".into())));
        let bucket = |bucket: &str, prefix: &str| Some(UploadsUrl::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        assert_eq!(UploadsUrl::parse("s3://files"), bucket("files", ""));
        assert_eq!(UploadsUrl::parse("s3://files/hubbub/a/"), bucket("files", "hubbub/a"));
        for text in ["", "files", "file:", "s3:files", "s3://", "s3://a", "s3://files/../x", "s3://files/a//b", "s3://fi les", "gs://files"]
        {
            assert_eq!(UploadsUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told_and_no_secret_with_it() {
        let load = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            Config::load(&Sources { arguments, ..Sources::default() })
        };
        for arguments in [
            &["uploads.access_key_id=AK"][..],
            &["uploads.secret_access_key=hushhush"],
            &["uploads.endpoint=http://127.0.0.1:9000"],
            &["uploads.max_size=2GiB"],
            &["uploads.endpoint=https://me:hushhush@host"],
        ] {
            let error = load(arguments).unwrap_err();
            assert_eq!(error.mistakes().len(), 1, "{error}");
            assert!(!error.to_string().contains("hushhush"), "{error}");
        }
        let config = load(&[
            "uploads.url=s3://files/x",
            "uploads.access_key_id=AK",
            "uploads.secret_access_key=hushhush",
            "uploads.endpoint=http://127.0.0.1:9000",
            "uploads.allow_http=true",
            "uploads.user_quota=0B",
            "uploads.orphans_after=0s",
        ])
        .unwrap();
        assert_eq!((config.uploads.user_quota, config.uploads.orphans_after), (None, None));
        assert!(!format!("{config:?}").contains("hushhush"));
    }
}
