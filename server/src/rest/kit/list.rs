//! Lists: what a resource lets one filter and sort by, read out of the query, and the page that is answered.
//!
//! `filter` is conditions joined by commas, all of which hold: `field:operator:value`, with `|` between the values of `in` and `not_in`. A
//! backslash takes its meaning from a comma, a bar or a backslash in a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
};

use axum::{
    extract::{FromRequestParts, OriginalUri},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, header, request::Parts};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use super::{Media, export, reply::Wants, schemas::schema};
use crate::{
    http::{At, Fault, Problem},
    store::listing::{Condition, Field, Kind, Op, Order, Selection, Term},
};

/// Items of a page, at most, and if nobody says.
const MAX_LIMIT: u32 = 1_000;
const LIMIT: u32 = 50;
/// Conditions of a filter, and values of one of them, at most.
const MAX_CONDITIONS: usize = 8;
const MAX_VALUES: usize = 32;
/// Bytes of a cursor, at most.
const MAX_CURSOR: usize = 2_048;

/// A resource that is listed.
pub trait Listed: Serialize + ToSchema + Send + 'static {
    /// What one can filter and sort by. The first is the order if nobody says.
    const FIELDS: &'static [Field];
    /// Whether that order begins with the largest.
    const NEWEST_FIRST: bool = true;
    /// Parameters beside those of every list: a name, and what it is for. Their values are text that the handler reads.
    const MORE: &'static [(&'static str, &'static str)] = &[];

    /// What is unique: the id in a cursor.
    fn id(&self) -> String;

    /// Its value of the field of this name, one that sorts.
    fn sort_key(&self, field: &str) -> Term;
}

/// What a request asks of a list.
#[derive(Debug, Clone)]
pub struct List<R> {
    /// Which rows: one more than the page holds, so that it shows whether there is another page.
    pub selection: Selection,
    /// The parameters beside those of every list that are given.
    pub more: Vec<(&'static str, String)>,
    fields: Option<BTreeSet<String>>,
    /// The name of the field that it is sorted by.
    sort: &'static str,
    /// Of sort and filter: a cursor is good for the same list only.
    digest: u32,
    path: String,
    query: Vec<(String, String)>,
    resource: PhantomData<fn() -> R>,
}

impl<R: Listed> List<R> {
    /// The value of a parameter of [`Listed::MORE`].
    pub fn more(&self, name: &str) -> Option<&str> {
        self.more.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// A parameter of [`Listed::MORE`] that is a switch: `true`, `false`, or missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.more(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => {
                let at = At::Parameter(name.to_owned());
                Err(Problem::invalid(vec![Fault { at, code: "not_one_of", detail: "it is `true` or `false`".to_owned() }]))
            }
        }
    }

    /// Items of a page.
    pub fn limit(&self) -> u32 {
        self.selection.limit - 1
    }

    /// The same list from where `last` ends.
    pub(crate) fn behind(&self, last: &R) -> Selection {
        Selection { after: Some((last.sort_key(self.sort), last.id())), ..self.selection.clone() }
    }

    /// What is shown of an item.
    pub(crate) fn shown(&self, item: &R) -> Value {
        let mut value = serde_json::to_value(item).unwrap_or_default();
        if let (Some(fields), Value::Object(object)) = (&self.fields, &mut value) {
            object.retain(|name, _| fields.contains(name));
        }
        value
    }

    /// The fields that are shown, in the schema's order.
    pub(crate) fn columns(&self) -> Vec<String> {
        let all = names::<R>();
        match &self.fields {
            Some(fields) => all.into_iter().filter(|name| fields.contains(name)).collect(),
            None => all,
        }
    }

    /// A page of `items`, of which there may be one more than it holds.
    pub fn page(&self, wants: Wants, mut items: Vec<R>) -> Response {
        let more = items.len() > self.limit() as usize;
        items.truncate(self.limit() as usize);
        let next = items.last().filter(|_| more).map(|last| self.cursor(last));
        let links = |cursor: Option<&str>| self.link(cursor);
        let shown: Vec<Value> = items.iter().map(|item| self.shown(item)).collect();
        let here = self.query.iter().find(|(name, _)| name == "cursor").map(|(_, value)| &**value);
        let body = json!({
            "items": shown,
            "next": next,
            "links": { "self": links(here), "first": links(None), "next": next.as_deref().map(|next| links(Some(next))) },
        });
        let mut response = wants.ok(&body);
        let mut link = format!("<{}>; rel=\"first\"", links(None));
        if let Some(next) = &next {
            link.push_str(&format!(", <{}>; rel=\"next\"", links(Some(next))));
        }
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }

    fn cursor(&self, last: &R) -> String {
        let value = match last.sort_key(self.sort) {
            Term::Text(text) => Value::String(text),
            Term::Whole(number) => Value::from(number),
        };
        URL_SAFE_NO_PAD.encode(json!([self.digest, value, last.id()]).to_string())
    }

    /// This list from `cursor` on.
    fn link(&self, cursor: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.query.iter().filter(|(name, _)| name != "cursor"));
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        let query = query.finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }
}

