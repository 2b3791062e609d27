//! Who is at the other end of a connection, and whether they may use the API.

use std::fs;

use tokio::net::UnixStream;

/// A connected process's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    uid: u32,
    /// The effective group first, then the supplementary ones as far as they are known.
    groups: Vec<u32>,
}

impl Peer {
    /// The kernel's word on who connected; none where it has none.
    pub(super) fn of(stream: &UnixStream) -> Option<Self> {
        let credentials = stream.peer_cred().ok()?;
        let mut groups = vec![credentials.gid()];
        // The kernel hands over the effective group only; the others are in the process's status. Another user's
        // process that has taken over the number in the meantime is told apart by its uid.
        if let Some(status) = credentials.pid().and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
            && field(&status, "Uid:").nth(1) == Some(credentials.uid())
        {
            groups.extend(field(&status, "Groups:"));
        }
        Some(Self { uid: credentials.uid(), groups })
    }

    /// Root, the agent's user, and the group of the socket.
    pub(super) fn may_use(&self, agent_uid: u32, socket_group: u32) -> bool {
        self.uid == 0 || self.uid == agent_uid || self.groups.contains(&socket_group)
    }

    /// For the record: `name (uid N)`.
    pub(super) fn who(&self) -> String {
        who(self.uid)
    }
}

/// A user for the record: `name (uid N)`.
pub fn who(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    user_name(&users, uid).map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

/// The numbers on a line of /proc/PID/status.
fn field<'a>(status: &'a str, name: &'static str) -> impl Iterator<Item = u32> + 'a {
    let line = status.lines().find_map(move |line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().filter_map(|number| number.parse().ok())
}

/// The name of that number in the text of /etc/passwd.
fn user_name(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_the_agent_and_the_sockets_group_may_use_it() {
        let peer = |uid, groups: &[u32]| Peer { uid, groups: groups.to_vec() };
        let (agent, group) = (500, 600);
        for (peer, expect) in [
            (peer(0, &[0]), true),
            (peer(500, &[500]), true),
            (peer(1000, &[600]), true),
            (peer(1000, &[1000, 27, 600]), true),
            (peer(1000, &[1000, 27]), false),
            (peer(600, &[500]), false),
        ] {
            assert_eq!(peer.may_use(agent, group), expect, "{peer:?}");
        }
    }

    #[test]
    fn reads_groups_and_names() {
        let status = "Name:\tx\nUid:\t1000\t1001\t1000\t1000\nGroups:\t4 27 600 \nVmPeak:\t 12 kB\n";
        assert_eq!(field(status, "Uid:").nth(1), Some(1001));
        assert_eq!(field(status, "Groups:").collect::<Vec<_>>(), [4, 27, 600]);
        assert_eq!(field("", "Groups:").count(), 0);
        let users = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbroken\n";
        assert_eq!((user_name(users, 1000), user_name(users, 7)), (Some("alice"), None));
    }
}
