//! `export`: whether a long list goes out in constant memory, and how fast.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::{
    args::Server,
    drive::{Durability, http::Body, http::head},
    subject::{Pair, Site, Subject, USER},
};

/// How long the server may say nothing.
const QUIET: Duration = Duration::from_secs(60);
/// Bytes read at once.
const BLOCK: usize = 256 << 10;

/// `export`'s arguments.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Rows of the list.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rows: u64,
    /// What is exported; several, separated by commas, one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "audit-ndjson,audit-csv,messages-ndjson")]
    list: Vec<Export>,
    /// What the server runs on; several, separated by commas, are measured in turn. NATS and PostgreSQL are started.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "local-sqlite")]
    pair: Vec<Pair>,
    /// The most memory that the server may have had, in MiB.
    #[arg(long, default_value_t = 64)]
    within: u64,
    /// The server.
    #[command(flatten)]
    server: Server,
}

/// A list, and how it is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Export {
    /// The audit log, a JSON object a line.
    AuditNdjson,
    /// The audit log, a row of CSV each, after a head.
    AuditCsv,
    /// A channel's messages, a JSON object a line.
    MessagesNdjson,
}

impl Export {
    fn path(self) -> &'static str {
        match self {
            Export::AuditNdjson | Export::AuditCsv => "/v1/audit",
            Export::MessagesNdjson => "/v1/channels/room:export/messages",
        }
    }

    fn accept(self) -> &'static str {
        match self {
            Export::AuditNdjson | Export::MessagesNdjson => "application/x-ndjson",
            Export::AuditCsv => "text/csv",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Export::AuditNdjson => "audit, NDJSON",
            Export::AuditCsv => "audit, CSV",
            Export::MessagesNdjson => "messages, NDJSON",
        }
    }

    /// Lines of it beside the rows.
    fn head(self) -> u64 {
        u64::from(self == Export::AuditCsv)
    }
}

/// Fills each store, exports, and prints the server's memory at its highest after each export.
///
/// # Errors
/// A server does not start, a list is not whole, or the memory was more than allowed.
pub fn run(args: &ExportArgs) -> Result<()> {
    println!("pair             list                  rows     rows/s    MB/s  peak memory of the server, MiB: before, after");
    let mut most = 0.0_f64;
    for pair in &args.pair {
        let site = Site::start(&args.server.binary()?, *pair, None)?;
        fill(&site, args.rows)?;
        for list in &args.list {
            // A fresh process each: what one left behind is not the next one's.
            let subject = site.instance(None, Durability::Durable, &[("NAMESPACES__ROOM__HISTORY_ENTRIES", "1000000000")])?;
            let before = mib(subject.peak()?);
            let begun = Instant::now();
            let (lines, bytes) = export(&subject, *list, &site.operator_token(USER)?)?;
            let (time, after) = (begun.elapsed().as_secs_f64(), mib(subject.peak()?));
            let rows = lines - list.head().min(lines);
            println!(
                "{:<15}  {:<17} {rows:>8} {:>10.0} {:>7.0}  {before:>6.1} {after:>6.1}",
                pair.to_string(),
                list.name(),
                rows as f64 / time,
                bytes as f64 / 1e6 / time,
            );
            ensure!(rows >= args.rows, "{} rows of {} are missing", args.rows - rows, args.rows);
            most = most.max(after);
        }
    }
    ensure!(most <= args.within as f64, "the server had {most:.1} MiB, which is more than {} MiB", args.within);
    Ok(())
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Makes an admin, a channel with so many messages, and so many rows of the audit log. No instance runs meanwhile.
fn fill(site: &Site, rows: u64) -> Result<()> {
    let subject = site.instance(None, Durability::Durable, &[])?;
    let post = br#"{"payload":{"text":"what one says to the other, a hundred times a day, and never quite the same"}}"#;
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", post.len());
    let (status, _) = ask(&subject, "POST", Export::MessagesNdjson.path(), &fields, post, &site.operator_token(USER)?)?;
    ensure!(status == 201, "the first message was answered by {status}");
    drop(subject);
    site.hubbub(&["users", "role", USER, "admin"])?;

    let texts = statements(site.is_postgres(), rows);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if site.is_postgres() {
            let mut connection = PgConnection::connect(&site.store()).await.context("the store cannot be filled")?;
            for text in texts {
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await?;
            }
            connection.close().await?;
        } else {
            let mut connection = SqliteConnection::connect(&site.store()).await.context("the store cannot be filled")?;
            for text in texts {
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await?;
            }
            connection.close().await?;
        }
        Ok(())
    })
}

