//! A channel's members by `GET /v1/channels/{channel}/presence`.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use hubbub_protocol::frame::{Member, PresencePage};

use crate::subject::http;

/// How many there are.
pub fn count(address: SocketAddr, channel: &str, token: &str) -> Result<u64> {
    Ok(page(address, channel, token, "limit=1")?.count)
}

/// All of them, page by page.
pub fn read(address: SocketAddr, channel: &str, token: &str) -> Result<Vec<Member>> {
    let mut all: Vec<Member> = Vec::new();
    loop {
        let after = all.last().map(|last| format!("&after={}", last.user)).unwrap_or_default();
        let page = page(address, channel, token, &format!("limit=1000{after}"))?;
        ensure!(!page.members.is_empty() || !page.more, "an empty page says that more follow");
        all.extend(page.members);
        if !page.more {
            return Ok(all);
        }
    }
}

fn page(address: SocketAddr, channel: &str, token: &str, query: &str) -> Result<PresencePage> {
    let answer = http::get(address, &format!("/v1/channels/{channel}/presence?{query}"), Some(token))?;
    ensure!(answer.status == 200, "the list of members answered {}: {}", answer.status, answer.body);
    serde_json::from_str(&answer.body).context("the list of members can't be read")
}
