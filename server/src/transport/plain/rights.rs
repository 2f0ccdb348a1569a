//! What a token allows, as far as requests for a session over plain HTTP are measured by it.

use serde::{Deserialize, Serialize};

use crate::auth::{Action, Grant, Grants, Identity};

/// What a token allows: everything that its user may, unless it says itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Spelled", into = "Spelled")]
pub(super) struct Rights {
    grants: Grants,
    is_narrowed: bool,
}

/// As one instance tells another.
#[derive(Serialize, Deserialize)]
struct Spelled {
    grants: Vec<(Vec<String>, Vec<String>)>,
    narrowed: bool,
}

impl Rights {
    pub(super) fn of(identity: &Identity) -> Self {
        Self { grants: identity.grants.clone(), is_narrowed: identity.is_narrowed }
    }

    /// Whether they are of this very token, or one that was copied from it.
    pub(super) fn is_of(&self, identity: &Identity) -> bool {
        self.grants.is_same(&identity.grants) && self.is_narrowed == identity.is_narrowed
    }

    /// Whether they allow everything that `other` allows.
    pub(super) fn cover(&self, other: &Rights) -> bool {
        !self.is_narrowed && !other.is_narrowed || other.is_narrowed && self.is_narrowed && self.grants.cover(&other.grants)
    }
}

impl From<Spelled> for Rights {
    fn from(Spelled { grants, narrowed }: Spelled) -> Self {
        let grant = |(channels, actions): (Vec<String>, Vec<String>)| Grant {
            channels,
            actions: actions.iter().filter_map(|name| Action::parse(name)).collect(),
        };
        let grants: Vec<Grant> = grants.into_iter().map(grant).collect();
        Self { grants: Grants::new(&grants).unwrap_or_default(), is_narrowed: narrowed }
    }
}

impl From<Rights> for Spelled {
    fn from(Rights { grants, is_narrowed }: Rights) -> Self {
        let spell = |grant: Grant| (grant.channels, grant.actions.into_iter().map(|action| action.as_str().to_owned()).collect());
        Self { grants: grants.list().into_iter().map(spell).collect(), narrowed: is_narrowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(channels: &[&str], is_narrowed: bool) -> Rights {
        let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
        let grants = Grants::new(&[Grant { channels, actions: vec![Action::Publish] }]).unwrap();
        Rights { grants, is_narrowed }
    }

    #[test]
    fn cover_what_is_not_more() {
        let (free, wide, narrow) = (rights(&[], false), rights(&["*"], true), rights(&["room:*"], true));
        assert!(free.cover(&free) && wide.cover(&narrow) && narrow.cover(&narrow));
        assert!(!narrow.cover(&wide) && !narrow.cover(&free) && !wide.cover(&free), "grants of everything are not a user's own rights");
        assert!(!free.cover(&wide), "a login of this server allows nothing by grants");
    }

    #[test]
    fn come_back_as_they_were() {
        let bytes = rmp_serde::to_vec_named(&rights(&["room:*", "x"], true)).unwrap();
        let read: Rights = rmp_serde::from_slice(&bytes).unwrap();
        assert!(read.is_narrowed && read.cover(&rights(&["room:1", "x"], true)) && !read.cover(&rights(&["*"], true)));
    }
}
