//! `hubbub users`: works on the database, whether or not an instance runs; those that run follow within half a second.

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::{
    access::standing,
    auth::{MAX_USER, Role},
    config::Config,
    store::{
        Db,
        audit::Trace,
        standing::{self as rows, Change, Listed},
    },
    world::World,
};

/// Users in one read.
const PAGE: u32 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print every user, one JSON object a line
    List,
    /// Let a user do nothing any more, and end every session of theirs
    Block {
        /// What tokens say in `sub`
        user: String,
    },
    /// Let a blocked user in again
    Unblock {
        /// What tokens say in `sub`
        user: String,
    },
    /// Give a user a role on the whole instance
    Role {
        /// What tokens say in `sub`
        user: String,
        /// owner, admin, moderator, member or guest
        #[arg(value_parser = role)]
        role: Role,
    },
}

impl Command {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let db = Db::open_existing(&config.store).await?;
        match self {
            Command::List => list(&db).await?,
            Command::Block { user } => change(&db, &user, Change::Block, "is blocked").await?,
            Command::Unblock { user } => change(&db, &user, Change::Unblock, "is not blocked").await?,
            Command::Role { user, role } => change(&db, &user, Change::Role(role), &format!("is {role}")).await?,
        }
        db.close().await;
        Ok(())
    }
}

async fn change(db: &Db, user: &str, change: Change, what: &str) -> anyhow::Result<()> {
    if user.is_empty() || user.len() > MAX_USER || user.contains(char::is_control) {
        bail!("a user has 1 to {MAX_USER} bytes without control characters");
    }
    standing::change(db, &World::system(), &Trace::operator(), user, change).await?;
    println!("{user} {what}");
    Ok(())
}

async fn list(db: &Db) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let page = rows::list(db, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.id);
        for Listed { id, login, name, role, blocked_at, deleted_at, created_at } in page {
            let row = serde_json::json!({
                "id": id, "login": login, "name": name, "role": role,
                "blocked_at": blocked_at, "deleted_at": deleted_at, "created_at": created_at,
            });
            println!("{row}");
        }
    }
}

fn role(name: &str) -> anyhow::Result<Role> {
    Role::parse(name).with_context(|| format!("there is no role `{name}`; there are owner, admin, moderator, member, guest"))
}
