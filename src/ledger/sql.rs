//! How values stand in the tables.
//!
//! Hashes are blobs: half the size of their text in rows and indexes, and a prefix search is a range. Times are whole
//! milliseconds since 1970: they compare and index as numbers, and need no parsing in queries over thousands of rows
//! (`datetime(at / 1000, 'unixepoch')` shows them). Words such as phases are text, so that the file can be read by hand.

use jiff::Timestamp;
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IntoDeserializer as _};
use serde_json::json;

use super::answers::ErrorAnswer;
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    manifest::Digest,
    sync::{Action, Trigger},
};

macro_rules! blobs {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                FromSql::column_result(value).map(Self)
            }
        }
    )*};
}

blobs!(CommitId, Digest);

/// A time, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(pub(super) Timestamp);

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millisecond().into())
    }
}

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let ms = i64::column_result(value)?;
        Timestamp::from_millisecond(ms).map(Self).map_err(FromSqlError::other)
    }
}

/// A number of things, which SQLite keeps with a sign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) u64);

impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(u64::try_from(i64::column_result(value)?).unwrap_or(0)))
    }
}

/// A word of a closed list: a phase, a health.
pub(super) struct Word<T>(pub(super) T);

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(serde_json::Value::String(word)) => Ok(word.into()),
            Ok(_) => Err(rusqlite::Error::ToSqlConversionFailure("not a word".into())),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?.into_deserializer();
        T::deserialize(word).map(Self).map_err(|error: serde::de::value::Error| FromSqlError::other(error))
    }
}

/// A problem as it stands in the tables. A code that this version does not know (any more) is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Problem {
    code: String,
    place: Place,
    message: String,
    hint: String,
}

impl Problem {
    /// The problem as text.
    pub(super) fn text(diagnostic: &Diagnostic) -> String {
        Self::json(diagnostic).to_string()
    }

    /// Several problems as text; the first 100 of them, which is more than anyone reads.
    pub(super) fn texts(diagnostics: &[Diagnostic]) -> String {
        diagnostics.iter().take(100).map(Self::json).collect::<serde_json::Value>().to_string()
    }

    /// The first of several problems, in one sentence.
    pub(super) fn first_message(texts: &str) -> String {
        let problems: Vec<Self> = serde_json::from_str(texts).unwrap_or_default();
        problems.into_iter().next().map(|problem| ErrorAnswer::from(problem).message).unwrap_or_default()
    }

    fn json(diagnostic: &Diagnostic) -> serde_json::Value {
        let Diagnostic { code, place, message, hint } = diagnostic;
        json!({ "code": code, "place": place, "message": message, "hint": hint })
    }
}

impl FromSql for Problem {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl From<Problem> for Diagnostic {
    fn from(Problem { code, place, message, hint }: Problem) -> Self {
        Self { code: Code::find(&code).unwrap_or(codes::LEDGER), place, message, hint }
    }
}

impl From<Problem> for ErrorAnswer {
    fn from(Problem { code, place, message, hint }: Problem) -> Self {
        let message = match place {
            Place::Nowhere => message,
            place => format!("{place}: {message}"),
        };
        Self { code, message, hint }
    }
}

/// Why a sync ran, as a word.
pub(super) fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Commit => "Commit",
        Trigger::Start => "Start",
        Trigger::Drift | Trigger::Watch => "Drift",
        Trigger::Retry => "Retry",
        Trigger::Health => "Health",
        Trigger::Asked => "Asked",
    }
}

/// What was done to an object, as a word.
pub(super) fn action(action: Action) -> &'static str {
    match action {
        Action::Created => "Created",
        Action::Changed => "Changed",
        Action::Adopted => "Adopted",
        Action::Repaired => "Repaired",
        Action::Pruned => "Pruned",
        Action::Held => "Held",
        Action::Kept => "Kept",
        Action::Refused => "Refused",
        Action::Failed => "Failed",
    }
}
