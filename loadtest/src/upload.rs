//! `upload`: whether a large file comes in and goes out in constant memory, and how fast.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    args::{Server, size},
    drive::Durability,
    subject::{Pair, Site, Subject, USER},
};

/// Bytes that are sent and compared at once.
const BLOCK: usize = 1 << 20;
/// How long either side may say nothing.
const QUIET: Duration = Duration::from_secs(60);

/// `upload`'s arguments.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// How large the file is.
    #[arg(long, default_value = "1GiB", value_parser = size)]
    size: u64,
    /// How often it is uploaded and downloaded; each time it is another file.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// What the server runs on.
    #[arg(long, value_enum, default_value = "local-sqlite")]
    pair: Pair,
    /// The server.
    #[command(flatten)]
    server: Server,
}

/// Uploads and downloads, and prints the server's memory at its highest after each.
///
/// # Errors
/// A server does not start, refuses the file, or gives back another one.
pub fn run(args: &UploadArgs) -> Result<()> {
    let site = Site::start(&args.server.binary()?, args.pair, None)?;
    let files = tempfile::tempdir()?;
    let url = format!("file:{}", files.path().display());
    let settings = [("UPLOADS__URL", &*url), ("UPLOADS__MAX_SIZE", "16GiB"), ("UPLOADS__USER_QUOTA", "0B")];
    let subject = site.instance(None, Durability::Durable, &settings)?;
    let token = site.token(USER)?;
    let before = subject.peak()?;
    println!("run  what        MB/s  peak memory of the server, MiB ({:.1} before the first)", mib(before));
    for run in 1..=args.runs {
        let begun = Instant::now();
        let id = upload(&subject, &token, args.size, run)?;
        report(&subject, run, "upload", args.size, begun)?;
        let begun = Instant::now();
        download(&subject, &token, &id, args.size, run)?;
        report(&subject, run, "download", args.size, begun)?;
    }
    Ok(())
}

fn report(subject: &Subject, run: u32, what: &str, size: u64, begun: Instant) -> Result<()> {
    let speed = size as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!("{run:>3}  {what:<8} {speed:>7.0}  {:>7.1}", mib(subject.peak()?));
    Ok(())
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The block of the file's bytes with this number: each differs from the others, and from those of another run.
fn block(run: u32, number: u64) -> Vec<u8> {
    let mut state = (u64::from(run) << 40 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(BLOCK);
    while bytes.len() < BLOCK {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn connect(subject: &Subject) -> Result<TcpStream> {
    let stream = TcpStream::connect(subject.address)?;
    stream.set_read_timeout(Some(QUIET))?;
    stream.set_write_timeout(Some(QUIET))?;
    Ok(stream)
}

/// Uploads the file, and returns its id.
fn upload(subject: &Subject, token: &str, size: u64, run: u32) -> Result<String> {
    let mut stream = connect(subject)?;
    let head = format!(
        "POST /v1/uploads?name=large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let (mut left, mut number) = (size, 0);
    while left > 0 {
        let bytes = block(run, number);
        let length = left.min(BLOCK as u64) as usize;
        stream.write_all(&bytes[..length]).context("the server does not take the file")?;
        (left, number) = (left - length as u64, number + 1);
    }
    let (status, mut reader) = answer(stream)?;
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    ensure!(status == 201, "the upload was answered with {status}: {body}");
    let upload: serde_json::Value = serde_json::from_str(&body)?;
    Ok(upload["id"].as_str().context("the upload has no id")?.to_owned())
}

/// Downloads the file, and compares every byte.
fn download(subject: &Subject, token: &str, id: &str, size: u64, run: u32) -> Result<()> {
    let mut stream = connect(subject)?;
    let head =
        format!("GET /v1/uploads/{id}/content HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let (status, mut reader) = answer(stream)?;
    ensure!(status == 200, "the download was answered with {status}");
    let mut bytes = vec![0; BLOCK];
    let (mut left, mut number) = (size, 0);
    while left > 0 {
        let length = left.min(BLOCK as u64) as usize;
        reader.read_exact(&mut bytes[..length]).context("the download broke off")?;
        ensure!(bytes[..length] == block(run, number)[..length], "the file came back with other bytes, near {}", size - left);
        (left, number) = (left - length as u64, number + 1);
    }
    ensure!(reader.read(&mut bytes)? == 0, "the file came back longer than it was");
    Ok(())
}

/// The status of an answer, and what follows its head.
fn answer(stream: TcpStream) -> Result<(u16, BufReader<TcpStream>)> {
    let mut reader = BufReader::with_capacity(BLOCK, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the server did not answer in HTTP")?;
    while line != "\r\n" {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the answer ended in its head");
    }
    Ok((status, reader))
}
