//! The socket file: made without a moment in which others could connect, taken over only from an agent that is gone.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net as blocking,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
};

/// Bytes of a socket's path that the kernel takes, its final zero not counted (`sun_path` in unix(7)).
const PATH_LEN_MAX: usize = 107;

/// Where the agent with that state directory listens.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("evenkeel.sock")
}

/// A socket file that is removed when it is dropped, unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    /// The file's group, whose members may connect.
    pub(super) group: u32,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on the state directory's socket, mode 0660. A socket left by an agent that died is replaced; one that
/// answers, or a file that is no socket, is not.
pub(super) fn bind(state_dir: &Path) -> Result<(UnixListener, SocketFile), Diagnostic> {
    let path = socket_path(state_dir);
    if path.as_os_str().len() > PATH_LEN_MAX {
        let message = format!("{} is too long for a socket's path ({PATH_LEN_MAX} bytes)", path.display());
        return Err(Diagnostic::new(codes::STATE_DIR, Place::Nowhere, message).with_hint("Choose a shorter --state-dir."));
    }
    check_free(&path)?;
    let failed =
        |error: io::Error| Diagnostic::new(codes::STATE_DIR, Place::Nowhere, format!("cannot listen on {}: {error}", path.display()));
    make(state_dir, &path).map_err(failed)
}

/// Whether nobody listens there.
fn check_free(path: &Path) -> Result<(), Diagnostic> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        let message = format!("{} is in the way: it is not a socket", path.display());
        return Err(Diagnostic::new(codes::STATE_DIR, Place::Nowhere, message).with_hint("Look at that file and move it away."));
    }
    match blocking::UnixStream::connect(path) {
        Ok(_) => Err(Diagnostic::new(codes::STATE_LOCKED, Place::Nowhere, format!("an agent listens on {}", path.display()))),
        Err(_) => Ok(()),
    }
}

/// Made in a folder that only the agent may enter, then moved: the file is never there with a wider mode.
fn make(state_dir: &Path, path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let folder = state_dir.join(".sock");
    let hidden = folder.join("s");
    if folder.exists() {
        let _ = fs::remove_file(&hidden);
        fs::remove_dir(&folder)?;
    }
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let listener = UnixListener::bind(&hidden)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o660))?;
    let made = fs::symlink_metadata(&hidden)?;
    fs::rename(&hidden, path)?;
    fs::remove_dir(&folder)?;
    Ok((listener, SocketFile { path: path.to_owned(), id: (made.dev(), made.ino()), group: made.gid() }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn makes_the_file_with_its_mode_and_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let (listener, file) = bind(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
        drop((listener, file));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn takes_over_from_the_dead_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let (listener, file) = bind(dir.path()).unwrap();
        assert_eq!(bind(dir.path()).unwrap_err().code, codes::STATE_LOCKED);
        drop(listener);
        let (_listener, newer) = bind(dir.path()).unwrap();
        drop(file);
        assert!(path.exists(), "the newer agent's file stays when the older one ends");
        drop(newer);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(socket_path(dir.path()), "precious").unwrap();
        assert_eq!(bind(dir.path()).unwrap_err().code, codes::STATE_DIR);
        assert_eq!(fs::read_to_string(socket_path(dir.path())).unwrap(), "precious");
    }

    #[tokio::test]
    async fn goes_on_after_a_crash_in_the_middle() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".sock")).unwrap();
        fs::write(dir.path().join(".sock/s"), "").unwrap();
        bind(dir.path()).unwrap();
        let long = dir.path().join("x".repeat(100));
        assert!(bind(&long).unwrap_err().message.contains("too long"));
    }
}
