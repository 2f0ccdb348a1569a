//! Connecting: credentials, TLS, and servers that will not do.

use std::{fs, path::PathBuf, time::Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair as NatsKey;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{LONG, Node, config, config_at, entry, name, seqs, server::Server};
use crate::{
    broker::{self, BrokerError, Plane, To},
    config::{BrokerConfig, NatsUrl, Secret},
};

#[tokio::test]
async fn the_check_tells_what_is_there() {
    let facts = broker::check(&config()).await.unwrap();
    assert!(facts.version.starts_with("2."), "{facts:?}");
    assert_eq!(facts.max_payload, 1 << 20);
    assert_eq!(facts.cluster, None);
}

#[tokio::test]
async fn nobody_there_is_said_with_the_addresses_and_without_passwords() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Instant::now();
    let error = broker::check(&config_at(&format!("nats://me:hush@{free},nats://localhost:1"))).await.unwrap_err();
    assert!(began.elapsed() < LONG);
    assert!(matches!(error, BrokerError::Unreachable(_)), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(said.contains(&format!("nats://{free}, nats://localhost:1")) && !said.contains("hush"), "{said}");
}

#[tokio::test]
async fn one_address_of_several_is_enough() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config();
    config.url = NatsUrl::parse(&format!("nats://{free},{}", config.url.expose())).unwrap();
    broker::check(&config).await.unwrap();
}

#[tokio::test]
async fn users_and_tokens_are_those_of_the_address() {
    let server = Server::start(&["--user", "me", "--pass", "s@cret"]);
    let url = |user: &str| format!("nats://{user}@127.0.0.1:{}", server.port);
    broker::check(&config_at(&url("me:s%40cret"))).await.unwrap();
    for wrong in [url("me:guessed"), url("guessed"), server.url()] {
        let error = broker::check(&config_at(&wrong)).await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
        let said = format!("{error} {error:?}");
        assert!(said.contains(&format!("nats://127.0.0.1:{}", server.port)) && !said.contains("guessed"), "{said}");
    }
    let server = Server::start(&["--auth", "t0ken"]);
    broker::check(&config_at(&format!("nats://t0ken@127.0.0.1:{}", server.port))).await.unwrap();
}

#[tokio::test]
async fn a_user_needs_what_is_below_the_prefix_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("nats.conf");
    let below = r#"{ publish: "chat.>", subscribe: "chat.>" }"#;
    fs::write(&file, format!("authorization {{ users = [ {{ user: me, password: hush, permissions: {below} }} ] }}")).unwrap();
    let server = Server::start(&["-c", &file.display().to_string()]);
    let config = BrokerConfig { prefix: "chat".to_owned(), ..config_at(&format!("nats://me:hush@127.0.0.1:{}", server.port)) };
    let [one, mut two] = Node::pair(&config).await;
    let began = Instant::now();
    for at in 0..20 {
        two.broker.listen(Plane::Entries, &name(&format!("room:{at}"))).await;
    }
    assert!(began.elapsed() < LONG / 2, "a listen does not wait out its patience: {:?}", began.elapsed());
    one.broker.publish(&[entry("room:1", 1)]);
    one.broker.send(To::Presence(&name("room:1")), b"not listened to".to_vec());
    one.broker.send(To::Instance("two"), b"two".to_vec());
    assert_eq!(seqs(&two.next_entries().await), [1]);
    assert_eq!(two.next_message().await, b"two");
}

