//! Accounts on both databases, without HTTP.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::{
    auth::{Identity, Role, Rules, TokenError, Verifier},
    store::{
        audit,
        listing::{Order, Selection},
        on,
        testing::Place,
        users,
    },
    testing::{Ground, config},
    world::Clock,
};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "correct horse battery";
const NOW: u64 = 1_800_000_000_123;
const HOUR: u64 = 3_600_000;

/// An instance's accounts, with a clock that the test moves.
struct Stage {
    accounts: Arc<Accounts>,
    verifier: Verifier,
    clock: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    db: Db,
    tasks: Tasks,
}

impl Stage {
    async fn new(place: &Place, settings: &[&str]) -> Self {
        Self::beside(place.open().await, &Arc::new(AtomicU64::new(NOW)), settings).await
    }

    /// Another instance on the same database.
    async fn beside(db: Db, clock: &Arc<AtomicU64>, settings: &[&str]) -> Self {
        let cheap = ["accounts.memory=8KiB", "accounts.passes=1", "accounts.hashing=4"];
        let world = World { clock: Clock::Manual(clock.clone()), ..World::system() };
        let Ground { config, access, metrics, tasks, .. } = Ground::new(db.clone(), world.clone(), &[&cheap, settings].concat()).await;
        let ring = Arc::new(KeyRing::new(config.accounts.issuer.clone(), config.auth.audience.clone()));
        let parts = Parts {
            config: config.accounts.clone(),
            db: db.clone(),
            access,
            ring: ring.clone(),
            secret: Secret::new(SECRET),
            world,
            metrics: metrics.clone(),
        };
        let accounts = Accounts::start(parts, &tasks).await.unwrap();
        let verifier = Verifier::new(Some(SECRET), None, Rules::default()).unwrap().with_own(ring);
        Self { accounts, verifier, clock: clock.clone(), metrics, db, tasks }
    }

    async fn register(&self, login: &str) -> Result<Tokens, Refused> {
        self.accounts.register(Register { login, name: None, password: PASSWORD }, &client(1)).await
    }

    async fn log_in(&self, login: &str, password: &str, from: u8) -> Result<Tokens, Refused> {
        self.accounts.log_in(LogIn { login, password }, &client(from)).await
    }

    fn identity(&self, tokens: &Tokens) -> Identity {
        self.verifier.verify(&tokens.access, self.now()).unwrap()
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Ordering::Relaxed);
    }

    fn hashes(&self) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with("hubbub_password_hashes_total ")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    async fn rulings(&self, kind: &str) -> i64 {
        count(&self.db, "rulings", &format!("kind = '{kind}'")).await
    }

    async fn run(&self, sql: &'static str) {
        let mut tx = self.db.begin().await.unwrap();
        on!(&mut tx, conn => sqlx::query(sql).execute(conn).await.map(drop)).unwrap();
        tx.commit().await.unwrap();
    }

    async fn logins(&self, of: &Identity) -> Vec<Login> {
        let order = Order { column: "created_at", descending: false };
        self.accounts.logins(of, &Selection { conditions: Vec::new(), order, after: None, limit: 1_000 }).await.unwrap()
    }

    async fn end(self) {
        self.tasks.stop().await;
    }
}

/// The rows of `table` for which `condition` holds.
async fn count(db: &Db, table: &str, condition: &str) -> i64 {
    let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table} WHERE {condition}"));
    let mut tx = db.begin().await.unwrap();
    on!(&mut tx, conn => sqlx::query_scalar(text).fetch_one(conn).await).unwrap()
}

fn client(from: u8) -> Client {
    Client { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, from)), device: "a test\u{7}".to_owned(), request: "r-1".to_owned() }
}

fn code(refused: Result<Tokens, Refused>) -> String {
    refused.map(|tokens| panic!("{tokens:?}")).unwrap_or_else(|refused| refused.code().as_str().to_owned())
}

