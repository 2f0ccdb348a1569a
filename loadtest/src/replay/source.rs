//! The rows of a file: CSV and NDJSON row by row, JSON arrays and GeoJSON at once.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

/// What a file holds, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Ndjson,
    Json,
}

/// A file that can be read more than once.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    form: Form,
    limit: usize,
}

/// Rows, in the order of the file.
pub type Rows = Box<dyn Iterator<Item = Result<Value>> + Send>;

impl Source {
    /// At most `limit` rows of the file at `path`.
    ///
    /// # Errors
    /// Its name does not tell what it holds.
    pub fn new(path: &Path, limit: Option<usize>) -> Result<Self> {
        let form = match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Form::Csv,
            Some("ndjson" | "jsonl") => Form::Ndjson,
            Some("json" | "geojson") => Form::Json,
            _ => bail!("{}: the name must end in .csv, .ndjson, .jsonl, .json or .geojson", path.display()),
        };
        Ok(Self { path: path.to_owned(), form, limit: limit.unwrap_or(usize::MAX) })
    }

    /// Reads it from the beginning. A row of a CSV file is a map from column to text.
    pub fn rows(&self) -> Result<Rows> {
        let file = File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))?;
        let rows: Rows = match self.form {
            Form::Csv => csv_rows(file)?,
            Form::Ndjson => Box::new(
                BufReader::new(file)
                    .lines()
                    .filter(|line| !matches!(line, Ok(line) if line.trim().is_empty()))
                    .map(|line| serde_json::from_str(&line?).context("not a line of JSON")),
            ),
            Form::Json => Box::new(items(serde_json::from_reader(BufReader::new(file)).context("not JSON")?)?.into_iter().map(Ok)),
        };
        let name = self.path.display().to_string();
        let rows = rows.enumerate().map(move |(row, value)| value.with_context(|| format!("{name}, row {row}")));
        Ok(Box::new(rows.take(self.limit)))
    }
}

fn csv_rows(file: File) -> Result<Rows> {
    let mut reader = csv::Reader::from_reader(file);
    let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    Ok(Box::new(reader.into_records().map(move |record| {
        let record = record?;
        let fields = columns.iter().zip(record.iter()).map(|(column, field)| (column.clone(), Value::from(field)));
        Ok(Value::Object(fields.collect::<Map<_, _>>()))
    })))
}

fn items(json: Value) -> Result<Vec<Value>> {
    match json {
        Value::Array(items) => Ok(items),
        Value::Object(mut fields) => match fields.remove("features") {
            Some(Value::Array(features)) => Ok(features),
            _ => bail!("neither an array nor GeoJSON with `features`"),
        },
        _ => bail!("neither an array nor GeoJSON with `features`"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    fn read(end: &str, text: &str, limit: Option<usize>) -> Result<Vec<Value>> {
        let mut file = tempfile::Builder::new().suffix(end).tempfile()?;
        file.write_all(text.as_bytes())?;
        Source::new(file.path(), limit)?.rows()?.collect()
    }

    #[test]
    fn every_form_gives_rows() {
        let rows = vec![json!({"a": "1", "b": "x, \"y\""}), json!({"a": "2", "b": "ü"})];
        assert_eq!(read(".csv", "a,b\n1,\"x, \"\"y\"\"\"\n2,ü\n", None).unwrap(), rows);
        assert_eq!(read(".ndjson", "{\"a\":1}\n\n[2]\n", None).unwrap(), [json!({"a": 1}), json!([2])]);
        assert_eq!(read(".json", "[1, {\"a\": 2}]", None).unwrap(), [json!(1), json!({"a": 2})]);
        assert_eq!(read(".geojson", r#"{"type": "FeatureCollection", "features": [{"id": 1}]}"#, None).unwrap(), [json!({"id": 1})]);
        assert_eq!(read(".ndjson", "1\n2\n3\n", Some(2)).unwrap(), [json!(1), json!(2)]);
    }

    #[test]
    fn what_is_not_rows_is_refused_with_its_place() {
        assert!(read(".txt", "a", None).is_err());
        assert!(read(".json", "{\"a\": 1}", None).is_err());
        let error = read(".ndjson", "1\n{\n", None).unwrap_err();
        assert!(format!("{error:#}").contains("row 1"), "{error:#}");
        assert!(read(".csv", "a,b\n1,2\n3\n", None).is_err());
    }
}
