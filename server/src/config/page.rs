//! `[page]`: the page at `/`, and who may try it.

use super::reader::{Reader, Section};

/// Who gets a token for the page by just asking (`POST /v1/guests`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    /// Whoever sits at this machine, as long as nothing says that the server is meant for others.
    Auto,
    /// Everybody.
    On,
    /// Nobody.
    Off,
}

/// `[page]`.
#[derive(Debug, Clone)]
pub struct PageConfig {
    /// Whether the page and its assets are served.
    pub enabled: bool,
    /// Who gets a token by just asking.
    pub guests: Guests,
}

impl PageConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            enabled: section.switch("enabled"),
            guests: section.choice("guests", &[("auto", Guests::Auto), ("on", Guests::On), ("off", Guests::Off)]),
        }
    }

    /// Notes that guests are wanted where there is nothing to sign their tokens with.
    pub(super) fn cannot_sign(reader: &mut Reader) {
        let [guests, keys] = [["page", "guests"], ["auth", "jwks_file"]].map(|path| path.map(str::to_owned).to_vec());
        reader.contradiction(guests, "needs auth.secret or auth.secret_file beside", keys);
    }
}
