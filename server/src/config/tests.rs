//! What an operator relies on: precedence, mistakes all at once, secrets that stay secret, documentation that is true.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use hubbub_protocol::{ChannelName, frame::Slow};

use super::{reader::Reader, sources::Layers, *};

const SECRET: &str = "correct horse battery staple, twice over";

fn with(arguments: &[&str]) -> Sources {
    Sources { arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), ..Sources::default() }
}

fn in_environment(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { environment, ..Sources::default() }
}

fn in_file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.toml");
    fs::write(&file, text).unwrap();
    (folder, Sources { file: Some(file), ..Sources::default() })
}

fn mistakes(sources: &Sources) -> Vec<String> {
    Config::load(sources).unwrap_err().mistakes().iter().map(ToString::to_string).collect()
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

#[test]
fn the_defaults_are_valid() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.store.url, StoreUrl::Sqlite(PathBuf::from("hubbub.db")));
    assert_eq!(config.session.heartbeat, Duration::from_secs(25));
    assert_eq!(config.channel.payload, hubbub_protocol::limits::DEFAULT_PAYLOAD);
    assert_eq!(config.auth.secret, None);
    assert_eq!(config.auth.audience.as_deref(), Some("hubbub"));
    assert_eq!(config.auth.issuer, None);
}

#[test]
fn a_later_layer_overrides_an_earlier_one_key_by_key() {
    let (_folder, mut sources) = in_file("[session]\nsubscriptions = 2\noutbox = '1MiB'\nheartbeat = '2s'\n");
    let read = |sources: &Sources| {
        let session = Config::load(sources).unwrap().session;
        (session.subscriptions, session.outbox, session.heartbeat.as_secs(), session.grace.as_secs())
    };
    assert_eq!(read(&sources), (2, 1 << 20, 2, 10));
    sources.environment = in_environment(&[("HUBBUB_SESSION__SUBSCRIPTIONS", "3"), ("HUBBUB_SESSION__OUTBOX", "2MiB")]).environment;
    assert_eq!(read(&sources), (3, 2 << 20, 2, 10));
    sources.arguments = with(&["session.subscriptions=4", "session.subscriptions=5"]).arguments;
    assert_eq!(read(&sources), (5, 2 << 20, 2, 10));
}

#[test]
fn the_environment_names_the_file_unless_an_argument_does() {
    let (_one, first) = in_file("[store]\nreaders = 1");
    let (_two, second) = in_file("[store]\nreaders = 2");
    let mut sources = in_environment(&[("HUBBUB_CONFIG", second.file.unwrap().to_str().unwrap()), ("HOME", "/")]);
    assert_eq!(Config::load(&sources).unwrap().store.readers, 2);
    sources.file = first.file;
    assert_eq!(Config::load(&sources).unwrap().store.readers, 1);
    sources.file = Some("/nowhere/hubbub.toml".into());
    assert!(mistakes(&sources)[0].starts_with("/nowhere/hubbub.toml: the file cannot be read"));
}

#[test]
fn six_mistakes_are_six_reports() {
    let (_folder, sources) = in_file(concat!(
        "[htp]\nlisten = '0.0.0.0:80'\n",
        "[log]\nformat = 'yaml'\n",
        "[store]\nurl = 'mysql://admin:hunter2@db/hubbub'\nreaders = '4'\n",
        "[channel]\nhistory_page = 1001\n",
        "[drain]\nnotice = '40s'\n",
    ));
    let file = sources.file.clone().unwrap().display().to_string();
    let found = mistakes(&sources);
    let expected = [
        format!("log.format = \"yaml\" ({file}, line 4): accepted is \"pretty\" or \"json\""),
        format!(
            "store.url = \"mysql:…\" ({file}, line 6): accepted is \"sqlite:\" and the path of a file, such as \"sqlite:hubbub.db\", or \"postgres://user@host/database\""
        ),
        format!("store.readers = \"4\" ({file}, line 7): accepted is a whole number from 1 to 64"),
        format!("channel.history_page = 1001 ({file}, line 9): accepted is a whole number from 1 to 1000"),
        format!("drain.window = \"30s\" (the default): must be longer than drain.notice = \"40s\" ({file}, line 11)"),
        format!("htp.listen ({file}, line 2): there is no such key; did you mean http.listen?"),
    ];
    assert_eq!(found, expected);
    let whole = Config::load(&sources).unwrap_err().to_string();
    assert!(whole.starts_with("the configuration has 6 mistakes:\n  - log.format"), "{whole}");
}