impl<S: Send + Sync, R: Listed> FromRequestParts<S> for List<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let path = parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.path(), |original| original.path()).to_owned();
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        parse(path, query).map_err(Problem::invalid)
    }
}

fn parse<R: Listed>(path: String, query: Vec<(String, String)>) -> Result<List<R>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut given = Given { faults: &mut faults, seen: BTreeSet::new() };
    let (mut limit, mut cursor, mut sort, mut filter, mut fields) = (LIMIT, None, None, Vec::new(), None);
    let mut more = Vec::new();
    for (name, text) in &query {
        let known = R::MORE.iter().find(|(known, _)| known == name);
        match (&**name, known) {
            _ if !given.is_first(name) => given.note(name, "not_unique", "it is given twice"),
            _ if text.chars().any(char::is_control) => given.note(name, "control_character", "it holds control characters"),
            (_, Some((known, _))) => more.push((*known, text.clone())),
            ("limit", _) => match text.parse() {
                Ok(number @ 1..=MAX_LIMIT) => limit = number,
                _ => given.note(name, "out_of_range", &format!("it is a whole number from 1 to {MAX_LIMIT}")),
            },
            ("cursor", _) => cursor = Some(text.clone()),
            ("sort", _) => match order::<R>(text) {
                Some(order) => sort = Some(order),
                None => given.note(name, "not_one_of", &format!("it is one of {}", sorts::<R>().join(", "))),
            },
            ("filter", _) => match conditions::<R>(text) {
                Ok(conditions) => filter = conditions,
                Err(detail) => given.note(name, "filter", &detail),
            },
            ("fields", _) => match chosen::<R>(text) {
                Ok(names) => fields = Some(names),
                Err(detail) => given.note(name, "unknown_field", &detail),
            },
            _ => given.note(name, "unknown_field", "there is no such parameter"),
        }
    }
    let (field, descending) = sort.unwrap_or((&R::FIELDS[0], R::NEWEST_FIRST));
    let digest = digest(field.name, descending, &filter);
    let after = cursor.and_then(|cursor| {
        let after = position(&cursor, digest, field.kind);
        if after.is_none() {
            given.note("cursor", "cursor", "it is not a cursor of this list: take `next` of a page with the same sort and filter");
        }
        after
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let order = Order { column: field.column, descending };
    let selection = Selection { conditions: filter, order, after, limit: limit + 1 };
    Ok(List { selection, more, fields, sort: field.name, digest, path, query, resource: PhantomData })
}

/// Notes what is wrong with parameters.
struct Given<'a> {
    faults: &'a mut Vec<Fault>,
    seen: BTreeSet<String>,
}

impl Given<'_> {
    fn is_first(&mut self, name: &str) -> bool {
        self.seen.insert(name.to_owned())
    }

    fn note(&mut self, name: &str, code: &'static str, detail: &str) {
        self.faults.push(Fault { at: At::Parameter(name.to_owned()), code, detail: detail.to_owned() });
    }
}

/// `name`, or `-name` for the largest first.
fn order<R: Listed>(text: &str) -> Option<(&'static Field, bool)> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    R::FIELDS.iter().find(|field| field.sorts && field.name == name).map(|field| (field, descending))
}

