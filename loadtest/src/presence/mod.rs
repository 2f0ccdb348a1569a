//! `presence`: many members of one channel over three instances, of which one is killed: they must be gone in time, and exactly they.

mod roll;
mod traffic;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    args::{Server, duration},
    drive::{Durability, Role, Swarm, Transport},
    subject::{Pair, Site, Subject, USER},
};
use traffic::Traffic;

/// Instances; the first one is killed.
const INSTANCES: usize = 3;
/// Namespace `meet` has presence and stores nothing.
const CHANNEL: &str = "meet:all";
const SETTINGS: [(&str, &str); 2] = [("NAMESPACES__MEET__DURABLE", "false"), ("NAMESPACES__MEET__PRESENCE", "true")];
/// How often lists are asked for their count.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long the joins may take to be seen everywhere.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// An instance renews its lease so often: the one that is killed dies at a random moment in between.
const RENEWAL: Duration = Duration::from_secs(3);
/// How much later than it should a list may be seen to be right: it is asked every 100 ms, and the server looks every 50 ms.
const LIST_LATE: Duration = Duration::from_millis(250);
/// How much later watchers may be told: above 1,000 members they are told about once a second.
const WATCHERS_LATE: Duration = Duration::from_millis(1_250);
/// How long counts must stay right, and what traffic there is while nothing happens.
const QUIET: Duration = Duration::from_secs(5);

/// `presence`'s arguments.
#[derive(Debug, Args)]
pub struct PresenceArgs {
    /// Users, each with a connection, spread over three instances.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(3..=18_000))]
    members: u32,
    /// Connections at each instance that see members come and go. All are one user's, who is a member too.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    watchers: u32,
    /// What the members connect over; watchers are on WebSockets.
    #[arg(long, value_enum, default_value_t = Transport::Websocket)]
    transport: Transport,
    /// What the instances run on: one with NATS. NATS and PostgreSQL are started.
    #[arg(long, value_enum, default_value_t = Pair::NatsPostgres)]
    pair: Pair,
    /// After this, one lease, the members of the killed instance must be gone.
    #[arg(long, default_value = "10s", value_parser = duration)]
    within: Duration,
    /// The server.
    #[command(flatten)]
    server: Server,
}

/// Lets the members join, kills an instance, and prints times and traffic.
///
/// # Errors
/// A member is missing, or a ghost, or gone too late.
pub fn run(args: &PresenceArgs) -> Result<()> {
    ensure!(args.pair.has_nats(), "three instances need a pair with NATS");
    let site = Site::start(&args.server.binary()?, args.pair, None)?;
    let mut stand = Stand::start(site, args)?;
    let users: Vec<String> = (0..args.members).map(|index| format!("member-{index:05}")).collect();
    println!(
        "{} members by {} over {INSTANCES} instances on {}, {} watchers at each",
        users.len() + 1,
        args.transport,
        args.pair,
        args.watchers
    );

    let mut traffic = Traffic::now(&stand)?;
    let start = Instant::now();
    stand.join(&users, args.transport)?;
    println!("\nall had joined after {:.2} s", start.elapsed().as_secs_f64());
    let all: BTreeSet<&str> = users.iter().map(String::as_str).chain([USER]).collect();
    let seen = stand.await_count(all.len() as u64, JOIN_TIMEOUT)?;
    println!("every watcher saw them {:.2} s later, every list {:.2} s", seen.watchers.as_secs_f64(), seen.lists.as_secs_f64());
    stand.check(&all)?;
    traffic = traffic.report("joins", &stand)?;
    stand.swarm.settle(QUIET)?;
    traffic = traffic.report(&format!("{} s of nothing", QUIET.as_secs()), &stand)?;

    stand.poll_for(RENEWAL.mul_f64(rand::random()))?;
    stand.kill_first();
    // Members were dealt out in turn.
    let alive: BTreeSet<&str> =
        users.iter().enumerate().filter(|(at, _)| at % INSTANCES != 0).map(|(_, user)| &user[..]).chain([USER]).collect();
    let traffic = traffic.without_first();
    let seen = stand.await_count(alive.len() as u64, args.within + WATCHERS_LATE)?;
    println!(
        "\nafter kill -9 of one: its {} members were gone for every watcher after {:.2} s, in every list after {:.2} s",
        all.len() - alive.len(),
        seen.watchers.as_secs_f64(),
        seen.lists.as_secs_f64()
    );
    ensure!(seen.lists <= args.within + LIST_LATE, "a list named the dead for {:.2} s", seen.lists.as_secs_f64());
    stand.check(&alive)?;
    let traffic = traffic.report("the death", &stand)?;
    stand.poll_for(QUIET)?;
    traffic.report(&format!("{} s of nothing", QUIET.as_secs()), &stand)?;
    ensure!(
        stand.counts().all(|count| count == Some(alive.len() as u64)),
        "a watcher's count did not stay: {:?}",
        stand.counts().collect::<Vec<_>>()
    );
    stand.check(&alive)?;
    println!("\nno ghosts: every list names exactly the {} who live", alive.len());
    Ok(())
}

