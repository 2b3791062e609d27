//! A stream of events as a command reads it.

use std::{collections::VecDeque, time::Duration};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{task::AbortHandle, time::timeout};

use super::client::ClientError;
use crate::ledger::answers::Event;

/// Without a byte for so long, the other end is gone: it gives a sign of life every 20 s.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Bytes of one event.
const EVENT_LEN_MAX: usize = 4 * 1024 * 1024;

/// What an agent tells of as it happens.
#[derive(Debug)]
pub struct Following {
    body: Incoming,
    /// What carries the body.
    driver: AbortHandle,
    parser: Parser,
    read: VecDeque<String>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Following {
    pub(super) fn new(body: Incoming, driver: AbortHandle) -> Self {
        Self { body, driver, parser: Parser::default(), read: VecDeque::new() }
    }

    /// The next event; none where the agent ended the stream, which it does from time to time: read on from the last event's place.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(data) = self.read.pop_front() {
                return serde_json::from_str(&data).map(Some).map_err(|error| ClientError::Strange(error.to_string()));
            }
            let frame = timeout(SILENCE_MAX, self.body.frame()).await.map_err(|_| ClientError::Late(SILENCE_MAX))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
            if let Ok(bytes) = frame.into_data() {
                self.read.extend(self.parser.take(&bytes)?);
            }
        }
    }
}

/// Takes server-sent events apart, as far as the agent writes them: an event is its `data` line, and ends with an empty line.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    data: Option<String>,
}

impl Parser {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<String>, ClientError> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > EVENT_LEN_MAX {
                return Err(ClientError::Strange(format!("an event of more than {EVENT_LEN_MAX} bytes")));
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                match String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']) {
                    "" => events.extend(self.data.take()),
                    line => self.data = line.strip_prefix("data:").map(|data| data.trim_start().to_owned()).or(self.data.take()),
                }
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_wherever_the_stream_is_cut() {
        let text = ":\n\nevent: happened\nid: 1\ndata: {\"é\": 1}\n\n: sign\n\nevent: happened\r\ndata:{}\r\n\r\ndata: half";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<String> = text.as_bytes().chunks(size).flat_map(|chunk| parser.take(chunk).unwrap()).collect();
            assert_eq!(events, ["{\"é\": 1}", "{}"], "in pieces of {size} bytes");
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut parser = Parser::default();
        let error = std::iter::repeat_with(|| parser.take(&vec![b'x'; 65536])).take(100).find_map(Result::err);
        assert!(matches!(error, Some(ClientError::Strange(_))));
    }
}