fn sorts<R: Listed>() -> Vec<String> {
    R::FIELDS.iter().filter(|field| field.sorts).flat_map(|field| [field.name.to_owned(), format!("-{}", field.name)]).collect()
}

/// The fields of an item, those of types that are part of it included.
fn names<R: Listed>() -> Vec<String> {
    let mut parts = Vec::new();
    R::schemas(&mut parts);
    let parts: BTreeMap<String, Value> =
        parts.into_iter().map(|(name, part)| (name, serde_json::to_value(part).unwrap_or_default())).collect();
    let mut names = Vec::new();
    gather(&schema::<R>(), &parts, &mut names);
    names
}

fn gather(schema: &Value, parts: &BTreeMap<String, Value>, names: &mut Vec<String>) {
    names.extend(schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys().cloned()));
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let named = part["$ref"].as_str().and_then(|path| parts.get(path.rsplit('/').next()?));
        gather(named.unwrap_or(part), parts, names);
    }
}

fn chosen<R: Listed>(text: &str) -> Result<BTreeSet<String>, String> {
    let known = names::<R>();
    let chosen: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match chosen.iter().find(|name| !known.contains(name)) {
        Some(unknown) => Err(format!("there is no field `{unknown}`; there are {}", known.join(", "))),
        None => Ok(chosen),
    }
}

fn conditions<R: Listed>(text: &str) -> Result<Vec<Condition>, String> {
    let parts: Vec<String> = split(text, ',');
    if parts.len() > MAX_CONDITIONS {
        return Err(format!("a filter has at most {MAX_CONDITIONS} conditions"));
    }
    parts.iter().map(|part| condition::<R>(part)).collect()
}

fn condition<R: Listed>(text: &str) -> Result<Condition, String> {
    let mut parts = text.splitn(3, ':');
    let (name, op) = (parts.next().unwrap_or_default().trim(), parts.next().unwrap_or_default());
    let Some(field) = R::FIELDS.iter().find(|field| field.name == name) else {
        let known: Vec<_> = R::FIELDS.iter().map(|field| field.name).collect();
        return Err(format!("there is no field `{name}` to filter by; there are {}", known.join(", ")));
    };
    let values: Vec<String> = parts.next().map(|values| split(values, '|')).unwrap_or_default();
    let (op, many) = match op {
        "eq" | "in" => (Op::In, op == "in"),
        "ne" | "not_in" => (Op::NotIn, op == "not_in"),
        "lt" => (Op::Lt, false),
        "le" => (Op::Le, false),
        "gt" => (Op::Gt, false),
        "ge" => (Op::Ge, false),
        "prefix" if field.kind == Kind::Text => (Op::Prefix, false),
        "absent" if field.nullable && values.is_empty() => (Op::Absent, true),
        "present" if field.nullable && values.is_empty() => (Op::Present, true),
        _ => return Err(format!("`{op}` is no operator for `{name}`: a condition is field:operator:value, {OPERATORS}")),
    };
    if !many && values.len() != 1 || values.len() > MAX_VALUES || matches!(op, Op::In | Op::NotIn) && values.is_empty() {
        return Err(format!("`{name}` is compared with one value, or by `in` and `not_in` with up to {MAX_VALUES}, a | between them"));
    }
    let terms = values.iter().map(|value| term(field, &unescaped(value))).collect::<Result<_, _>>()?;
    Ok(Condition { column: field.column, op, terms })
}

/// For people.
const OPERATORS: &str = "the operator one of eq, ne, lt, le, gt, ge, in, not_in, prefix (text), absent, present (what may be missing)";

fn term(field: &Field, value: &str) -> Result<Term, String> {
    match field.kind {
        Kind::Text => Ok(Term::Text(value.to_owned())),
        Kind::Whole => value.parse().map(Term::Whole).map_err(|_| format!("`{}` is compared with whole numbers", field.name)),
        Kind::Choice(choices) if choices.contains(&value) => Ok(Term::Text(value.to_owned())),
        Kind::Choice(choices) => Err(format!("`{}` is one of {}", field.name, choices.join(", "))),
    }
}