/// The instances that live, the connections, and what they run on.
struct Stand {
    swarm: Swarm,
    instances: Vec<Subject>,
    /// The watchers at each instance that lives, by the number of their connection.
    watchers: Vec<Vec<usize>>,
    site: Site,
}

/// How long a count took to be right.
struct Seen {
    watchers: Duration,
    lists: Duration,
}

impl Stand {
    fn start(site: Site, args: &PresenceArgs) -> Result<Self> {
        let instances = (0..INSTANCES).map(|_| site.instance(None, Durability::Ephemeral, &SETTINGS)).collect::<Result<Vec<_>>>()?;
        let mut swarm = Swarm::new(instances[0].speech.clone())?;
        let mut watchers = Vec::new();
        for (at, instance) in instances.iter().enumerate() {
            swarm.open(instance.address, Transport::Websocket, (0..args.watchers).map(|_| Role::Watcher(CHANNEL.into())))?;
            let first = at * args.watchers as usize;
            watchers.push((first..first + args.watchers as usize).collect());
        }
        let mut stand = Self { swarm, instances, watchers, site };
        stand.await_count(1, JOIN_TIMEOUT)?;
        Ok(stand)
    }

    fn join(&mut self, users: &[String], transport: Transport) -> Result<()> {
        let channel: Arc<str> = CHANNEL.into();
        for (at, instance) in self.instances.iter().enumerate() {
            let own = users.iter().skip(at).step_by(INSTANCES);
            let roles: Result<Vec<_>> =
                own.map(|user| Ok(Role::User { channel: channel.clone(), token: self.site.token(user)? })).collect();
            self.swarm.open(instance.address, transport, roles?)?;
        }
        Ok(())
    }

    fn kill_first(&mut self) {
        self.instances.remove(0);
        self.watchers.remove(0);
    }

    fn poll_for(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.swarm.poll(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// What the watchers know.
    fn counts(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        self.watchers.iter().flatten().map(|link| self.swarm.present(*link))
    }

    /// Waits until every watcher, and the list at every instance, count `count` members.
    fn await_count(&mut self, count: u64, limit: Duration) -> Result<Seen> {
        let start = Instant::now();
        let (mut watchers, mut lists, mut asked) = (None, None, start);
        loop {
            self.swarm.poll(Duration::from_millis(10))?;
            if watchers.is_none() && self.counts().all(|seen| seen == Some(count)) {
                watchers = Some(start.elapsed());
            }
            if lists.is_none() && asked.elapsed() >= ASK_EVERY {
                asked = Instant::now();
                let token = self.site.token(USER)?;
                let counted = self.instances.iter().map(|instance| Ok(roll::count(instance.address, CHANNEL, &token)? == count));
                lists = counted.collect::<Result<Vec<_>>>()?.iter().all(|right| *right).then(|| start.elapsed());
            }
            if let (Some(watchers), Some(lists)) = (watchers, lists) {
                return Ok(Seen { watchers, lists });
            }
            ensure!(
                start.elapsed() < limit,
                "after {} s not everybody counts {count} members: the watchers know {:?}; lists right: {}",
                limit.as_secs_f64(),
                self.counts().collect::<Vec<_>>(),
                lists.is_some()
            );
        }
    }

    /// Reads the whole list at every instance: it names each of `users` once, and nobody else.
    fn check(&self, users: &BTreeSet<&str>) -> Result<()> {
        let token = self.site.token(USER)?;
        for instance in &self.instances {
            let listed = roll::read(instance.address, CHANNEL, &token)?;
            let names: BTreeSet<&str> = listed.iter().map(|member| &member.user[..]).collect();
            let (ghosts, missing) = (names.difference(users).count(), users.difference(&names).count());
            ensure!(ghosts == 0 && missing == 0, "the list at {} has {ghosts} ghosts, and {missing} members are missing", instance.address);
            ensure!(names.len() == listed.len(), "the list at {} names somebody twice", instance.address);
            let watching: usize = self.watchers.iter().map(Vec::len).sum();
            let wrong = listed.iter().find(|member| member.connections as usize != if member.user == USER { watching } else { 1 });
            ensure!(wrong.is_none(), "the list at {} has the wrong number of connections: {wrong:?}", instance.address);
        }
        Ok(())
    }
}
