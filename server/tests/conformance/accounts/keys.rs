//! Signing keys and refreshes over two instances.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::support::{SECRET, until};

crate::on_nats_pairs!(keys_rotate_and_nobody_is_logged_out, a_theft_is_found_by_whichever_instance_sees_it, refreshes_at_once_agree);

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    text(&serde_json::from_slice::<Value>(&header).unwrap()["kid"]).to_owned()
}

async fn kids(server: &Server) -> Vec<String> {
    let answer = request(server.address(), Request::get("/.well-known/jwks.json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/jwk-set+json")));
    let set = answer.json();
    assert!(!answer.body.contains("\"d\""), "only public halves");
    set["keys"].as_array().unwrap().iter().map(|key| text(&key["kid"]).to_owned()).collect()
}

async fn keys_rotate_and_nobody_is_logged_out(pair: Pair) {
    let [one, other]: [Server; 2] = pair.fleet_with(CHEAP).await;
    let ada = register(&one, "ada").await;
    let old = kid(text(&ada["access_token"]));
    assert_eq!((kids(&one).await, kids(&other).await), (vec![old.clone()], vec![old.clone()]));
    let said = command(&one, &["keys", "rotate"]);
    let new = said.split(' ').next().unwrap().to_owned();
    assert!(said.contains("signs in 60 seconds"), "{said}");
    // A token whose key is not known makes an instance look for it.
    let head = URL_SAFE_NO_PAD.encode(json!({"alg": "EdDSA", "kid": new}).to_string());
    for server in [&one, &other] {
        failed(&get(server, "/v1/sessions", &format!("{head}.e30.AA")).await, 401, "unauthorized");
        until("the new key is published", async || kids(server).await == [old.clone(), new.clone()]).await;
    }
    let during = log_in(&other, "ada", PASSWORD).await.json();
    assert_eq!(kid(text(&during["access_token"])), old, "it signs in a minute, when everybody knows it");
    for (server, tokens) in [(&one, &during), (&other, &ada)] {
        connects(server, text(&tokens["access_token"])).await;
    }
    let listed = command(&one, &["keys", "list"]);
    let states: Vec<_> = listed.lines().map(|line| line.split("  ").take(2).collect::<Vec<_>>()).collect();
    assert_eq!(states, [[&*old, "signs"], [&*new, "announced"]], "{listed}");
    assert_eq!(one.ground().count("SELECT COUNT(*) FROM rulings WHERE kind = 'key'").await, 2);
}

/// What `hubbub` says, run beside the server.
fn command(server: &Server, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hubbub"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
        command.env_remove(name);
    }
    for setting in server.ground().settings().into_iter().chain([format!("auth.secret={SECRET}")]) {
        command.arg("--set").arg(setting);
    }
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn a_theft_is_found_by_whichever_instance_sees_it(pair: Pair) {
    let [one, other]: [Server; 2] = pair.fleet_with(&[CHEAP, &["accounts.refresh_leeway=0s"]].concat()).await;
    let ada = register(&one, "ada").await;
    let second = refresh(&other, text(&ada["refresh_token"])).await.json();
    let third = refresh(&one, text(&second["refresh_token"])).await.json();
    failed(&refresh(&other, text(&second["refresh_token"])).await, 401, "revoked");
    failed(&refresh(&one, text(&third["refresh_token"])).await, 401, "revoked");
    let refused = async |server, tokens: &Value| get(server, "/v1/sessions", text(&tokens["access_token"])).await.status == 401;
    for server in [&one, &other] {
        until("no instance takes its access tokens", async || refused(server, &ada).await && refused(server, &third).await).await;
    }
}

async fn refreshes_at_once_agree(pair: Pair) {
    let [one, other]: [Server; 2] = pair.fleet_with(CHEAP).await;
    let ada = register(&one, "ada").await;
    let servers = [&one, &other];
    let many = (0..20).map(|at| refresh(servers[at % 2], text(&ada["refresh_token"])));
    let tokens: Vec<Value> = futures_util::future::join_all(many).await.iter().map(Answer::json).collect();
    assert!(tokens.iter().all(|next| next["refresh_token"] == tokens[0]["refresh_token"]), "{tokens:?}");
    for server in servers {
        connects(server, text(&tokens[7]["access_token"])).await;
    }
    assert_eq!(refresh(&other, text(&tokens[0]["refresh_token"])).await.status, 200);
}