/// The parts of `text` between signs that no backslash precedes; backslashes stay.
fn split(text: &str, sign: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut signs = text.chars();
    while let Some(next) = signs.next() {
        let last = parts.last_mut().expect("there is always one");
        match next {
            '\\' => last.extend(std::iter::once('\\').chain(signs.next())),
            _ if next == sign => parts.push(String::new()),
            _ => last.push(next),
        }
    }
    parts
}

fn unescaped(text: &str) -> String {
    let mut signs = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(next) = signs.next() {
        plain.push(if next == '\\' { signs.next().unwrap_or('\\') } else { next });
    }
    plain
}

/// FNV-1a: tells one list from another; nobody gains by a collision.
fn digest(sort: &str, descending: bool, filter: &[Condition]) -> u32 {
    let text = format!("{sort} {descending} {filter:?}");
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// What a cursor stands for; `None` if it is none of this list.
fn position(cursor: &str, digest: u32, kind: Kind) -> Option<(Term, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok().filter(|_| cursor.len() <= MAX_CURSOR)?;
    let (of, value, id): (u32, Value, String) = serde_json::from_slice(&bytes).ok()?;
    let term = match (kind, value) {
        (Kind::Whole, Value::Number(number)) => Term::Whole(number.as_i64()?),
        (Kind::Text | Kind::Choice(_), Value::String(text)) if !text.contains('\0') => Term::Text(text),
        _ => return None,
    };
    (of == digest && !id.contains('\0')).then_some((term, id))
}

impl<R: Listed> IntoParams for List<R> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let filters: Vec<_> = R::FIELDS.iter().map(|field| format!("`{}`", field.name)).collect();
        let filter = format!(
            "Conditions joined by commas, all of which hold: `field:operator:value`, {OPERATORS}. \
             The values of `in` and `not_in` stand with | between them. A backslash takes its meaning from a sign in a value. Fields: {}.",
            filters.join(", ")
        );
        let first = &R::FIELDS[0];
        let condition = match first.kind {
            Kind::Whole => format!("{}:ge:1795434921385", first.name),
            Kind::Text => format!("{}:prefix:a", first.name),
            Kind::Choice(choices) => format!("{}:in:{}", first.name, choices.join("|")),
        };
        // What makes no sense by itself has no example.
        let none = Value::Null;
        let more = R::MORE.iter().map(|(name, text)| (*name, json!({ "type": "string" }), none.clone(), (*text).to_owned()));
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT });
        let parameters = [
            ("limit", limit, json!(20), "Items of a page.".to_owned()),
            ("cursor", json!({ "type": "string", "maxLength": MAX_CURSOR }), none.clone(), "`next` of the page before.".to_owned()),
            (
                "sort",
                json!({ "type": "string", "enum": sorts::<R>() }),
                json!(sorts::<R>()[0]),
                "The order; `-` for the largest first.".to_owned(),
            ),
            ("filter", json!({ "type": "string" }), json!(condition), filter),
            (
                "fields",
                json!({ "type": "string" }),
                json!(first.name),
                "The fields to show, joined by commas; all if it is missing.".to_owned(),
            ),
        ];
        let parameter = |(name, schema, example, description): (&str, Value, Value, String)| {
            let mut parameter = json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema });
            if !example.is_null() {
                parameter["example"] = example;
            }
            serde_json::from_value(parameter).unwrap_or_else(|error| unreachable!("a parameter of the document is one: {error}"))
        };
        parameters.into_iter().chain(more).map(parameter).collect()
    }
}

/// A page of a list, for the document.
#[derive(Serialize, ToSchema)]
pub struct Page<T: ToSchema> {
    /// The items, in the list's order. With `fields` only those fields of each; without it all of them.
    pub items: Vec<T>,
    /// The cursor of the next page; null on the last.
    pub next: Option<String>,
    /// Where this page, the first and the next are.
    pub links: Links,
}

/// Addresses of pages.
#[derive(Serialize, ToSchema)]
pub struct Links {
    /// This page.
    #[serde(rename = "self")]
    pub this: String,
    /// The first.
    pub first: String,
    /// The next; null on the last.
    pub next: Option<String>,
}