#[tokio::test]
async fn who_registers_can_log_in_and_the_first_is_the_owner() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &[]).await;
        let ada = stage.register("Ada").await.unwrap();
        assert_eq!((ada.user.login.as_deref(), &*ada.user.name, ada.user.role), (Some("ada"), "ada", Role::Owner));
        assert_eq!(stage.rulings("user").await, 1, "instances have to know the owner");
        let bob = stage.register("bob").await.unwrap();
        assert_eq!(bob.user.role, Role::Member);
        assert_eq!(stage.accounts.access.role(&ada.user.id), Role::Owner);
        assert_eq!(code(stage.register("ADA").await), "conflict");
        let newest = Order { column: "id", descending: true };
        let deeds = audit::list(&stage.db, &Selection { conditions: Vec::new(), order: newest, after: None, limit: 9 }).await.unwrap();
        for id in [&ada.user.id, &bob.user.id] {
            let deed = deeds.iter().find(|deed| deed.target_id == *id).unwrap();
            let told = (&*deed.action, &*deed.actor, &*deed.address, &*deed.request_id);
            assert_eq!(told, ("user.registered", &**id, "192.0.2.1", "r-1"));
        }
        let again = stage.log_in("aDa", PASSWORD, 1).await.unwrap();
        assert_ne!(again.session, ada.session);
        let identity = stage.identity(&again);
        assert_eq!((&*identity.user, identity.session.as_deref()), (&*ada.user.id, Some(&*again.session)));
        assert_eq!((identity.issued_at, identity.is_narrowed), (NOW, false));
        assert!(identity.token.is_some());
        let expires = identity.expires_at;
        assert!((NOW + 899_000..=NOW + 900_000).contains(&expires), "{expires}");
        stage.end().await;
    }
}

