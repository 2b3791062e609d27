//! The last lines of the terminal that stderr is: drawn in place, below whatever else is written there.
//!
//! A process has one stderr, and log lines and progress share it. So there is one screen, and whoever writes to stderr while something is
//! drawn writes above it.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

static SCREEN: Mutex<Screen> = Mutex::new(Screen { lines: Vec::new(), is_drawn: false });

/// What is drawn.
struct Screen {
    lines: Vec<String>,
    is_drawn: bool,
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws these lines in the place of the last ones. That nobody can see them is no error.
pub(crate) fn draw(lines: Vec<String>) {
    let mut screen = screen();
    if screen.is_drawn && screen.lines == lines {
        return;
    }
    let text = screen.erased() + &drawn(&lines);
    let _ = io::stderr().write_all(text.as_bytes());
    (screen.is_drawn, screen.lines) = (!lines.is_empty(), lines);
}

/// Leaves the terminal as it was.
pub(crate) fn clear() {
    draw(Vec::new());
}

impl Screen {
    /// What takes away what is drawn; the cursor is where the first of it was.
    fn erased(&self) -> String {
        if self.is_drawn { format!("\u{1b}[{}A\r\u{1b}[J", self.lines.len()) } else { String::new() }
    }
}

fn drawn(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Stderr for whatever else is written there meanwhile, a whole line at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Above;

impl Write for Above {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let screen = screen();
        if !screen.is_drawn {
            return io::stderr().write(text);
        }
        let whole = [screen.erased().as_bytes(), text, drawn(&screen.lines).as_bytes()].concat();
        io::stderr().write_all(&whole)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_over_the_last_ones() {
        let screen = Screen { lines: vec!["a".to_owned(), "b".to_owned()], is_drawn: true };
        assert_eq!(screen.erased(), "\u{1b}[2A\r\u{1b}[J");
        assert_eq!(drawn(&screen.lines), "a\nb\n");
        assert_eq!(Screen { is_drawn: false, ..screen }.erased(), "", "nothing is taken away that is not there");
    }
}