/// A token as NATS has them, signed by `issuer`.
fn jwt(issuer: &NatsKey, subject: &NatsKey, claims: &Value) -> String {
    let claims = json!({"jti": "1", "iat": 1, "iss": issuer.public_key(), "name": "a test's", "sub": subject.public_key(), "nats": claims});
    let parts = [json!({"typ": "JWT", "alg": "ed25519-nkey"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn credentials_files_are_understood() {
    let [operator, account, user, stranger] = [NatsKey::new_operator(), NatsKey::new_account(), NatsKey::new_user(), NatsKey::new_user()];
    let no_limits = json!({"subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true});
    let [operator_jwt, account_jwt, user_jwt] = [
        jwt(&operator, &operator, &json!({"type": "operator", "version": 2})),
        jwt(&operator, &account, &json!({"type": "account", "version": 2, "limits": no_limits})),
        jwt(&account, &user, &json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1})),
    ];
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("nats.conf");
    let preload = format!("{{ {}: {account_jwt} }}", account.public_key());
    fs::write(&file, format!("operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {preload}\n")).unwrap();
    let server = Server::start(&["-c", &file.display().to_string()]);
    let credentials = |key: &NatsKey| {
        let seed = key.seed().unwrap();
        let [jwt, seed] = [("NATS USER JWT", &user_jwt), ("USER NKEY SEED", &seed)]
            .map(|(what, content)| format!("-----BEGIN {what}-----\n{content}\n------END {what}------\n\n"));
        BrokerConfig { credentials: Some(Secret::new((jwt + &seed).as_bytes())), ..config_at(&server.url()) }
    };
    broker::check(&credentials(&user)).await.unwrap();
    let error = broker::check(&credentials(&stranger)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_credentials_file_that_is_none_is_said() {
    let config = BrokerConfig { credentials: Some(Secret::new(b"hush")), ..config() };
    let error = broker::check(&config).await.unwrap_err();
    assert!(matches!(error, BrokerError::Setup(_)), "{error:?}");
    assert!(error.to_string().contains("credentials_file") && !error.to_string().contains("hush"), "{error}");
}

/// Says it is NATS, and greets with this.
async fn imitation(info: &'static str) -> BrokerConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"PING\r\n") && stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {}
            stream.write_all(b"PONG\r\n").await.unwrap();
            let _ = stream.read_to_end(&mut heard).await;
        }
    });
    config_at(&url)
}

#[tokio::test]
async fn an_old_server_is_refused() {
    let config = imitation(r#"{"version":"2.10.29","max_payload":1048576}"#).await;
    let error = broker::check(&config).await.unwrap_err();
    assert_eq!(error.to_string(), "the NATS server is version 2.10.29; Hubbub needs 2.11 or newer");
    assert!(Node::try_start(&config, "one").await.is_err());
}

#[tokio::test]
async fn a_server_that_takes_too_little_is_refused() {
    let config = imitation(r#"{"version":"2.11.0","max_payload":65536}"#).await;
    let error = broker::check(&config).await.unwrap_err();
    assert!(matches!(error, BrokerError::PayloadTooSmall(65_536, _)), "{error:?}");
}

/// Certificates in a folder: an authority, a server's and a client's that lead to it, and their keys.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        for who in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
            fs::write(dir.path().join(format!("{who}.pem")), certificate.pem()).unwrap();
            fs::write(dir.path().join(format!("{who}-key.pem")), key.serialize_pem()).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn server(&self, args: &[&str]) -> Server {
        let [cert, key] = ["server.pem", "server-key.pem"].map(|name| self.path(name).display().to_string());
        Server::start(&[&["--tls", "--tlscert", &cert, "--tlskey", &key], args].concat())
    }
}

#[tokio::test]
async fn tls_leads_to_the_authority_or_says_why_not() {
    let certificates = Certificates::new();
    let server = certificates.server(&[]);
    let url = format!("tls://127.0.0.1:{}", server.port);
    let trusting = BrokerConfig { ca_file: Some(certificates.path("ca.pem")), ..config_at(&url) };
    let [one, mut two] = Node::pair(&trusting).await;
    two.broker.listen(Plane::Entries, &name("room:1")).await;
    one.broker.publish(&[entry("room:1", 1)]);
    assert_eq!(seqs(&two.next_entries().await), [1]);

    let error = broker::check(&config_at(&url)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Tls(..)), "{error:?}");
    assert!(error.to_string().contains("UnknownIssuer") && error.to_string().contains("broker.ca_file"), "{error}");
    let absent = BrokerConfig { ca_file: Some(certificates.path("absent.pem")), ..config_at(&url) };
    let error = broker::check(&absent).await.unwrap_err();
    assert!(matches!(error, BrokerError::Setup(_)) && error.to_string().contains("absent.pem"), "{error:?}");
}

#[tokio::test]
async fn tls_is_never_left_out_where_it_is_asked_for() {
    let server = Server::start(&[]);
    let error = broker::check(&config_at(&format!("tls://127.0.0.1:{}", server.port))).await.unwrap_err();
    assert!(matches!(error, BrokerError::Tls(..) | BrokerError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let server = certificates.server(&["--tlsverify", "--tlscacert", &ca.display().to_string()]);
    let anonymous = BrokerConfig { ca_file: Some(ca), ..config_at(&format!("tls://127.0.0.1:{}", server.port)) };
    let known =
        BrokerConfig { certificate: Some((certificates.path("client.pem"), certificates.path("client-key.pem"))), ..anonymous.clone() };
    broker::check(&known).await.unwrap();
    let error = broker::check(&anonymous).await.unwrap_err();
    assert!(error.to_string().contains(&server.port.to_string()), "{error}");
}
