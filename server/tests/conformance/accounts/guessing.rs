//! Who guesses passwords or looks for accounts learns nothing, and has to wait.

use super::*;

crate::on_local_pairs!(no_answer_tells_whether_there_is_an_account, who_guesses_is_slowed_down_and_nobody_else);
crate::on_nats_pairs!(guesses_at_all_instances_at_once_do_not_slip_through);

const HASHES: &str = "hubbub_password_hashes_total";

async fn no_answer_tells_whether_there_is_an_account(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    register(&server, "ada").await;
    let mut answers = Vec::new();
    // The time is that of one hash, whatever the login: so many are counted, since a clock would tell of the machine's other work.
    for login in ["ada", "nobody", "no login at all", ""] {
        let before = server.metric(HASHES);
        let answer = log_in(&server, login, "wrong wrong wrong").await;
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("request_id").unwrap();
        answers.push((answer.status, body, answer.header("retry-after").map(str::to_owned), server.metric(HASHES) - before));
    }
    assert_eq!((answers[0].0, text(&answers[0].1["code"]), answers[0].3), (401, "login_failed", 1.0));
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

async fn who_guesses_is_slowed_down_and_nobody_else(pair: Pair) {
    let server = pair.server_with(&[CHEAP, &["http.trusted_proxies=127.0.0.1"]].concat()).await;
    register(&server, "ada").await;
    let try_from = async |address: &str, password: &str| {
        let body = json!({"login": "ada", "password": password}).to_string();
        request(server.address(), Request::post("/v1/login", &body).with("x-forwarded-for", address)).await
    };
    for _ in 0..5 {
        failed(&try_from("192.0.2.66", "wrong wrong wrong").await, 401, "login_failed");
    }
    let refused = try_from("192.0.2.66", PASSWORD).await;
    failed(&refused, 429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(try_from("192.0.2.1", PASSWORD).await.status, 200, "nobody is locked out");
    // All of a network of IPv6 is one address.
    for number in 0..5 {
        failed(&try_from(&format!("2001:db8:1:2::{number}"), "wrong wrong wrong").await, 401, "login_failed");
    }
    failed(&try_from("2001:db8:1:2:ffff::1", PASSWORD).await, 429, "rate_limited");
    assert_eq!(try_from("2001:db8:1:3::1", PASSWORD).await.status, 200);
}

async fn guesses_at_all_instances_at_once_do_not_slip_through(pair: Pair) {
    // Time stands still: nobody's pause is over before the last has asked, however slow the machine is.
    let fleet: [Server; 2] = pair.fleet_at(&clock(), CHEAP).await;
    register(&fleet[0], "ada").await;
    let hashes = || fleet.iter().map(|server| server.metric(HASHES)).sum::<f64>();
    let before = hashes();
    let guesses = (0..40).map(|at| log_in(&fleet[at % 2], "ada", "wrong wrong wrong"));
    let answers = futures_util::future::join_all(guesses).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    // A store that two processes write to at once may refuse one of them before it is counted: that guess was none.
    assert!(statuses.iter().all(|status| [401, 429, 503].contains(status)), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5, "{statuses:?}");
    assert_eq!(hashes() - before, 5.0, "{statuses:?}");
}
