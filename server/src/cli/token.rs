//! `hubbub token`.

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    app::signing_secret,
    auth::{Action, Claims, Grant, mint},
    config::{Config, StoreUrl},
    world::World,
};

#[derive(Debug, Args)]
pub(super) struct Token {
    /// Whom the token stands for (`sub`)
    #[arg(long)]
    user: String,
    /// For how many minutes it is good
    #[arg(long, default_value_t = 24 * 60, value_parser = clap::value_parser!(u64).range(1..=366 * 24 * 60))]
    minutes: u64,
    /// PATTERN=ACTION,ACTION with the actions subscribe, publish, history, presence, operate, moderate; may be repeated. Everything if absent
    #[arg(long = "grant", value_name = "PATTERN=ACTIONS", value_parser = grant)]
    grants: Vec<Grant>,
}

impl Token {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<()> {
        let world = World::system();
        let secret = match (&config.auth.secret, &config.auth.jwks) {
            (Some(secret), _) => secret.clone(),
            (None, Some(_)) => {
                bail!("this server believes the keys in auth.jwks_file only: tokens come from whoever holds the private ones")
            }
            (None, None) => {
                if let StoreUrl::Sqlite(database) = &config.store.url
                    && !database.exists()
                {
                    eprintln!(
                        "hubbub: there is no database at {} yet: the token is good for a server that is started here",
                        database.display()
                    );
                }
                signing_secret(&config.store.url, &world.chance)?
            }
        };
        let now = world.clock.now() / 1_000;
        let everything = || vec![Grant { channels: vec!["*".to_owned()], actions: Action::ALL.to_vec() }];
        let claims = Claims {
            sub: self.user,
            iat: now,
            exp: now + self.minutes * 60,
            aud: config.auth.audience.clone(),
            iss: config.auth.issuer.clone(),
            grants: if self.grants.is_empty() { everything() } else { self.grants },
        };
        println!("{}", mint(secret.expose(), &claims)?);
        Ok(())
    }
}

pub(super) fn grant(text: &str) -> anyhow::Result<Grant> {
    let (pattern, actions) = text.rsplit_once('=').context("a grant is PATTERN=ACTION,ACTION")?;
    let parse = |name: &str| {
        Action::parse(name)
            .with_context(|| format!("there is no action `{name}`; there are subscribe, publish, history, presence, operate, moderate"))
    };
    Ok(Grant { channels: vec![pattern.to_owned()], actions: actions.split(',').map(parse).collect::<anyhow::Result<_>>()? })
}