#[tokio::test]
async fn of_many_who_register_first_one_is_the_owner() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &[]).await;
        // The first of them takes another's login: he is nobody, and leaves the place to the others.
        let names = ["u00", "u00", "u01", "u02", "u03", "u04", "u05", "u06"];
        let registered = futures_util::future::join_all(names.map(|name| stage.register(name))).await;
        let roles: Vec<Role> = registered.into_iter().flatten().map(|tokens| tokens.user.role).collect();
        assert_eq!(roles.len(), 7);
        assert_eq!(roles.iter().filter(|role| **role == Role::Owner).count(), 1);
        stage.end().await;
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_an_account_is_told_at_once() {
    let place = Place::sqlite();
    let stage = Stage::new(&place, &[]).await;
    let new = Register { login: "a b", name: Some("x\u{0}"), password: "short" };
    let Err(Refused::Invalid(flaws)) = stage.accounts.register(new, &client(1)).await else { panic!() };
    assert_eq!(
        flaws.iter().map(|flaw| (flaw.place().pointer(), flaw.rule())).collect::<Vec<_>>(),
        [("/login", "format"), ("/name", "format"), ("/password", "too_short")]
    );
    let new = Register { login: "ada", name: Some("Correct Horse Battery"), password: PASSWORD };
    let Err(Refused::Invalid(flaws)) = stage.accounts.register(new, &client(1)).await else { panic!() };
    assert_eq!(flaws[0].rule(), "same_as_name");
    assert_eq!(stage.hashes(), 0, "nothing is done before all is right");
    stage.end().await;
    let closed = Stage::new(&place, &["accounts.registration=closed"]).await;
    assert_eq!(code(closed.register("ada").await), "forbidden");
    closed.end().await;
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_and_the_work_are_the_same() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &[]).await;
        for login in ["ada", "bob", "carol"] {
            stage.register(login).await.unwrap();
        }
        stage.run("UPDATE users SET blocked_at = 1 WHERE login = 'bob'").await;
        stage.run("UPDATE users SET password = NULL WHERE login = 'carol'").await;
        let mut answers = Vec::new();
        for (from, (login, password)) in
            [("ada", "wrong wrong wrong"), ("bob", PASSWORD), ("carol", PASSWORD), ("nobody", PASSWORD), ("no login!", ""), ("", PASSWORD)]
                .into_iter()
                .enumerate()
        {
            let before = stage.hashes();
            let refused = stage.log_in(login, password, 100 + from as u8).await.unwrap_err();
            answers.push((refused.to_string(), refused.code().as_str(), stage.hashes() - before));
        }
        answers.dedup();
        assert_eq!(answers, [("the login and the password do not go together".to_owned(), "login_failed", 1)]);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_the_last_one_may_be_repeated_for_a_moment() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &[]).await;
        let refresh = async |token: &str| stage.accounts.refresh(token, &client(7)).await;
        let first = stage.register("ada").await.unwrap();
        stage.pass(HOUR);
        let second = refresh(&first.refresh).await.unwrap();
        assert_ne!(second.refresh, first.refresh);
        assert_eq!((&second.session, stage.identity(&second).issued_at), (&first.session, NOW + HOUR));
        stage.pass(9_000);
        assert_eq!(refresh(&first.refresh).await.unwrap().refresh, second.refresh, "the answer was lost");
        let third = refresh(&second.refresh).await.unwrap();
        assert_eq!(refresh(&second.refresh).await.unwrap().refresh, third.refresh);
        let login = stage.accounts.login(&stage.identity(&third), &third.session).await.unwrap();
        assert_eq!((&*login.address, &*login.device, login.used_at, login.current), ("192.0.2.7", "a test", NOW + HOUR + 9_000, true));
        // Two generations back: whoever has it has kept it.
        assert_eq!(stage.rulings("session").await, 0);
        assert!(matches!(refresh(&first.refresh).await, Err(Refused::Replayed)));
        assert!(matches!(refresh(&third.refresh).await, Err(Refused::Revoked)), "the thief's, or his victim's, is gone with it");
        assert_eq!(stage.rulings("session").await, 1);
        // The last one, but too late.
        let first = stage.log_in("ada", PASSWORD, 1).await.unwrap();
        let second = refresh(&first.refresh).await.unwrap();
        stage.pass(10_001);
        assert!(matches!(refresh(&first.refresh).await, Err(Refused::Replayed)));
        assert!(matches!(refresh(&second.refresh).await, Err(Refused::Revoked)));
        stage.end().await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_was_made_up_ends_nothing() {
    let place = Place::sqlite();
    let stage = Stage::new(&place, &[]).await;
    let ada = stage.register("ada").await.unwrap();
    let second = stage.accounts.refresh(&ada.refresh, &client(1)).await.unwrap();
    let third = stage.accounts.refresh(&second.refresh, &client(1)).await.unwrap();
    let (head, mac) = ada.refresh.rsplit_once('.').unwrap();
    let (id, _) = head.rsplit_once('.').unwrap();
    let last = if mac.ends_with('A') { "E" } else { "A" };
    let changed = format!("{head}.{}{last}", &mac[..mac.len() - 1]);
    for token in [changed, format!("{id}.2.{mac}"), format!("{id}.9.{mac}"), format!("{head}."), "hbr_".into(), "x".repeat(9_000)] {
        assert!(matches!(stage.accounts.refresh(&token, &client(1)).await, Err(Refused::Token)), "{token}");
    }
    stage.accounts.refresh(&third.refresh, &client(1)).await.unwrap();
    stage.end().await;
}

#[tokio::test]
async fn who_refreshes_many_times_at_once_gets_one_successor() {
    for place in Place::all().await {
        let one = Stage::new(&place, &[]).await;
        let other = Stage::beside(Place::open_at(&place.config()).await, &one.clock, &[]).await;
        let ada = one.register("ada").await.unwrap();
        let stages = [&one, &other];
        let clients: Vec<Client> = (0..16).map(client).collect();
        let many = clients.iter().enumerate().map(|(at, client)| stages[at % 2].accounts.refresh(&ada.refresh, client));
        let tokens = futures_util::future::join_all(many).await;
        let mut refresh: Vec<String> = tokens.into_iter().map(|tokens| tokens.unwrap().refresh).collect();
        refresh.dedup();
        assert_eq!(refresh.len(), 1);
        one.accounts.refresh(&refresh[0], &client(1)).await.unwrap();
        // A theft is found wherever the token is shown.
        assert!(matches!(other.accounts.refresh(&ada.refresh, &client(1)).await, Err(Refused::Replayed)));
        one.end().await;
        other.end().await;
    }
}