/// What puts the rows after the first into the tables.
fn statements(is_postgres: bool, rows: u64) -> [String; 3] {
    let (numbers, id) = if is_postgres {
        (format!("WITH n(i) AS (SELECT generate_series(2, {rows}))"), "lpad(to_hex(n.i), 12, '0')")
    } else {
        (format!("WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"), "printf('%012x', n.i)")
    };
    let messages = format!(
        "INSERT INTO entries (channel_id, seq, epoch, ordinal, kind, message_id, publisher, key, time, payload) {numbers}
         SELECT e.channel_id, n.i, e.epoch, n.i, e.kind, e.message_id, e.publisher, e.key, e.time, e.payload
         FROM n, entries AS e JOIN channels AS c ON c.id = e.channel_id WHERE c.name = 'room:export' AND e.seq = 1"
    );
    let heads = format!("UPDATE channels SET head_seq = {rows}, head_ordinal = {rows} WHERE name = 'room:export'");
    let audit = format!(
        "INSERT INTO audit (id, actor, action, target, target_id, channel, detail, address, request_id, created_at) {numbers}
         SELECT '019ab0d5-7c1e-7b3a-9c55-' || {id}, 'user-' || n.i % 1000, 'member.joined', 'user', 'user-' || n.i, 'room:' || n.i % 100,
         '{{\"role\":\"member\",\"state\":\"joined\"}}', '192.0.2.1', 'request-' || n.i, 1795000000000 + n.i FROM n"
    );
    [messages, heads, audit]
}

/// A request on a connection of its own: the answer's status, and its body to be read.
fn ask(subject: &Subject, method: &str, path: &str, fields: &str, body: &[u8], token: &str) -> Result<(u16, Answer)> {
    let mut stream = TcpStream::connect(subject.address)?;
    stream.set_read_timeout(Some(QUIET))?;
    stream.write_all(
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{fields}\r\n")
            .as_bytes(),
    )?;
    stream.write_all(body)?;
    let mut reader = BufReader::with_capacity(BLOCK, stream);
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        ensure!(reader.read_until(b'\n', &mut bytes)? > 0, "the answer ended in its head");
    }
    let head = head(&bytes)?.context("the server did not answer in HTTP")?;
    Ok((head.status, Answer { reader, body: head.body }))
}

/// The body of an answer.
struct Answer {
    reader: BufReader<TcpStream>,
    body: Body,
}

impl Answer {
    /// Counts its lines and bytes.
    ///
    /// # Errors
    /// It breaks off.
    fn count(mut self) -> Result<(u64, u64)> {
        ensure!(self.body == Body::Chunks, "a list of this length comes in chunks");
        let (mut lines, mut bytes, mut block) = (0, 0, vec![0; BLOCK]);
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).with_context(|| format!("the list broke off: {line:?} begins no chunk"))?;
            let mut left = size;
            while left > 0 {
                let length = left.min(BLOCK as u64) as usize;
                self.reader.read_exact(&mut block[..length]).context("the list broke off")?;
                lines += memchr::memchr_iter(b'\n', &block[..length]).count() as u64;
                left -= length as u64;
            }
            self.reader.read_exact(&mut [0; 2]).context("the list broke off")?;
            bytes += size;
            if size == 0 {
                return Ok((lines, bytes));
            }
        }
    }
}

fn export(subject: &Subject, list: Export, token: &str) -> Result<(u64, u64)> {
    let (status, answer) = ask(subject, "GET", list.path(), &format!("Accept: {}\r\n", list.accept()), b"", token)?;
    ensure!(status == 200, "the export was answered by {status}");
    answer.count()
}
