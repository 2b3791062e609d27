//! Browsers that signed in: a page cannot send a token with each request, so it sends a cookie that stands for one.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::manifest::Masked;

/// How long a browser stays signed in.
pub(super) const SESSION_TIME: Duration = Duration::from_hours(12);
/// Sessions at a time; the oldest gives way.
const SESSIONS_MAX: usize = 1024;
/// The cookie's name.
const COOKIE: &str = "evenkeel_session";

/// All of them. They end with the agent.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<BTreeMap<String, (Instant, Masked<String>)>>);

impl Sessions {
    /// A session for that token; the cookie that names it. `secure` where it may only come back over TLS.
    pub(super) fn begin(&self, token: String, secure: bool) -> String {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (begun, _)| begun.elapsed() < SESSION_TIME);
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, (begun, _))| *begun).map(|(id, _)| id.clone())
        {
            sessions.remove(&oldest);
        }
        let id = format!("{:032x}", rand::random::<u128>());
        sessions.insert(id.clone(), (Instant::now(), Masked::new(token)));
        cookie(&id, SESSION_TIME, secure)
    }

    /// The token of the session that a request's cookies name. Whether it is still good is the tokens' to say.
    pub(super) fn token(&self, cookies: &str) -> Option<Masked<String>> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, token) = sessions.get(named(cookies)?)?;
        (begun.elapsed() < SESSION_TIME).then(|| token.clone())
    }

    /// Ends the session that the cookies name; the cookie that has the browser forget it.
    pub(super) fn end(&self, cookies: &str, secure: bool) -> String {
        if let Some(id) = named(cookies) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
        cookie("", Duration::ZERO, secure)
    }
}

/// No script reads it. Other sites' links bring it along, so that a link in a chat opens signed in; their forms are refused.
fn cookie(id: &str, time: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={id}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", time.as_secs())
}

fn named(cookies: &str) -> Option<&str> {
    cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_stands_for_its_token_until_it_ends() {
        let sessions = Sessions::default();
        let set = sessions.begin("t1".to_owned(), true);
        assert!(set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"), "{set}");
        let sent = format!("theme=dark; {}; other=1", set.split(';').next().unwrap());
        assert_eq!(sessions.token(&sent).map(Masked::into_revealed), Some("t1".to_owned()));
        for other in ["", "evenkeel_session=", "evenkeel_session=0", "x_evenkeel_session=1"] {
            assert!(sessions.token(other).is_none(), "{other}");
        }
        assert!(sessions.end(&sent, false).starts_with("evenkeel_session=; Path=/; Max-Age=0;"));
        assert!(sessions.token(&sent).is_none());
    }

    #[test]
    fn only_so_many_are_kept() {
        let sessions = Sessions::default();
        let first = sessions.begin("t".to_owned(), false);
        let last = (0..SESSIONS_MAX).map(|_| sessions.begin("t".to_owned(), false)).last().unwrap();
        assert!(sessions.token(&first).is_none() && sessions.token(&last).is_some());
    }
}
