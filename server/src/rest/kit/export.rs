//! Whole lists, streamed: a line or a row an item, read page by page as the client takes them.

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, header};
use serde_json::Value;

use super::{List, Listed, Media};
use crate::{http::Problem, store::listing::Selection};

/// Rows that are read at once.
const PAGE: u32 = 500;

/// The rows of `list` from its cursor on, to the end. What fails after the first page ends the body without its last chunk, which clients see as an error.
pub(super) async fn rows<R, F, A, E>(list: List<R>, media: Media, fetch: F) -> Result<Response, Problem>
where
    R: Listed,
    F: Fn(Selection) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Vec<R>, E>> + Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    let first = Selection { limit: PAGE, ..list.selection.clone() };
    let items = fetch(first).await.map_err(Into::into)?;
    let columns = list.columns();
    let head = if media == Media::Csv { csv_row(columns.iter().map(String::as_str)) } else { Vec::new() };
    let state = State { list, media, columns, fetch, items: Some(items), head };
    // Fused: what compresses it asks again behind the end.
    let body = Body::from_stream(stream::unfold(state, State::next).fuse());
    let kind = match media {
        Media::Csv => HeaderValue::from_static("text/csv; charset=utf-8; header=present"),
        _ => HeaderValue::from_static("application/x-ndjson"),
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::VARY, HeaderValue::from_static("accept, authorization"))], body).into_response())
}

struct State<R, F> {
    list: List<R>,
    media: Media,
    columns: Vec<String>,
    fetch: F,
    /// The page that is next; `None` behind the last.
    items: Option<Vec<R>>,
    head: Vec<u8>,
}

impl<R: Listed, F> State<R, F> {
    async fn next<A, E>(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)>
    where
        F: Fn(Selection) -> A,
        A: Future<Output = Result<Vec<R>, E>>,
        E: Into<Problem>,
    {
        let items = self.items.take()?;
        let mut bytes = std::mem::take(&mut self.head);
        for item in &items {
            self.write(item, &mut bytes);
        }
        if let Some(last) = items.last().filter(|_| items.len() == PAGE as usize) {
            let next = Selection { limit: PAGE, ..self.list.behind(last) };
            match (self.fetch)(next).await {
                Ok(more) => self.items = Some(more),
                Err(error) => {
                    let problem: Problem = error.into();
                    tracing::warn!(detail = problem.detail(), "an export ended before its time");
                    return Some((Err(std::io::Error::other("the export could not be finished")), self));
                }
            }
        }
        Some((Ok(bytes.into()), self))
    }

    fn write(&self, item: &R, out: &mut Vec<u8>) {
        let shown = self.list.shown(item);
        if self.media == Media::Csv {
            let cells: Vec<String> = self.columns.iter().map(|name| cell(&shown[name])).collect();
            out.extend(csv_row(cells.iter().map(String::as_str)));
        } else {
            out.extend(shown.to_string().into_bytes());
            out.push(b'\n');
        }
    }
}

/// A value as the text of a cell. A text that a spreadsheet would take for a formula gets an apostrophe before it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn csv_row<'a>(cells: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Into memory: nothing can fail.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_is_never_a_formula() {
        assert_eq!(cell(&json!("=1+1")), "'=1+1");
        assert_eq!(cell(&json!("-1")), "'-1");
        assert_eq!(cell(&json!(-1)), "-1");
        assert_eq!(cell(&json!(null)), "");
        assert_eq!(cell(&json!({"a": 1})), r#"{"a":1}"#);
        assert_eq!(csv_row(["a,b", "c\"d", ""].into_iter()), b"\"a,b\",\"c\"\"d\",\r\n");
    }
}
