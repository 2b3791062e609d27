//! Whether a request is from who has the secret.
//!
//! - GitHub: `X-Hub-Signature-256: sha256=` and the HMAC-SHA256 of the body in hexadecimal.
//! - Gitea and Forgejo: `X-Forgejo-Signature`, else `X-Gitea-Signature`, the same without a prefix. They sign the payload, which
//!   is not the body where that is a form.
//! - GitLab: `X-Gitlab-Token` is the secret itself. Where the secret is a signing token (`whsec_` and the key in base64) it signs
//!   as standardwebhooks.com says: `webhook-signature: v1,` and the HMAC of `<webhook-id>.<webhook-timestamp>.<body>` in base64.
//! - Others: `X-Evenkeel-Signature: sha256=` and the HMAC-SHA256 of the body in hexadecimal.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Forge, payload};

/// How a signing token of GitLab begins.
pub const GITLAB_SIGNING: &str = "whsec_";
/// How far the time that a sender signed may be from ours: what Standard Webhooks' own libraries allow.
const AGE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// A request that is from who has the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Marks of the delivery. One that shares any of them with an earlier one is that one again: the id that the forge gave it,
    /// and what was signed, since the id itself is not.
    pub marks: Vec<[u8; 32]>,
}

/// Why a request may be anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// None of the headers that would prove it.
    #[error("it is not signed")]
    Unsigned,
    /// Signed with another secret, or changed on its way.
    #[error("its signature or token is not that of the secret")]
    Wrong,
    /// The time that it was signed with is too far from now.
    #[error("it was signed more than 5 minutes ago, or the clocks differ")]
    Old,
}

/// Whether one of the secrets proves the request. All are tried, and each is compared in constant time.
pub fn verify(forge: Forge, secrets: &[&str], headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Proven, Unproven> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let tried: Vec<Result<Vec<u8>, Unproven>> = match forge {
        Forge::Github => by_hmac(secrets, text("x-hub-signature-256"), "sha256=", body),
        Forge::Generic => by_hmac(secrets, text("x-evenkeel-signature"), "sha256=", body),
        Forge::Gitea => {
            let given = text("x-forgejo-signature").or_else(|| text("x-gitea-signature"));
            by_hmac(secrets, given, "", &payload::signed_by_gitea(headers, body))
        }
        Forge::Gitlab => secrets.iter().map(|secret| by_gitlab(secret, &text, body, now)).collect(),
    };
    let signed = decide(tried)?;
    let id = ids(forge).iter().find_map(|name| text(name)).map(|id| mark("id", forge, id.as_bytes()));
    let content = (!signed.is_empty()).then(|| mark("content", forge, &signed));
    Ok(Proven { marks: id.into_iter().chain(content).collect() })
}

/// What one of the secrets proves; else the best of the reasons, since a secret that is being replaced must not hide why the other one was
/// not taken.
fn decide(tried: Vec<Result<Vec<u8>, Unproven>>) -> Result<Vec<u8>, Unproven> {
    let (mut proven, mut why) = (None, Unproven::Unsigned);
    for result in tried {
        match result {
            Ok(signed) => proven = Some(signed),
            Err(Unproven::Old) => why = Unproven::Old,
            Err(Unproven::Wrong) if why == Unproven::Unsigned => why = Unproven::Wrong,
            Err(_) => {}
        }
    }
    proven.ok_or(why)
}

/// The headers in which a forge names a delivery, the first that is there.
fn ids(forge: Forge) -> &'static [&'static str] {
    match forge {
        Forge::Github => &["x-github-delivery"],
        Forge::Gitlab => &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"],
        Forge::Gitea => &["x-forgejo-delivery", "x-gitea-delivery"],
        Forge::Generic => &["x-evenkeel-delivery"],
    }
}

