//! What unit tests stand on: the parts that know each other, for one configuration and one database.

use std::sync::Arc;

use crate::{
    access::{self, Access},
    broker::Broker,
    channel::{self, Channels, feed::Looks},
    config::{Config, Sources},
    hub::Hub,
    store::Db,
    tasks::Tasks,
    telemetry::Metrics,
    world::World,
};

/// An instance's parts below its use cases.
pub(crate) struct Ground {
    pub config: Arc<Config>,
    pub db: Db,
    pub hub: Arc<Hub>,
    pub access: Arc<Access>,
    pub metrics: Arc<Metrics>,
    pub world: World,
    pub tasks: Tasks,
}

impl Ground {
    /// On a database whose schema is there, with `settings` as on the command line.
    pub async fn new(db: Db, world: World, settings: &[&str]) -> Self {
        let parts = access_parts(db, world, settings);
        let access::Parts { config, db, hub, metrics, world, .. } = parts.clone();
        let tasks = Tasks::default();
        let access = Access::start(parts, &tasks).await.unwrap();
        Self { config, db, hub, access, metrics, world, tasks }
    }

    /// On a new file in `dir`.
    pub async fn in_dir(dir: &tempfile::TempDir, settings: &[&str]) -> Self {
        let url = format!("store.url=sqlite:{}", dir.path().join("t.db").display());
        let db = Db::open(&config(&[&url]).store).await.unwrap();
        db.migrate().await.unwrap();
        Self::new(db, World::system(), settings).await
    }

    /// Channels, whose work is done in so many lanes.
    pub fn channels(&self, lanes: usize, looks: Option<Arc<Looks>>) -> Arc<Channels> {
        let parts = channel::Parts {
            config: self.config.clone(),
            db: self.db.clone(),
            access: self.access.clone(),
            hub: self.hub.clone(),
            instance: "test".to_owned(),
            broker: Broker::Local,
            metrics: self.metrics.clone(),
            world: self.world.clone(),
            lanes,
            looks,
        };
        Channels::start(parts, &self.tasks)
    }
}

/// What `Access` is made of.
pub(crate) fn access_parts(db: Db, world: World, settings: &[&str]) -> access::Parts {
    let config = Arc::new(config(settings));
    access::Parts { config, db, hub: Arc::new(Hub::new(1)), broker: Broker::Local, metrics: Arc::new(Metrics::new()), world }
}

pub(crate) fn config(settings: &[&str]) -> Config {
    let arguments = settings.iter().map(|setting| (*setting).to_owned()).collect();
    Config::load(&Sources { arguments, ..Sources::default() }).unwrap()
}
