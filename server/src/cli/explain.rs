//! `hubbub explain`: why somebody may, or may not.

use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;
use hubbub_protocol::ChannelName;

use crate::{
    access::{self, Access},
    auth::{Act, Grant, Grants, Identity},
    broker::Broker,
    config::Config,
    hub::Hub,
    store::{Db, people, users},
    world::World,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print whether a user may do something with a channel, and each step that decides it
    Access {
        /// What tokens say in `sub`
        user: String,
        /// see, subscribe, history, presence, publish, upload, invite, join, leave, moderate, manage or delete
        #[arg(value_parser = act)]
        action: Act,
        /// The channel's name
        channel: String,
        /// With a token that grants this: PATTERN=ACTION,ACTION; may be repeated. Without, with a login of this server
        #[arg(long = "grant", value_name = "PATTERN=ACTIONS", value_parser = super::token::grant)]
        grants: Vec<Grant>,
    },
}

impl Command {
    /// Reads the database, and decides as an instance would.
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let Command::Access { user, action, channel, grants } = self;
        let channel = ChannelName::parse(&channel)?;
        let db = Db::open_existing(&config.store).await?;
        let world = World::system();
        let parts = access::Parts {
            config: Arc::new(config),
            db: db.clone(),
            hub: Arc::new(Hub::new(world.chance.seed())),
            broker: Broker::Local,
            metrics: Arc::default(),
            world: world.clone(),
        };
        let access = Access::load(parts).await?;
        let identity = Identity {
            issued_at: world.clock.now(),
            session: grants.is_empty().then(|| "a login".into()),
            is_narrowed: !grants.is_empty(),
            ..Identity::new(&user, Grants::new(&grants)?)
        };
        let decision = access.weigh(&identity, action, &channel).await?;
        match decision.outcome {
            Ok(()) => println!("{user} may {} {channel}", action.as_str()),
            Err(denied) => println!("{user} may not {} {channel}: {}", action.as_str(), denied.code().as_str()),
        }
        for step in decision.steps.iter() {
            println!("  - {step}");
        }
        if people::find(&db, &user).await?.is_none() {
            match users::with_login(&db, &user).await? {
                Some(account) => println!("note: no user has this id; `{user}` is the login of {}", account.id),
                None => println!("note: no user has this id: nobody of it was seen here yet; `hubbub users list` prints who was"),
            }
        }
        db.close().await;
        Ok(())
    }
}

fn act(name: &str) -> anyhow::Result<Act> {
    Act::parse(name).with_context(|| {
        let names: Vec<_> = Act::ALL.iter().map(|act| act.as_str()).collect();
        format!("there is no action `{name}`; there are {}", names.join(", "))
    })
}
