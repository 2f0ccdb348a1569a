//! What an account may be called. Every rule that is broken is told at once.

use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::auth::PasswordFlaw;

/// Characters of a login.
const LOGIN: std::ops::RangeInclusive<usize> = 3..=32;
/// Characters of a name, at most.
const MAX_NAME: usize = 64;

/// A field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `login`.
    Login,
    /// `name`.
    Name,
    /// `password`.
    Password,
    /// `new`.
    New,
}

impl Place {
    /// Where it is in the request's body (RFC 6901).
    pub const fn pointer(self) -> &'static str {
        match self {
            Place::Login => "/login",
            Place::Name => "/name",
            Place::Password => "/password",
            Place::New => "/new",
        }
    }
}

/// A field that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Flaw {
    /// Not a login.
    #[error("a login has 3 to 32 of the characters a-z, 0-9, `.`, `_` and `-`, and begins with a letter or a digit")]
    Login,
    /// Not a name.
    #[error("a name has 1 to 64 characters, none of them a control character, and no white space at its ends")]
    Name,
    /// Not a password.
    #[error("{1}")]
    Password(Place, PasswordFlaw),
}

impl Flaw {
    /// Which field it is.
    pub const fn place(self) -> Place {
        match self {
            Flaw::Login => Place::Login,
            Flaw::Name => Place::Name,
            Flaw::Password(place, _) => place,
        }
    }

    /// The rule, for programs.
    pub const fn rule(self) -> &'static str {
        match self {
            Flaw::Login | Flaw::Name => "format",
            Flaw::Password(_, PasswordFlaw::Short) => "too_short",
            Flaw::Password(_, PasswordFlaw::Long) => "too_long",
            Flaw::Password(_, PasswordFlaw::Common) => "common",
            Flaw::Password(_, PasswordFlaw::Name) => "same_as_name",
        }
    }
}

/// The login that `text` spells, in lower case. `None` if no login does.
pub(super) fn login(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_one = LOGIN.contains(&text.len()) && text.bytes().all(fits) && text.as_bytes()[0].is_ascii_alphanumeric();
    is_one.then(|| text.to_ascii_lowercase())
}

/// The name that `text` spells, in form C.
pub(super) fn name(text: &str) -> Option<String> {
    let name = if is_nfc(text) { text.to_owned() } else { text.nfc().collect() };
    let length = name.chars().count();
    let is_one = (1..=MAX_NAME).contains(&length) && !name.contains(char::is_control) && name.trim() == name;
    is_one.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_short_and_plain() {
        for (text, spelled) in
            [("ada", "ada"), ("Ada.Lovelace_1-x", "ada.lovelace_1-x"), ("007", "007"), (&"x".repeat(32), &*"x".repeat(32))]
        {
            assert_eq!(login(text).as_deref(), Some(spelled));
        }
        for text in ["", "ab", ".ada", "-ada", "_ada", "ada lovelace", "ädaa", "ada\n", "ada@b", &"x".repeat(33), "ada\0", "ad\u{212a}"] {
            assert_eq!(login(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_text_in_form_c() {
        assert_eq!(name("Ada King-Noe\u{308}l").as_deref(), Some("Ada King-Noël"));
        assert_eq!(name(&"é".repeat(64)), Some("é".repeat(64)));
        for text in ["", " ", " Ada", "Ada\n", "A\u{0}a", "A\u{85}b", &"é".repeat(65)] {
            assert_eq!(name(text), None, "{text:?}");
        }
    }
}
