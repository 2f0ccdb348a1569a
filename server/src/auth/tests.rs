//! Every way in which a token is refused, and the keys that make one believed.

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_protocol::{ChannelName, ErrorCode, limits::MAX_TOKEN};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"an HS256 secret of thirty-two bytes, or a few more";
/// Unix milliseconds. Tokens of these tests end at `NOW` + 60 s.
const NOW: u64 = 1_700_000_000_000;
const EXP: u64 = NOW / 1_000 + 60;

/// Key pairs are slow to make: once for all tests.
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static EC: LazyLock<EcdsaKeyPair> = LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk() -> Value {
    let key = RSA.public_key();
    let [n, e] = [key.modulus(), key.exponent()].map(|number| base64(number.big_endian_without_leading_zero()));
    json!({"kty": "RSA", "kid": "rsa", "n": n, "e": e})
}

fn ec_jwk() -> Value {
    let point = EC.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": base64(&point[1..33]), "y": base64(&point[33..])})
}

fn ed_jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64(ED.public_key())})
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

fn set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": EXP, "grants": [{"channels": ["room:*"], "actions": ["subscribe", "publish"]}]})
}

/// A token of any header and claims, signed by the key that `signer` names, whatever the header says.
fn token(header: Value, claims: Value, signer: &str) -> String {
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let bytes = message.as_bytes();
    let signature = match signer {
        "rsa" => {
            let mut signature = vec![0; RSA.public_modulus_len()];
            RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature).unwrap();
            signature
        }
        "ec" => EC.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
        "ed" => ED.sign(bytes).as_ref().to_vec(),
        "" => Vec::new(),
        secret => {
            aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes()), bytes).as_ref().to_vec()
        }
    };
    format!("{message}.{}", base64(signature))
}

fn hs256(claims: Value) -> String {
    token(json!({"alg": "HS256", "typ": "JWT"}), claims, std::str::from_utf8(SECRET).unwrap())
}

fn verifier(rules: Rules) -> Verifier {
    Verifier::new(Some(SECRET), None, rules).unwrap()
}

fn key_set(keys: &[Value]) -> Verifier {
    Verifier::new(None, Some(&set(keys)), Rules::default()).unwrap()
}

fn refusal(keys: &[Value]) -> Option<KeyError> {
    Verifier::new(None, Some(&set(keys)), Rules::default()).err()
}

#[track_caller]
fn refused(verifier: &Verifier, token: &str, error: TokenError) {
    assert_eq!(verifier.verify(token, NOW).map(|identity| identity.user), Err(error));
}

#[test]
fn a_minted_token_is_believed() {
    let claims = Claims {
        sub: "alice".to_owned(),
        iat: EXP - 60,
        exp: EXP,
        aud: Some("hubbub".to_owned()),
        iss: None,
        grants: vec![Grant { channels: vec!["room:*".to_owned()], actions: vec![Action::Subscribe] }],
    };
    let token = mint(SECRET, &claims).unwrap();
    let identity = verifier(Rules { audience: Some("hubbub".to_owned()), ..Rules::default() }).verify(&token, NOW).unwrap();
    assert_eq!((&*identity.user, identity.expires_at), ("alice", EXP * 1_000));
    let room = ChannelName::parse("room:1").unwrap();
    assert!(identity.grants.allows(Action::Subscribe, &room) && !identity.grants.allows(Action::Publish, &room));

    assert!(matches!(mint(b"short", &claims), Err(MintError::ShortSecret)));
    assert!(matches!(mint(SECRET, &Claims { sub: String::new(), ..claims.clone() }), Err(MintError::Subject)));
    assert!(matches!(mint(SECRET, &Claims { grants: vec![claims.grants[0].clone(); 65], ..claims.clone() }), Err(MintError::Grants(_))));
    let long = Grant { channels: vec!["x".repeat(MAX_TOKEN)], actions: vec![] };
    assert!(matches!(mint(SECRET, &Claims { grants: vec![long], ..claims }), Err(MintError::TooLong(_))));
}

#[test]
fn a_key_of_each_kind_verifies_its_own_algorithm() {
    let verifier = key_set(&[
        with(rsa_jwk(), "alg", json!("RS256")),
        with(ec_jwk(), "use", json!("sig")),
        with(ed_jwk(), "key_ops", json!(["verify"])),
    ]);
    for (alg, kid) in [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
        assert!(verifier.verify(&token(json!({"alg": alg, "kid": kid}), claims(), kid), NOW).is_ok(), "{alg}");
        assert!(verifier.verify(&token(json!({"alg": alg}), claims(), kid), NOW).is_ok(), "{alg} without kid");
    }
    refused(&verifier, &token(json!({"alg": "RS256"}), claims(), "ec"), TokenError::Signature);
    refused(&verifier, &hs256(claims()), TokenError::Algorithm);
}