#[tokio::test]
async fn a_login_ends_with_its_time_its_user_and_by_its_user() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &["accounts.refresh_life=1h"]).await;
        let refresh = async |tokens: &Tokens| stage.accounts.refresh(&tokens.refresh, &client(1)).await;
        let ada = stage.register("ada").await.unwrap();
        stage.pass(HOUR);
        assert!(matches!(refresh(&ada).await, Err(Refused::Expired)));
        let [one, two, three] = [(); 3].map(|()| stage.log_in("ada", PASSWORD, 1));
        let [one, two, three] = [one.await.unwrap(), two.await.unwrap(), three.await.unwrap()];
        let identity = stage.identity(&one);
        assert_eq!(stage.logins(&identity).await.len(), 3, "the first is over");
        stage.accounts.log_out(&stage.identity(&two), &client(1)).await.unwrap();
        stage.accounts.log_out(&stage.identity(&two), &client(1)).await.unwrap();
        assert!(matches!(refresh(&two).await, Err(Refused::Revoked)));
        let bob = stage.register("bob").await.unwrap();
        assert!(matches!(stage.accounts.end_login(&stage.identity(&bob), &one.session, &client(1)).await, Err(Refused::NotFound)));
        assert!(matches!(stage.accounts.login(&stage.identity(&bob), &one.session).await, Err(Refused::NotFound)));
        stage.accounts.end_logins(&identity, Logins::Others, &client(1)).await.unwrap();
        assert!(matches!(refresh(&three).await, Err(Refused::Revoked)));
        let one = refresh(&one).await.unwrap();
        stage.run("UPDATE users SET blocked_at = 1 WHERE login = 'ada'").await;
        assert!(matches!(refresh(&one).await, Err(Refused::Revoked)));
        stage.run("UPDATE users SET blocked_at = NULL WHERE login = 'ada'").await;
        let one = refresh(&one).await.unwrap();
        stage.run("UPDATE users SET tokens_from = 9000000000000 WHERE login = 'ada'").await;
        assert!(matches!(refresh(&one).await, Err(Refused::Revoked)), "all tokens of before were called in");
        stage.accounts.end_logins(&stage.identity(&bob), Logins::All, &client(1)).await.unwrap();
        assert!(matches!(refresh(&bob).await, Err(Refused::Revoked)));
        assert_eq!(stage.rulings("session").await, 3);
        stage.end().await;
    }
}

#[tokio::test]
async fn another_password_ends_the_other_logins() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &[]).await;
        let (ada, other) = (stage.register("ada").await.unwrap(), stage.log_in("ada", PASSWORD, 1).await.unwrap());
        let identity = stage.identity(&ada);
        let change = async |old: &str, new: &str| stage.accounts.change_password(&identity, old, new, &client(1)).await;
        assert!(matches!(change("not this one", "staple of colours").await, Err(Refused::Login)));
        assert!(matches!(change(PASSWORD, "password123").await, Err(Refused::Invalid(_))));
        change(PASSWORD, "staple of colours").await.unwrap();
        assert_eq!(code(stage.log_in("ada", PASSWORD, 2).await), "login_failed");
        stage.log_in("ada", "staple of colours", 2).await.unwrap();
        assert!(matches!(stage.accounts.refresh(&other.refresh, &client(1)).await, Err(Refused::Revoked)));
        stage.accounts.refresh(&ada.refresh, &client(1)).await.unwrap();
        users::see(&stage.db, vec!["outsider".to_owned()], NOW).await.unwrap();
        let outsider = Identity::new("outsider", crate::auth::Grants::default());
        let refused = stage.accounts.change_password(&outsider, PASSWORD, "staple of colours", &client(1)).await;
        assert!(matches!(refused, Err(Refused::NoPassword)));
        assert!(matches!(stage.accounts.log_out(&outsider, &client(1)).await, Err(Refused::NoLogin)));
        stage.end().await;
    }
}

