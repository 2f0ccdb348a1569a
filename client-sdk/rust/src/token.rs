//! Where tokens come from. Nothing here is ever printed.

use std::{error::Error as StdError, fmt, sync::Arc};

use futures_util::future::BoxFuture;

use crate::Error;

/// What a token provider may fail with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A token on its way.
pub(crate) type TokenFuture = BoxFuture<'static, Result<String, BoxError>>;

/// Who knows the token.
#[derive(Clone)]
pub(crate) enum Tokens {
    /// Nobody: the server decides what that means.
    None,
    /// The same one for ever.
    Fixed(Arc<str>),
    /// Asked before each connect and before each refresh.
    Provider(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

impl Tokens {
    /// The token for a new connection.
    pub async fn current(&self) -> Result<Option<String>, Error> {
        match self {
            Tokens::None => Ok(None),
            Tokens::Fixed(token) => Ok(Some(token.as_ref().to_owned())),
            Tokens::Provider(ask) => ask().await.map(Some).map_err(|error| Error::Token(error.into())),
        }
    }

    /// Asks for another token; `None` if there can be none.
    pub fn renew(&self) -> Option<TokenFuture> {
        match self {
            Tokens::None | Tokens::Fixed(_) => None,
            Tokens::Provider(ask) => Some(ask()),
        }
    }

    /// Whether another attempt may have another token.
    pub fn renewable(&self) -> bool {
        matches!(self, Tokens::Provider(_))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tokens::None => "None",
            Tokens::Fixed(_) => "Fixed(..)",
            Tokens::Provider(_) => "Provider(..)",
        })
    }
}
