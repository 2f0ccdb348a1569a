//! A secret and a token for a server that this program starts itself.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

/// How long a token is valid: longer than any measurement.
const LIFETIME_S: u64 = 24 * 60 * 60;

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'static str,
    exp: u64,
    grants: [Grant; 1],
}

#[derive(Serialize)]
struct Grant {
    channels: [&'static str; 1],
    actions: &'static [&'static str],
}

/// Everything that is done in channels.
pub const USE: &[&str] = &["subscribe", "publish", "history", "presence"];
/// The same, and whatever the user's role allows over the instance as a whole.
pub const OPERATE: &[&str] = &["subscribe", "publish", "history", "presence", "operate"];

/// 64 hexadecimal digits.
pub fn secret() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token (HS256) for `user`, who may do `actions` in every channel for a day.
pub fn mint(secret: &str, user: &str, actions: &'static [&'static str]) -> Result<String> {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + LIFETIME_S;
    let grants = [Grant { channels: ["*"], actions }];
    let claims = Claims { sub: user, aud: "hubbub", exp, grants };
    Ok(encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes()))?)
}