#[tokio::test]
async fn a_password_is_hashed_anew_when_it_costs_more() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &[]).await;
        stage.register("ada").await.unwrap();
        let dearer = Stage::beside(stage.db.clone(), &stage.clock, &["accounts.memory=16KiB"]).await;
        // Two at once: neither keeps the other out.
        let (one, other) = tokio::join!(dearer.log_in("ada", PASSWORD, 1), dearer.log_in("ada", PASSWORD, 2));
        one.and(other).unwrap();
        let hash = users::with_login(&stage.db, "ada").await.unwrap().unwrap().password.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=16,t=1,p=1$"), "{hash}");
        let before = dearer.hashes();
        dearer.log_in("ada", PASSWORD, 1).await.unwrap();
        assert_eq!(dearer.hashes() - before, 1);
        stage.log_in("ada", PASSWORD, 1).await.unwrap();
        assert_eq!(users::with_login(&stage.db, "ada").await.unwrap().unwrap().password, Some(hash), "it does not get cheaper");
        stage.end().await;
        dearer.end().await;
    }
}

#[tokio::test]
async fn who_guesses_has_to_wait_longer_each_time_and_nobody_else_has() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &[]).await;
        stage.register("ada").await.unwrap();
        for _ in 0..5 {
            assert_eq!(code(stage.log_in("ada", "wrong wrong wrong", 66).await), "login_failed");
        }
        let wait = async || match stage.log_in("ada", PASSWORD, 66).await {
            Err(Refused::TooMany { wait }) => wait.as_millis(),
            other => panic!("{other:?}"),
        };
        let before = stage.hashes();
        assert_eq!((wait().await, wait().await), (1_000, 1_000), "trying while one has to wait makes it no longer");
        assert_eq!(stage.hashes(), before);
        stage.pass(1_000);
        assert_eq!(code(stage.log_in("ada", "wrong wrong wrong", 66).await), "login_failed");
        assert_eq!(wait().await, 2_000);
        // The one who knows it, from elsewhere; and others from there.
        stage.log_in("ada", PASSWORD, 1).await.unwrap();
        assert_eq!(code(stage.log_in("bob", PASSWORD, 66).await), "login_failed");
        stage.pass(2_000);
        stage.log_in("ada", PASSWORD, 66).await.unwrap();
        assert_eq!(code(stage.log_in("ada", "wrong wrong wrong", 66).await), "login_failed");
        assert_eq!(code(stage.log_in("ada", "wrong wrong wrong", 66).await), "login_failed", "who has logged in begins anew");
        stage.end().await;
    }
}

#[tokio::test]
async fn guesses_at_once_do_not_slip_through() {
    for place in Place::all().await {
        let one = Stage::new(&place, &[]).await;
        let other = Stage::beside(Place::open_at(&place.config()).await, &one.clock, &[]).await;
        one.register("ada").await.unwrap();
        let before = one.hashes();
        let stages = [&one, &other];
        let guesses = (0..60).map(|at| stages[at % 2].log_in("ada", "wrong wrong wrong", 66));
        let answers: Vec<String> = futures_util::future::join_all(guesses).await.into_iter().map(code).collect();
        assert_eq!(answers.iter().filter(|answer| *answer == "login_failed").count(), 5);
        assert_eq!(answers.iter().filter(|answer| *answer == "rate_limited").count(), 55);
        assert_eq!(one.hashes() - before + other.hashes(), 5);
        one.end().await;
        other.end().await;
    }
}

#[tokio::test]
async fn an_address_that_tries_many_accounts_has_to_wait() {
    let place = Place::sqlite();
    let stage = Stage::new(&place, &[]).await;
    for account in 0..50 {
        assert_eq!(code(stage.log_in(&format!("user{account}"), PASSWORD, 66).await), "login_failed");
    }
    assert_eq!(code(stage.log_in("another", PASSWORD, 66).await), "rate_limited");
    assert_eq!(code(stage.log_in("another", PASSWORD, 67).await), "login_failed");
    stage.pass(HOUR + 1);
    assert_eq!(code(stage.log_in("another", PASSWORD, 66).await), "login_failed");
    stage.end().await;
}