#[test]
fn an_unknown_variable_is_named_as_it_was_written() {
    let found =
        mistakes(&in_environment(&[("HUBBUB_HTP__LISTEN", "x"), ("HUBBUB_HTTP_LISTEN", "x"), ("HUBBUB_AUTH__TOKEN_SECRET", SECRET)]));
    assert!(
        found.iter().any(|text| text
            == "HUBBUB_HTP__LISTEN (environment variable HUBBUB_HTP__LISTEN): there is no such key; did you mean HUBBUB_HTTP__LISTEN?"),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|text| text.starts_with("HUBBUB_HTTP_LISTEN ") && text.ends_with("did you mean HUBBUB_HTTP__LISTEN?")),
        "{found:#?}"
    );
    assert_eq!(found.len(), 3);
    assert!(!found.concat().contains(SECRET));
}

#[test]
fn variables_that_kubernetes_sets_are_no_mistakes() {
    let sources = in_environment(&[
        ("HUBBUB_SERVICE_HOST", "10.0.0.7"),
        ("HUBBUB_PORT", "tcp://10.0.0.7:8080"),
        ("HUBBUB_PORT_8080_TCP_ADDR", "10.0.0.7"),
    ]);
    assert!(Config::load(&sources).is_ok());
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for argument in [
        "http.metrics=maybe",
        "http.listen=localhost",
        "http.max_body=2MB",
        "session.grace=5",
        "store.readers=0",
        "broker.kind=kafka",
        "log.filter=info==",
    ] {
        let found = mistakes(&with(&[argument]));
        assert_eq!(found.len(), 1, "{found:?}");
        let (key, value) = argument.split_once('=').unwrap();
        assert!(found[0].starts_with(&format!("{key} = \"{value}\" (argument --set): accepted is ")), "{found:?}");
    }
    let (_folder, sources) =
        in_file("http = 5\n[log.filter]\nx = 1\n[auth]\nleeway = 1.5\n[drain]\nwindow = [1, 2]\n[session]\nheartbeat = 25");
    let found = mistakes(&sources);
    assert_eq!(found.len(), 5, "{found:#?}");
    for part in ["http (", "log.filter.x (", "auth.leeway = 1.5 (", "drain.window = [1, 2] (", "session.heartbeat = 25 ("] {
        assert!(found.iter().any(|text| text.starts_with(part)), "{part}: {found:#?}");
    }
}

#[test]
fn what_cannot_be_read_is_a_mistake_beside_the_others() {
    let (_folder, mut sources) = in_file("[http\nlisten = ''");
    sources.arguments = with(&["log.format", "=x", "log.format=yaml"]).arguments;
    let found = mistakes(&sources);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("line 1 is not TOML"), "{found:#?}");
    assert_eq!(found[1], "argument --set, the 1. one: accepted is section.key=value");
}

#[test]
fn values_that_exclude_each_other_are_named_together() {
    for (arguments, rule) in [
        (["drain.notice=30s", "drain.window=30s"], "must be longer than"),
        (["channel.publish_queue=8", "channel.commit_batch=9"], "must be at least"),
        (["channel.feed_bytes=2MiB", "channel.feed_total_bytes=1MiB"], "must be at least"),
        (["session.outbox=16KiB", "channel.payload=9KiB"], "must be at least twice"),
        (["namespaces.x.durable=false", "namespaces.x.history_age=1d"], "has no meaning where"),
        (["namespaces.default.durable=false", "namespaces.x.history_age=1d"], "has no meaning where"),
        (["namespaces.x.create=explicit", "namespaces.x.account_grants=publish"], "has no meaning where"),
    ] {
        let found = mistakes(&with(&arguments));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(rule), "{found:?}");
    }
    assert!(Config::load(&with(&["session.outbox=16KiB", "channel.payload=8KiB"])).is_ok());
}