#[test]
fn a_secret_and_a_key_set_stand_side_by_side() {
    let both = Verifier::new(Some(SECRET), Some(&set(&[ed_jwk()])), Rules::default()).unwrap();
    assert!(both.verify(&hs256(claims()), NOW).is_ok());
    assert!(both.verify(&token(json!({"alg": "HS256", "kid": "whatever"}), claims(), std::str::from_utf8(SECRET).unwrap()), NOW).is_ok());
    assert!(both.verify(&token(json!({"alg": "EdDSA", "kid": "ed"}), claims(), "ed"), NOW).is_ok());
}

#[test]
fn the_header_does_not_choose_the_algorithm() {
    let keys = key_set(&[rsa_jwk(), ec_jwk(), ed_jwk()]);
    // The classic: a public key, which everybody knows, taken for an HMAC secret.
    let public = rsa_jwk()["n"].as_str().unwrap().to_owned();
    refused(&keys, &token(json!({"alg": "HS256", "kid": "rsa"}), claims(), &public), TokenError::Algorithm);
    for alg in ["none", "None", "NONE", "", "HS384", "RS384", "PS256", "ES384", "hs256"] {
        refused(&keys, &token(json!({"alg": alg}), claims(), ""), TokenError::Algorithm);
        refused(&verifier(Rules::default()), &token(json!({"alg": alg}), claims(), ""), TokenError::Algorithm);
    }
    // A key by its name, but for another algorithm than its own.
    refused(&keys, &token(json!({"alg": "ES256", "kid": "rsa"}), claims(), "ec"), TokenError::Algorithm);
    refused(&keys, &token(json!({"alg": "EdDSA", "kid": "ec"}), claims(), "ed"), TokenError::Algorithm);
    // A key that the token brings along.
    let header = json!({"alg": "EdDSA", "jwk": ed_jwk()});
    refused(&key_set(&[ec_jwk()]), &token(header, claims(), "ed"), TokenError::Algorithm);
    refused(&keys, &token(json!({"alg": "EdDSA", "crit": ["b64"], "b64": false}), claims(), "ed"), TokenError::Malformed);
}

#[test]
fn a_kid_has_to_name_a_key() {
    let keys = key_set(&[ed_jwk(), ec_jwk()]);
    refused(&keys, &token(json!({"alg": "EdDSA", "kid": "old"}), claims(), "ed"), TokenError::UnknownKey);
    refused(&keys, &token(json!({"alg": "RS256"}), claims(), "rsa"), TokenError::Algorithm);
}

#[test]
fn at_most_eight_keys_are_tried() {
    let another = || {
        let pair = Ed25519KeyPair::generate().unwrap();
        json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())})
    };
    let mut keys: Vec<_> = std::iter::repeat_with(another).take(7).collect();
    keys.push(ed_jwk());
    let nameless = token(json!({"alg": "EdDSA"}), claims(), "ed");
    assert!(key_set(&keys).verify(&nameless, NOW).is_ok());
    keys.push(another());
    refused(&key_set(&keys), &nameless, TokenError::UnknownKey);
    assert!(key_set(&keys).verify(&token(json!({"alg": "EdDSA", "kid": "ed"}), claims(), "ed"), NOW).is_ok());
}