/// The HMAC-SHA256 in hexadecimal, as GitHub, Gitea and Evenkeel itself sign.
pub fn signature(secret: &str, body: &[u8]) -> String {
    hmac(secret.as_bytes(), &[body]).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One answer for each secret. `given` stands in the header, after the prefix.
fn by_hmac(secrets: &[&str], given: Option<&str>, prefix: &str, body: &[u8]) -> Vec<Result<Vec<u8>, Unproven>> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return vec![Err(Unproven::Unsigned)] };
    let Some(given) = given.strip_prefix(prefix).map(str::to_ascii_lowercase) else { return vec![Err(Unproven::Wrong)] };
    let check = |secret: &&str| {
        let expected = signature(secret, body);
        let same = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        if same { Ok(expected.into_bytes()) } else { Err(Unproven::Wrong) }
    };
    secrets.iter().map(check).collect()
}

fn by_gitlab<'h>(secret: &str, text: &impl Fn(&str) -> Option<&'h str>, body: &[u8], now: Timestamp) -> Result<Vec<u8>, Unproven> {
    let Some(key) = secret.strip_prefix(GITLAB_SIGNING) else {
        let given = text("x-gitlab-token").ok_or(Unproven::Unsigned)?;
        // Digests are compared, so that not even the token's length is told by the time that it takes.
        let (given, own) = (Sha256::digest(given.as_bytes()), Sha256::digest(secret.as_bytes()));
        // A token says nothing of the content: two deliveries with the same one are not the same.
        return if bool::from(given.ct_eq(&own)) { Ok(Vec::new()) } else { Err(Unproven::Wrong) };
    };
    let given = text("webhook-signature").ok_or(Unproven::Unsigned)?;
    let (id, at) = text("webhook-id").zip(text("webhook-timestamp")).ok_or(Unproven::Unsigned)?;
    let key = STANDARD.decode(key).map_err(|_| Unproven::Wrong)?;
    let expected = hmac(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", body]);
    // Several stand there while a key is being replaced.
    let same = given
        .split(' ')
        .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
        .fold(false, |same, one| same | bool::from(expected.as_slice().ct_eq(&one)));
    if !same {
        return Err(Unproven::Wrong);
    }
    let signed = at.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or(Unproven::Wrong)?;
    if now.duration_since(signed).abs() > AGE_MAX { Err(Unproven::Old) } else { Ok(expected.to_vec()) }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is one for HMAC (RFC 2104, section 2).
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

fn mark(what: &str, forge: Forge, value: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [what.as_bytes(), forge.word().as_bytes(), value] {
        digest.update(part);
        digest.update([0]);
    }
    digest.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const BODY: &[u8] = b"Hello, World!";
    /// GitHub's own example (docs.github.com, "Validating webhook deliveries", "Testing the webhook payload validation").
    const SECRET: &str = "It's a Secret to Everybody";
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn check(forge: Forge, secrets: &[&str], list: &[(&'static str, &str)]) -> Result<usize, Unproven> {
        verify(forge, secrets, &headers(list), BODY, Timestamp::UNIX_EPOCH).map(|proven| proven.marks.len())
    }

    #[test]
    fn each_forge_signs_in_its_own_header() {
        let (prefixed, short) = (format!("sha256={SIGNATURE}"), format!("sha256={}", &SIGNATURE[1..]));
        let upper = SIGNATURE.to_uppercase();
        let (unsigned, wrong) = (Err(Unproven::Unsigned), Err(Unproven::Wrong));
        for (forge, list, expect) in [
            (Forge::Github, &[("x-hub-signature-256", &*prefixed)][..], Ok(1)),
            (Forge::Github, &[("x-hub-signature-256", &prefixed), ("x-github-delivery", "1")], Ok(2)),
            (Forge::Github, &[("x-hub-signature-256", SIGNATURE)], wrong),
            (Forge::Github, &[("x-hub-signature-256", &short)], wrong),
            (Forge::Github, &[("x-hub-signature", &prefixed)], unsigned),
            (Forge::Github, &[("x-gitea-signature", SIGNATURE)], unsigned),
            (Forge::Generic, &[("x-evenkeel-signature", &prefixed)], Ok(1)),
            (Forge::Generic, &[("x-hub-signature-256", &prefixed)], unsigned),
            (Forge::Gitea, &[("x-gitea-signature", SIGNATURE)], Ok(1)),
            (Forge::Gitea, &[("x-gitea-signature", &upper)], Ok(1)),
            (Forge::Gitea, &[("x-gitea-signature", "")], unsigned),
            (Forge::Gitea, &[("x-forgejo-signature", SIGNATURE), ("x-forgejo-delivery", "1")], Ok(2)),
            (Forge::Gitea, &[("x-forgejo-signature", "00"), ("x-gitea-signature", SIGNATURE)], wrong),
            (Forge::Gitea, &[], unsigned),
        ] {
            assert_eq!(check(forge, &["another", SECRET], list), expect, "{forge} {list:?}");
            assert_eq!(check(forge, &["another"], list), if expect.is_ok() { wrong } else { expect }, "{forge} {list:?}");
            assert!(check(forge, &[], list).is_err(), "{forge} {list:?}");
        }
    }

    #[test]
    fn gitlab_shows_its_token() {
        assert_eq!(check(Forge::Gitlab, &["a", SECRET], &[("x-gitlab-token", SECRET), ("x-gitlab-event-uuid", "1")]), Ok(1));
        assert_eq!(check(Forge::Gitlab, &[SECRET], &[("x-gitlab-token", "It's a Secret")]), Err(Unproven::Wrong));
        assert_eq!(check(Forge::Gitlab, &[SECRET], &[]), Err(Unproven::Unsigned));
        // A signing token is no token to be shown.
        assert_eq!(check(Forge::Gitlab, &["whsec_AAAA"], &[("x-gitlab-token", "whsec_AAAA")]), Err(Unproven::Unsigned));
    }

    #[test]
    fn gitlab_signs_with_a_signing_token() {
        let key = [7; 32];
        let secret = format!("whsec_{}", STANDARD.encode(key));
        let at = |id: &str, seconds: i64, signed: &[u8]| {
            let time = seconds.to_string();
            let tag = format!("v1,AAAA v1,{}", STANDARD.encode(hmac(&key, &[b"1.", time.as_bytes(), b".", signed])));
            let list = headers(&[("webhook-id", id), ("webhook-timestamp", &time), ("webhook-signature", &tag)]);
            verify(Forge::Gitlab, &["old", &secret], &list, BODY, Timestamp::from_second(1000).unwrap()).map(|it| it.marks.len())
        };
        assert_eq!(at("1", 1000, BODY), Ok(2));
        assert_eq!(at("1", 700, BODY), Ok(2));
        assert_eq!(at("1", 699, BODY), Err(Unproven::Old));
        assert_eq!(at("1", 1301, BODY), Err(Unproven::Old));
        assert_eq!(at("2", 1000, BODY), Err(Unproven::Wrong), "the id is signed too");
        assert_eq!(at("1", 1000, b"another"), Err(Unproven::Wrong));
    }

    #[test]
    fn a_delivery_is_known_again_by_its_id_or_its_content() {
        let sent = |id: &str, body: &[u8]| {
            let signed = format!("sha256={}", signature(SECRET, body));
            let list = headers(&[("x-hub-signature-256", &signed), ("x-github-delivery", id)]);
            verify(Forge::Github, &[SECRET], &list, body, Timestamp::UNIX_EPOCH).unwrap().marks
        };
        let first = sent("1", b"a");
        let shared = |other: &[[u8; 32]]| first.iter().filter(|mark| other.contains(mark)).count();
        assert_eq!((shared(&sent("1", b"b")), shared(&sent("2", b"a")), shared(&sent("2", b"b"))), (1, 1, 0));
    }
}
