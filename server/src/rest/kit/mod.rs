//! What resources are made with: bodies, queries and lists that are checked against their own schemas, answers in the format that is
//! asked for, versions as entity tags, and the OpenAPI document of it all.

mod actor;
mod body;
mod common;
mod etag;
mod export;
mod idempotency;
mod list;
mod openapi;
mod patch;
mod query;
mod reply;
mod schemas;
pub(crate) mod texts;

pub use actor::Actor;
pub use body::{Body, Patch, Text};
pub(crate) use common::{
    IdempotencyKey, IfMatchHeader, IfNoneMatch, IfRange, MaybeIfMatchHeader, RangeHeader, bounded, encoded, fault, unavailable,
};
pub use etag::{Expected, IfMatch, MaybeIfMatch};
pub(crate) use etag::{changed, is_fresh, tag, tag_beside, tag_coding};
pub(crate) use idempotency::{KEY, document as document_keys, once};
pub(crate) use list::answer;
pub use list::{Links, List, Listed, Page};
pub(crate) use openapi::{Document as ApiDocument, finish};
pub(crate) use patch::{PatchOf, merge, patched};
pub use query::Query;
pub(crate) use query::{parameters, query};
pub(crate) use reply::created;
pub use reply::{Media, Wants, WantsList};
pub(crate) use schemas::Schemas;

pub use crate::store::listing::Field;