#[tokio::test]
async fn who_asks_for_taken_logins_has_to_wait() {
    let place = Place::sqlite();
    let stage = Stage::new(&place, &[]).await;
    for number in 0..20 {
        stage.register(&format!("user{number}")).await.unwrap();
    }
    for number in 0..10 {
        assert_eq!(code(stage.register(&format!("user{number}")).await), "conflict");
    }
    assert_eq!(code(stage.register("user11").await), "rate_limited");
    assert_eq!(code(stage.register("free").await), "rate_limited", "or this would tell, too");
    stage.pass(1_000);
    stage.register("free").await.unwrap();
    stage.end().await;
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_logins() {
    let place = Place::sqlite();
    let stage = Stage::new(&place, &[]).await;
    let first = stage.register("ada").await.unwrap();
    let mut last = None;
    for _ in 0..crate::store::sessions::MAX_SESSIONS {
        stage.pass(1);
        last = Some(stage.log_in("ada", PASSWORD, 1).await.unwrap());
    }
    let last = last.unwrap();
    assert_eq!(stage.logins(&stage.identity(&last)).await.len(), crate::store::sessions::MAX_SESSIONS as usize);
    assert!(matches!(stage.accounts.refresh(&first.refresh, &client(1)).await, Err(Refused::Revoked)));
    stage.end().await;
}

#[tokio::test]
async fn keys_change_and_nobody_is_logged_out() {
    for place in Place::all().await {
        let one = Stage::new(&place, &[]).await;
        let other = Stage::beside(Place::open_at(&place.config()).await, &one.clock, &[]).await;
        assert_eq!(one.accounts.keys().list().await.unwrap().len(), 1, "the second instance took the first one's");
        let ada = one.register("ada").await.unwrap();
        let kid = one.accounts.keys().rotate(&Trace::operator()).await.unwrap().unwrap();
        let old = kid_of(&ada.access);
        assert_ne!(old, kid);
        let announced = one.log_in("ada", PASSWORD, 1).await.unwrap();
        assert_eq!(kid_of(&announced.access), old, "not everybody knows the new one");
        assert_eq!(one.accounts.keys().ring().public(one.now()).len(), 2);
        one.pass(keys::NOTICE);
        other.accounts.keys().round().await.unwrap();
        let fresh = one.log_in("ada", PASSWORD, 1).await.unwrap();
        assert_eq!(kid_of(&fresh.access), kid);
        for tokens in [&ada, &announced, &fresh] {
            other.identity(tokens);
        }
        // When nothing that it signed is good any more, the old one is none.
        one.pass(HOUR);
        for stage in [&one, &other] {
            stage.accounts.keys().round().await.unwrap();
            stage.accounts.keys().round().await.unwrap();
            assert!(matches!(stage.verifier.verify(&ada.access, NOW), Err(TokenError::UnknownKey)));
        }
        assert_eq!(one.accounts.keys().list().await.unwrap().len(), 1);
        assert_eq!(one.rulings("key").await, 2);
        one.end().await;
        other.end().await;
    }
}

#[tokio::test]
async fn an_old_key_is_followed_by_another_and_by_one_only() {
    for place in Place::all().await {
        let one = Stage::new(&place, &[]).await;
        let other = Stage::beside(Place::open_at(&place.config()).await, &one.clock, &[]).await;
        one.pass(90 * 24 * HOUR);
        let (a, b) = tokio::join!(one.accounts.keys().round(), other.accounts.keys().round());
        a.and(b).unwrap();
        assert_eq!(one.accounts.keys().list().await.unwrap().len(), 2);
        one.end().await;
        other.end().await;
    }
}

#[tokio::test]
async fn keys_that_were_sealed_with_another_secret_only_verify() {
    let place = Place::sqlite();
    let stage = Stage::new(&place, &[]).await;
    let ada = stage.register("ada").await.unwrap();
    let config = config(&[]);
    let ring = Arc::new(KeyRing::new(config.accounts.issuer.clone(), config.auth.audience.clone()));
    let world = stage.accounts.world.clone();
    let keys = Keys::new(&config.accounts, stage.db.clone(), ring.clone(), &Secret::new(&[9; 32]), world.clone()).unwrap();
    keys.open().await.unwrap();
    let verifier = Verifier::new(Some(SECRET), None, Rules::default()).unwrap().with_own(ring.clone());
    assert_eq!(&*verifier.verify(&ada.access, NOW).unwrap().user, ada.user.id);
    let token = ring.sign("bob", "s", world.id(), NOW, NOW + 60_000).unwrap();
    assert_ne!(kid_of(&token), kid_of(&ada.access));
    stage.end().await;
}

fn kid_of(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<serde_json::Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_our_keys_say_which_login_a_token_came_from() {
    let place = Place::sqlite();
    let stage = Stage::new(&place, &[]).await;
    let ada = stage.register("ada").await.unwrap();
    let claims = serde_json::json!({"sub": ada.user.id, "exp": NOW / 1_000 + 60, "iss": "hubbub", "aud": "hubbub", "sid": ada.session});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let outside = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    assert_eq!(stage.verifier.verify(&outside, NOW).unwrap().session, None);
    // Ours are for our issuer and audience, whatever is asked of others.
    let ring = Arc::new(KeyRing::new("another".into(), None));
    let keys =
        Keys::new(&stage.accounts.config, stage.db.clone(), ring.clone(), &Secret::new(SECRET), stage.accounts.world.clone()).unwrap();
    keys.open().await.unwrap();
    let verifier = Verifier::new(Some(SECRET), None, Rules::default()).unwrap().with_own(ring);
    assert_eq!(verifier.verify(&ada.access, NOW).unwrap_err(), TokenError::Issuer);
    let [head, claims, signature] = <[&str; 3]>::try_from(ada.access.split('.').collect::<Vec<_>>()).unwrap();
    let forged = format!("{head}.{claims}x.{signature}");
    assert_eq!(stage.verifier.verify(&forged, NOW).unwrap_err(), TokenError::Signature);
    assert_eq!(stage.verifier.verify(&ada.access, NOW + HOUR).unwrap_err(), TokenError::Expired);
    stage.end().await;
}

#[tokio::test]
async fn who_is_vouched_for_becomes_a_user_when_seen() {
    for place in Place::all().await {
        let (db, tasks) = (place.open().await, Tasks::default());
        let sightings = Sightings::start(db.clone(), World::system(), &tasks);
        let outsider = |name: &str| Identity::new(name, crate::auth::Grants::default());
        let names: Vec<String> = (0..300).map(|number| format!("user {number} “é”")).collect();
        for name in names.iter().chain(&names) {
            sightings.saw(&outsider(name));
        }
        let logged_in = Identity { session: Some("s".into()), ..outsider("nobody") };
        sightings.saw(&logged_in);
        sightings.saw(&outsider("last"));
        let last = tokio::time::timeout(std::time::Duration::from_secs(20), async {
            loop {
                if let Some(user) = users::find(&db, "last").await.unwrap() {
                    break user;
                }
                sightings.saw(&outsider("last"));
                tokio::task::yield_now().await;
            }
        });
        let last = last.await.unwrap();
        assert_eq!((&*last.name, &*last.role, last.login, last.password), ("last", "member", None, None));
        assert_eq!(count(&db, "users", "true").await, 301);
        tasks.stop().await;
    }
}

#[tokio::test]
async fn what_is_over_is_deleted_and_nothing_else() {
    for place in Place::all().await {
        let stage = Stage::new(&place, &["accounts.refresh_life=1h"]).await;
        let ada = stage.register("ada").await.unwrap();
        let count = async |table| count(&stage.db, table, "true").await;
        let _ = stage.log_in("ada", "wrong wrong wrong", 66).await;
        assert_eq!((count("sessions").await, count("login_failures").await), (1, 4));
        stage.pass(HOUR + 1);
        janitor::round(&stage.accounts).await.unwrap();
        assert_eq!((count("sessions").await, count("login_failures").await), (1, 0), "who comes a little late hears that it is over");
        assert!(matches!(stage.accounts.refresh(&ada.refresh, &client(1)).await, Err(Refused::Expired)));
        stage.pass(24 * HOUR);
        stage.log_in("ada", PASSWORD, 1).await.unwrap();
        janitor::round(&stage.accounts).await.unwrap();
        assert_eq!(count("sessions").await, 1);
        assert!(matches!(stage.accounts.refresh(&ada.refresh, &client(1)).await, Err(Refused::Token)));
        stage.end().await;
    }
}
