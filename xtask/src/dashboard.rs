//! What the demo needs for its dashboard: an address, and a person who may do all.

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// The port that documents name, where it is free.
const PORT: u16 = 8480;

/// Where the agent listens, and the files of its only token.
pub(crate) struct Dashboard {
    pub(crate) address: SocketAddr,
    /// For the agent: who may do what.
    pub(crate) tokens: PathBuf,
    /// For the person: the token itself.
    pub(crate) token: PathBuf,
}

impl Dashboard {
    /// Makes a token for an approver and writes both files into that folder.
    pub(crate) fn prepare(folder: &Path) -> Result<Self> {
        let (tokens, token) = (folder.join("tokens.yaml"), folder.join("token"));
        let mut random = [0; 32];
        File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).context("reading /dev/urandom")?;
        let secret = hex(&random);
        fs::write(&token, &secret).with_context(|| format!("writing {}", token.display()))?;
        fs::set_permissions(&token, Permissions::from_mode(0o600))?;
        let digest = hex(&Sha256::digest(&secret));
        fs::write(&tokens, format!("tokens:\n- {{name: demo, role: approver, sha256: {digest}}}\n"))?;
        Ok(Self { address: free()?, tokens, token })
    }

    /// The flags of the agent.
    pub(crate) fn flags(&self) -> [String; 4] {
        let (listen, tokens) = ("--listen".to_owned(), "--tokens-file".to_owned());
        [listen, self.address.to_string(), tokens, self.tokens.display().to_string()]
    }
}

/// A free address of this machine alone.
fn free() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    Ok(listener.context("looking for a free port")?.local_addr()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_told_the_digest_of_the_token_and_not_the_token() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let dashboard = Dashboard::prepare(folder.path())?;
        let (token, tokens) = (fs::read_to_string(&dashboard.token)?, fs::read_to_string(&dashboard.tokens)?);
        assert!(token.len() == 64 && tokens.contains(&hex(&Sha256::digest(&token))) && !tokens.contains(&token));
        assert_eq!(fs::metadata(&dashboard.token)?.permissions().mode() & 0o777, 0o600);
        let other = tempfile::tempdir()?;
        assert_ne!(fs::read_to_string(Dashboard::prepare(other.path())?.token)?, token);
        assert!(dashboard.address.ip().is_loopback() && dashboard.address.port() != 0);
        Ok(())
    }
}
