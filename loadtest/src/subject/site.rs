//! All that one run needs: the services beside the server, a folder, a secret; and the instances that share them.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Subject, await_true, free_address, http, log, nats::Nats, pair::Pair, pinned, postgres::Postgres, token};
use crate::drive::{Durability, Speech};

/// Whom the instances' tokens are for, where nothing else is said.
pub const USER: &str = "loadtest";

/// CPU time of the services.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside {
    /// Of NATS.
    pub nats: Duration,
    /// Of PostgreSQL, all its processes.
    pub postgres: Duration,
}

impl Beside {
    /// What was used since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { nats: self.nats - earlier.nats, postgres: self.postgres.saturating_sub(earlier.postgres) }
    }
}

/// A place for instances, which are to be dropped before it. Its services end with it, and its data is removed.
pub struct Site {
    binary: PathBuf,
    secret: String,
    instances: Cell<u32>,
    nats: Option<Nats>,
    postgres: Option<Postgres>,
    home: TempDir,
}

impl Site {
    /// Starts what `pair` needs on `core`, if any, for instances of `binary`.
    ///
    /// # Errors
    /// There is no NATS or PostgreSQL on this machine, or it does not start.
    pub fn start(binary: &Path, pair: Pair, core: Option<usize>) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("no server at {}; name it by --server-bin", binary.display()))?;
        let home = tempfile::tempdir()?;
        let nats = pair.has_nats().then(|| Nats::start(core, home.path())).transpose()?;
        let postgres = pair.has_postgres().then(|| Postgres::start(core)).transpose()?;
        Ok(Self { binary, secret: token::secret(), instances: Cell::new(0), nats, postgres, home })
    }

    /// Starts an instance on `core`, if any, with these `settings` (names of variables after `HUBBUB_`). Others come from the
    /// environment.
    ///
    /// # Errors
    /// It does not start.
    pub fn instance(&self, core: Option<usize>, durability: Durability, settings: &[(&str, &str)]) -> Result<Subject> {
        let address = free_address()?;
        let number = self.instances.replace(self.instances.get() + 1);
        let at = self.home.path().join(format!("log-{number}"));
        let mut command = pinned::command(core, &self.binary)?;
        leave_out_tests(&mut command);
        if let Some(nats) = &self.nats {
            command.env("HUBBUB_BROKER__KIND", "nats").env("HUBBUB_BROKER__URL", nats.url());
        }
        let log = log::create(&at)?;
        let child = command
            .arg("serve")
            .env("HUBBUB_HTTP__LISTEN", address.to_string())
            .env("HUBBUB_STORE__URL", self.store())
            .env("HUBBUB_AUTH__SECRET", &self.secret)
            .envs(settings.iter().map(|(name, value)| (format!("HUBBUB_{name}"), value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let speech = Speech::Hubbub { token: self.token(USER)?, durability };
        let mut subject = Subject { child, address, speech };
        let ready = || http::get(address, "/readyz", None).is_ok_and(|answer| answer.status == 200);
        await_true(&mut subject.child, &at, ready).with_context(|| format!("{} did not start", self.binary.display()))?;
        Ok(subject)
    }

    /// Runs the server's program with `args`, on the same store.
    ///
    /// # Errors
    /// It fails.
    pub fn hubbub(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.binary);
        leave_out_tests(&mut command);
        command.args(args).env("HUBBUB_STORE__URL", self.store()).env("HUBBUB_AUTH__SECRET", &self.secret);
        let output = command.output()?;
        ensure!(output.status.success(), "`hubbub {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Where the instances store.
    pub fn store(&self) -> String {
        match &self.postgres {
            Some(postgres) => postgres.url(),
            None => format!("sqlite:{}", self.home.path().join("hubbub.db").display()),
        }
    }

    /// Whether that is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// A token for `user`, who may do everything in channels.
    pub fn token(&self, user: &str) -> Result<String> {
        token::mint(&self.secret, user, token::USE)
    }

    /// A token for `user`, who may do what the user's role allows, too.
    pub fn operator_token(&self, user: &str) -> Result<String> {
        token::mint(&self.secret, user, token::OPERATE)
    }

    /// The CPU time that the services have used.
    pub fn cpu(&self) -> Result<Beside> {
        let nats = self.nats.as_ref().map_or(Ok(Duration::ZERO), Nats::cpu)?;
        let postgres = self.postgres.as_ref().map_or(Ok(Duration::ZERO), Postgres::cpu)?;
        Ok(Beside { nats, postgres })
    }

    /// NATS's proportional share of memory (PSS), in KiB; 0 without one.
    pub fn nats_memory(&self) -> Result<u64> {
        self.nats.as_ref().map_or(Ok(0), Nats::memory)
    }
}

/// What is meant for tests and their services is no setting.
fn leave_out_tests(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if ["HUBBUB_TEST_", "HUBBUB_SERVICES_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}