/// A page, or the whole list as rows. `fetch` reads the rows of a selection.
///
/// # Errors
/// Those of `fetch`, for the first page.
pub(crate) async fn answer<R, F, A, E>(list: List<R>, wants: Media, fetch: F) -> Result<Response, Problem>
where
    R: Listed,
    F: Fn(Selection) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Vec<R>, E>> + Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match wants {
        Media::Json | Media::Msgpack => {
            let items = fetch(list.selection.clone()).await.map_err(Into::into)?;
            Ok(list.page(Wants(wants), items))
        }
        Media::Ndjson | Media::Csv => Ok(export::rows(list, wants, fetch).await?.into_response()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, ToSchema)]
    struct Thing {
        id: String,
        made: i64,
        role: String,
    }

    impl Listed for Thing {
        const FIELDS: &'static [Field] =
            &[Field::whole("made").of("created_at").sorted(), Field::choice("role", &["a", "b"]), Field::text("name").nullable()];
        const MORE: &'static [(&'static str, &'static str)] = &[("deleted", "Those that are deleted.")];

        fn id(&self) -> String {
            self.id.clone()
        }

        fn sort_key(&self, _: &str) -> Term {
            Term::Whole(self.made)
        }
    }

    fn list(query: &str) -> Result<List<Thing>, Vec<&'static str>> {
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        parse("/things".to_owned(), query).map_err(|faults| faults.into_iter().map(|fault| fault.code).collect())
    }

    #[test]
    fn a_filter_is_conditions_that_all_hold() {
        let list = list(r"filter=role:in:a|b,made:ge:5,name:prefix:x\,y\|z\\,name:absent").unwrap();
        let texts: Vec<_> = list.selection.conditions.iter().map(|one| (one.column, one.op, one.terms.clone())).collect();
        let text = |text: &str| Term::Text(text.to_owned());
        assert_eq!(texts[0], ("role", Op::In, vec![text("a"), text("b")]));
        assert_eq!(texts[1], ("created_at", Op::Ge, vec![Term::Whole(5)]));
        assert_eq!(texts[2], ("name", Op::Prefix, vec![text(r"x,y|z\")]));
        assert_eq!(texts[3], ("name", Op::Absent, vec![]));
        for wrong in ["x:eq:1", "made:eq:x", "made:prefix:1", "role:eq:c", "made:absent", "made", "made:eq", "made:eq:1|2", ""] {
            assert_eq!(super::tests::list(&format!("filter={wrong}")).unwrap_err(), ["filter"], "{wrong}");
        }
        assert!(super::tests::list(&format!("filter={}", ["made:gt:1"; 9].join(","))).is_err());
    }

    #[test]
    fn a_cursor_goes_on_where_its_page_ended_and_in_that_list_only() {
        let first = list("sort=-made&limit=1").unwrap();
        assert_eq!((first.selection.limit, first.selection.order.descending), (2, true));
        let cursor = first.cursor(&Thing { id: "i".into(), made: 7, role: "a".into() });
        let next = list(&format!("sort=-made&limit=5&cursor={cursor}")).unwrap();
        assert_eq!(next.selection.after, Some((Term::Whole(7), "i".to_owned())));
        for other in ["sort=made", "filter=made:gt:1&sort=-made"] {
            assert_eq!(list(&format!("{other}&cursor={cursor}")).unwrap_err(), ["cursor"]);
        }
        assert_eq!(list("cursor=x").unwrap_err(), ["cursor"]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        assert_eq!(
            list("limit=0&sort=role&filter=x&fields=id,nope&other=1&limit=2&cursor=%00").unwrap_err(),
            ["out_of_range", "not_one_of", "filter", "unknown_field", "unknown_field", "not_unique", "control_character"]
        );
        assert_eq!(list("deleted=true").unwrap().more("deleted"), Some("true"));
    }

    #[test]
    fn only_the_fields_that_are_wanted_are_shown() {
        let thing = Thing { id: "i".into(), made: 7, role: "a".into() };
        assert_eq!(list("fields=id,role").unwrap().shown(&thing), json!({ "id": "i", "role": "a" }));
        assert_eq!(list("").unwrap().shown(&thing), json!({ "id": "i", "made": 7, "role": "a" }));
    }
}