#[test]
fn a_changed_token_does_not_verify() {
    let verifier = verifier(Rules::default());
    let good = hs256(claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let forged = format!("{header}.{}.{signature}", base64(with(claims(), "sub", json!("mallory")).to_string()));
    refused(&verifier, &forged, TokenError::Signature);
    refused(&verifier, &format!("{message}."), TokenError::Signature);
    refused(&verifier, &format!("{message}.{}", &signature[..20]), TokenError::Signature);
    refused(&verifier, &token(json!({"alg": "HS256"}), claims(), "another secret of thirty-two bytes or more"), TokenError::Signature);
}

#[test]
fn a_token_that_was_believed_is_judged_again_by_the_time() {
    let verifier = verifier(Rules::default());
    let good = hs256(with(claims(), "nbf", json!(EXP - 5)));
    let verify = |token: &str, now: u64| verifier.verify(token, now).map(|identity| identity.user);
    let (from, end) = ((EXP - 5) * 1_000, EXP * 1_000);
    for _ in 0..2 {
        assert_eq!(verify(&good, from).as_deref(), Ok("alice"));
        assert_eq!(verify(&good, from - 1), Err(TokenError::NotYetValid));
        assert_eq!(verify(&good, end), Err(TokenError::Expired));
        let forged = format!("{}A", &good[..good.len() - 1]);
        assert!(forged == good || verify(&forged, from).is_err());
        let (message, _) = good.rsplit_once('.').unwrap();
        assert_eq!(verify(&format!("{message}.{}", base64([7; 32])), from), Err(TokenError::Signature));
    }
}

#[test]
fn what_is_not_a_token_is_refused() {
    let verifier = verifier(Rules::default());
    refused(&verifier, "", TokenError::Missing);
    let good = hs256(claims());
    let five_parts = format!("{good}.{good}");
    let bad_header = format!("{}.{}", base64("[]"), good.split_once('.').unwrap().1);
    for text in ["x", "..", "a.b.c", ". .", five_parts.as_str(), bad_header.as_str(), &good[1..], "é.é.é"] {
        refused(&verifier, text, TokenError::Malformed);
    }
    for claims in [json!([]), json!(5), json!({"exp": "soon"}), json!({"exp": EXP, "sub": 5}), json!({"exp": EXP, "sub": "a", "aud": 5})] {
        refused(&verifier, &hs256(claims), TokenError::Malformed);
    }
    let long = hs256(with(claims(), "note", json!("x".repeat(MAX_TOKEN))));
    refused(&verifier, &long, TokenError::Malformed);
}

#[test]
fn times_are_checked_against_the_callers_clock() {
    let verify = |claims: Value, now: u64, leeway_ms: u64| {
        verifier(Rules { leeway_ms, ..Rules::default() }).verify(&hs256(claims), now).map(|identity| identity.expires_at)
    };
    let end = EXP * 1_000;
    assert_eq!(verify(claims(), end - 1, 0), Ok(end));
    assert_eq!(verify(claims(), end, 0), Err(TokenError::Expired));
    assert_eq!(verify(claims(), end + 4_999, 5_000), Ok(end + 5_000));
    assert_eq!(verify(claims(), end + 5_000, 5_000), Err(TokenError::Expired));
    assert_eq!(verify(json!({"sub": "alice"}), NOW, 0), Err(TokenError::NoExpiry));
    assert_eq!(verify(with(claims(), "exp", json!(-1)), 0, 0), Err(TokenError::Expired));
    assert_eq!(verify(with(claims(), "exp", json!(1e300)), NOW, 9), Ok((1 << 53) - 1));
    assert_eq!(verify(with(claims(), "exp", json!(EXP as f64 + 0.5)), NOW, 0), Ok(end + 500));

    let later = with(claims(), "nbf", json!(NOW / 1_000 + 5));
    assert_eq!(verify(later.clone(), NOW + 4_999, 0), Err(TokenError::NotYetValid));
    assert_eq!(verify(later.clone(), NOW + 5_000, 0), Ok(end));
    assert_eq!(verify(later, NOW, 5_000), Ok(end + 5_000));
}

#[test]
fn the_audience_and_the_issuer_are_checked_where_they_are_configured() {
    let strict = verifier(Rules { audience: Some("hubbub".to_owned()), issuer: Some("https://id.example".to_owned()), leeway_ms: 0 });
    let good = with(with(claims(), "aud", json!(["other", "hubbub"])), "iss", json!("https://id.example"));
    assert!(strict.verify(&hs256(good.clone()), NOW).is_ok());
    assert!(strict.verify(&hs256(with(good.clone(), "aud", json!("hubbub"))), NOW).is_ok());
    for aud in [json!("hubbub2"), json!([]), json!(["HUBBUB"]), Value::Null] {
        refused(&strict, &hs256(with(good.clone(), "aud", aud)), TokenError::Audience);
    }
    for iss in [json!("https://id.example.org"), json!(""), Value::Null] {
        refused(&strict, &hs256(with(good.clone(), "iss", iss)), TokenError::Issuer);
    }
    assert!(verifier(Rules::default()).verify(&hs256(good), NOW).is_ok());
}

#[test]
fn a_user_has_a_name() {
    let verifier = verifier(Rules::default());
    for sub in [Value::Null, json!(""), json!("a\nb"), json!("a\u{0}"), json!("é".repeat(65))] {
        refused(&verifier, &hs256(with(claims(), "sub", sub)), TokenError::Subject);
    }
    let longest = "é".repeat(64);
    assert_eq!(&*verifier.verify(&hs256(with(claims(), "sub", json!(longest))), NOW).unwrap().user, longest);
}

#[test]
fn grants_are_none_or_well_formed() {
    let verifier = verifier(Rules::default());
    let none = verifier.verify(&hs256(json!({"sub": "alice", "exp": EXP})), NOW).unwrap();
    assert!(!none.grants.allows(Action::Subscribe, &ChannelName::parse("lobby").unwrap()));
    let one = json!({"channels": ["x"], "actions": ["publish"]});
    for grants in
        [json!({}), json!("all"), json!([{"channels": "*"}]), json!(vec![one; 65]), json!([{"channels": vec!["x"; 65], "actions": []}])]
    {
        refused(&verifier, &hs256(with(claims(), "grants", grants)), TokenError::Grants);
    }
}

#[test]
fn keys_for_other_purposes_are_passed_over() {
    let others = [
        with(rsa_jwk(), "use", json!("enc")),
        with(rsa_jwk(), "alg", json!("RSA-OAEP")),
        with(rsa_jwk(), "alg", json!("PS512")),
        with(ec_jwk(), "crv", json!("P-384")),
        with(ec_jwk(), "alg", json!("ECDH-ES")),
        with(ed_jwk(), "crv", json!("X25519")),
        with(ed_jwk(), "key_ops", json!(["sign"])),
        json!({"kty": "AKP", "pub": "…"}),
    ];
    assert_eq!(refusal(&others), Some(KeyError::Unusable));
    let mut keys = others.to_vec();
    keys.push(ed_jwk());
    assert!(key_set(&keys).verify(&token(json!({"alg": "EdDSA"}), claims(), "ed"), NOW).is_ok());
    refused(&key_set(&keys), &token(json!({"alg": "RS256"}), claims(), "rsa"), TokenError::Algorithm);
}

#[test]
fn weak_broken_private_and_contradictory_keys_are_refused() {
    let index = 1;
    let refused = |jwk: Value| refusal(&[ed_jwk(), jwk]);
    for alg in ["HS256", "ES256", "EdDSA"] {
        assert_eq!(refused(with(rsa_jwk(), "alg", json!(alg))), Some(KeyError::Algorithm { index }), "{alg}");
    }
    assert_eq!(refused(with(ec_jwk(), "alg", json!("RS256"))), Some(KeyError::Algorithm { index }));
    assert_eq!(refused(with(ec_jwk(), "alg", json!("ES384"))), Some(KeyError::Algorithm { index }));
    assert_eq!(refused(with(rsa_jwk(), "n", json!(base64([0xff; 128])))), Some(KeyError::RsaBits { index, bits: 1024 }));
    assert_eq!(
        refused(with(rsa_jwk(), "n", json!(base64([&[0, 0x7f], [0xff; 255].as_slice()].concat())))),
        Some(KeyError::RsaBits { index, bits: 2047 })
    );
    assert_eq!(refused(with(rsa_jwk(), "e", json!(base64([1])))), Some(KeyError::Invalid { index }));
    assert_eq!(refused(with(rsa_jwk(), "n", Value::Null)), Some(KeyError::Invalid { index }));
    assert_eq!(refused(with(ec_jwk(), "y", ec_jwk()["x"].clone())), Some(KeyError::Invalid { index }), "not on the curve");
    assert_eq!(refused(with(ec_jwk(), "x", json!(base64([1; 31])))), Some(KeyError::Invalid { index }));
    assert_eq!(refused(with(ed_jwk(), "x", json!("A"))), Some(KeyError::Invalid { index }));
    assert_eq!(refused(with(ed_jwk(), "d", json!("c2VjcmV0"))), Some(KeyError::Private { index }));
    assert_eq!(refused(json!({"kty": "oct", "k": base64(SECRET)})), Some(KeyError::Private { index }));
}

#[test]
fn there_has_to_be_a_key() {
    let new = |secret, jwks| Verifier::new(secret, jwks, Rules::default()).err();
    assert_eq!(new(None, None), Some(KeyError::None));
    assert_eq!(new(Some(&SECRET[..31]), None), Some(KeyError::ShortSecret));
    assert_eq!(new(None, Some("{}")), Some(KeyError::Set));
    assert_eq!(new(None, Some(r#"{"keys": []}"#)), Some(KeyError::Unusable));
    assert_eq!(refusal(&vec![ed_jwk(); 65]), Some(KeyError::Set));
}

#[test]
fn an_error_has_a_code_and_a_message_without_the_token() {
    let verifier = verifier(Rules::default());
    let expired = hs256(with(claims(), "exp", json!(1)));
    let error = verifier.verify(&expired, NOW).unwrap_err();
    assert_eq!((error.code(), error.to_string().contains(&expired)), (ErrorCode::TokenExpired, false));
    for error in [TokenError::Missing, TokenError::Malformed, TokenError::Signature, TokenError::NotYetValid, TokenError::Grants] {
        assert_eq!(error.code(), ErrorCode::Unauthorized);
    }
}
