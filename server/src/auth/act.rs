//! What can be done: with a channel, and with the instance as a whole.

use super::Action;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// Its name, for the command line and for logs.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            /// The one of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }
    };
}

named! {
    /// Something to do with a channel.
    Act {
        /// See what it is, and the list of its members.
        See = "see",
        /// Receive its entries.
        Subscribe = "subscribe",
        /// Read what it keeps.
        History = "history",
        /// See who is there.
        Presence = "presence",
        /// Add to it; change and delete one's own.
        Publish = "publish",
        /// Put a file into it.
        Upload = "upload",
        /// Ask somebody in.
        Invite = "invite",
        /// Become a member.
        Join = "join",
        /// Stop being one, or decline an invitation. The last owner cannot: whoever takes members out sees to that.
        Leave = "leave",
        /// Delete others' messages; ban and kick those of a lower role.
        Moderate = "moderate",
        /// Change what it is; give roles below one's own.
        Manage = "manage",
        /// Delete and restore it; hand it on.
        Delete = "delete",
    }
}

named! {
    /// Something to do with the instance as a whole.
    Power {
        /// Change and delete the account that one is, and end its logins.
        OwnAccount = "own_account",
        /// Upload files of one's own, which belong to no channel.
        OwnFiles = "own_files",
        /// List the users, and see each of them.
        ListUsers = "list_users",
        /// Block, delete and restore users, end their sessions, give them roles: those of a lower role only.
        RuleUsers = "rule_users",
        /// Read who did what.
        ReadAudit = "read_audit",
        /// Make and revoke the keys of backends.
        ManageKeys = "manage_keys",
    }
}

impl Act {
    /// The actions of a grant of which one is needed: for everything in implicit channels, and in explicit ones for tokens that say what
    /// they allow.
    pub const fn grants(self) -> &'static [Action] {
        match self {
            Act::See => &[Action::Subscribe, Action::History],
            Act::Subscribe | Act::Join | Act::Leave => &[Action::Subscribe],
            Act::History => &[Action::History],
            Act::Presence => &[Action::Presence],
            Act::Publish | Act::Upload | Act::Invite => &[Action::Publish],
            Act::Moderate | Act::Manage | Act::Delete => &[Action::Moderate],
        }
    }

    /// Whether channels without members have it.
    pub const fn is_for_all_channels(self) -> bool {
        !matches!(self, Act::Invite | Act::Join | Act::Leave | Act::Manage | Act::Delete)
    }
}