#[test]
fn a_secret_is_never_shown() {
    let config = Config::load(&with(&[&format!("auth.secret={SECRET}")])).unwrap();
    assert_eq!(config.auth.secret.as_ref().map(Secret::expose), Some(SECRET.as_bytes()));
    let debug = format!("{config:?} {config:#?}");
    assert!(debug.contains("***") && !debug.contains("horse"));

    let short = Config::load(&with(&["auth.secret=hunter2"])).unwrap_err();
    let text = format!("{short} {short:?}");
    assert!(text.contains("auth.secret = *** (argument --set)") && !text.contains("hunter2"), "{text}");

    for toml in [
        "[auth]\nsecret = ['hunter2']",
        "[store]\nurl = 'hunter2'",
        "[store]\nurl = ['postgres://me:hunter2@db']",
        "[auth]\nsecrets = 'hunter2'",
        "[auth.secret]\nx = 'hunter2'",
    ] {
        let (_folder, sources) = in_file(toml);
        let error = Config::load(&sources).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn a_secret_of_digits_is_text() {
    let digits = "0123456789012345678901234567890123456789";
    let config = Config::load(&in_environment(&[("HUBBUB_AUTH__SECRET", digits)])).unwrap();
    assert_eq!(config.auth.secret.unwrap().expose(), digits.as_bytes());
}

#[test]
fn a_secret_may_be_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let argument = format!("auth.secret_file={}", file.display());
    fs::write(&file, format!("\n  {SECRET}\r\n")).unwrap();
    let config = Config::load(&with(&[&argument])).unwrap();
    assert_eq!(config.auth.secret.unwrap().expose(), SECRET.as_bytes());

    let both = mistakes(&with(&[&argument, &format!("auth.secret={SECRET}")]));
    assert!(both.len() == 1 && both[0].starts_with("auth.secret = *** (argument --set): excludes auth.secret_file = "), "{both:?}");

    fs::write(&file, "hunter2").unwrap();
    let short = mistakes(&with(&[&argument]));
    assert!(short.len() == 1 && short[0].contains("at least 32 bytes") && !short[0].contains("hunter2"), "{short:?}");
    fs::write(&file, "x".repeat(5000)).unwrap();
    assert!(mistakes(&with(&[&argument]))[0].contains("larger than 4KiB"));
    fs::remove_file(&file).unwrap();
    assert!(mistakes(&with(&[&argument]))[0].contains("cannot be read"));
}

#[test]
fn a_key_set_comes_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    fs::write(&file, r#"{"keys":[]}"#).unwrap();
    let argument = format!("auth.jwks_file={}", file.display());
    assert_eq!(Config::load(&with(&[&argument])).unwrap().auth.jwks.as_deref(), Some(r#"{"keys":[]}"#));
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(mistakes(&with(&[&argument]))[0].contains("not UTF-8"));
}

#[test]
fn guests_need_a_secret_that_signs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    fs::write(&file, r#"{"keys":[]}"#).unwrap();
    let keys = format!("auth.jwks_file={}", file.display());
    let found = mistakes(&with(&["page.guests=on", &keys]));
    assert!(found.len() == 1 && found[0].starts_with("page.guests = \"on\" (argument --set): needs auth.secret"), "{found:?}");
    for fine in [&["page.guests=on"][..], &["page.guests=auto", &keys], &["page.guests=on", &keys, &format!("auth.secret={SECRET}")]] {
        Config::load(&with(fine)).unwrap();
    }
    assert_eq!(mistakes(&with(&["page.guests=true"])).len(), 1);
}

#[test]
fn a_namespace_takes_what_it_lacks_from_default() {
    let config =
        Config::load(&with(&["namespaces.default.history_age=7d", "namespaces.room.history_entries=5", "namespaces.日.slow=latest"]))
            .unwrap();
    let week = Duration::from_secs(7 * 86_400);
    let default = Namespace {
        durability: Durability::Durable,
        history_entries: 100_000,
        history_age: week,
        slow: Slow::Close,
        presence: false,
        create: Creation::Implicit,
        auto_subscribe: false,
        account_grants: AccountGrants::default(),
    };
    assert_eq!(*config.namespace(&channel("lobby")), default);
    assert_eq!(*config.namespace(&channel("unheard:of")), default);
    assert_eq!(*config.namespace(&channel("default:1")), default);
    assert_eq!(*config.namespace(&channel("room:1")), Namespace { history_entries: 5, ..default.clone() });
    assert_eq!(*config.namespace(&channel("日:1")), Namespace { slow: Slow::Latest, ..default.clone() });
    assert_eq!(*config.namespace(&channel("ticker:eurusd")), Namespace { history_entries: 10_000, slow: Slow::Latest, ..default });
    assert!(config.namespace(&channel("demo:lobby")).presence);
    for (name, create) in
        [("chat:x", Creation::Explicit), ("dm:x", Creation::Explicit), ("user:x", Creation::Explicit), ("x", Creation::Implicit)]
    {
        let namespace = config.namespace(&channel(name));
        assert_eq!((namespace.create, namespace.auto_subscribe), (create, create == Creation::Explicit), "{name}");
    }
    let live = config.namespace(&channel("live:cursors"));
    assert_eq!((live.durability, live.slow), (Durability::Ephemeral, Slow::Latest));
    let names: BTreeSet<_> = config.namespaces.named().map(|(name, _)| name).collect();
    assert_eq!(names, BTreeSet::from(["chat", "demo", "dm", "live", "room", "ticker", "user", "日"]));
}

#[test]
fn a_mistake_in_the_default_namespace_is_reported_once() {
    let found = mistakes(&with(&["namespaces.default.slow=drop"]));
    assert_eq!(found.len(), 1, "{found:?}");
    let found = mistakes(&with(&["namespaces.room.slo=latest", "namespaces.a b.slow=latest", "namespaces.room=durable"]));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().any(|text| text.ends_with("did you mean namespaces.room.slow?")), "{found:#?}");
}

#[test]
fn every_documented_key_is_read_and_every_key_read_is_documented() {
    let layers = Layers::read(&Sources::default(), &mut Vec::new());
    let documented: BTreeSet<_> = layers.shipped.keys().cloned().collect();
    let mut reader = Reader::new(layers, Vec::new());
    Config::read(&mut reader);
    // Namespaces but the default one may leave keys out.
    let inherited = |path: &&Vec<String>| path[0] == "namespaces" && path[1] != "default" && !documented.contains(*path);
    let read: BTreeSet<_> = reader.known().filter(|path| !inherited(path)).cloned().collect();
    assert_eq!(read, documented);
}

#[test]
fn every_documented_key_has_a_comment() {
    // The namespaces after the default one are examples of keys that it explains.
    let (documented, _) = DEFAULTS.split_once("[namespaces.live]").unwrap();
    for (before, line) in documented.lines().zip(documented.lines().skip(1)) {
        let is_key = line.contains(" = ") && !line.starts_with('#');
        assert!(!is_key || before.starts_with('#'), "{line} lacks a comment");
    }
}

#[test]
fn accounts_have_costs_and_lives_that_fit_each_other() {
    let accounts = Config::load(&Sources::default()).unwrap().accounts;
    assert_eq!((accounts.enabled, accounts.registration, &*accounts.issuer), (true, Registration::Open, "hubbub"));
    assert_eq!((accounts.memory, accounts.passes, accounts.lanes), (19 << 20, 2, 1));
    let wrong = mistakes(&with(&["accounts.memory=16KiB", "accounts.lanes=3", "accounts.refresh_life=5m"]));
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong.iter().any(|mistake| mistake.contains("must be at least 8KiB for each of accounts.lanes = \"3\"")), "{wrong:?}");
    assert!(wrong.iter().any(|mistake| mistake.contains("must be at least accounts.access_life = \"15m\"")), "{wrong:?}");
    for wrong in ["issuer=", "memory=4KiB", "passes=0", "hashing=0", "registration=maybe", "access_life=1s", "secret=hunter2"] {
        let refused = mistakes(&with(&[&format!("accounts.{wrong}")]));
        assert!(refused.len() == 1 && !refused[0].contains("hunter2"), "{refused:?}");
    }
    let secret = format!("accounts.secret={SECRET}");
    assert_eq!(Config::load(&with(&[&secret])).unwrap().accounts.secret.unwrap().expose(), SECRET.as_bytes());
}
