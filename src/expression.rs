//! Conditions on an object's fields, written in CEL, the Common Expression Language.
//!
//! An expression is compiled, and its names are checked, where the repository is read. Asking it is bounded: the interpreter has no
//! bound of its own, so whatever can take longer than a moment (loops, comparisons and copies of whole values, functions) is wrapped
//! in a call that counts how much it is given to work on.

mod check;
mod cost;
mod fields;

use std::sync::{Arc, OnceLock};

use cel::{Context, Env, ExecutionError, IdedExpr, Value as Answer};
use serde_json::Value;

/// An expression is at most this long, in bytes.
pub const LENGTH_MAX: usize = 4096;

/// An expression that is true of an object or not.
#[derive(Clone)]
pub struct Expression {
    text: String,
    /// The fields of the object that it looks at.
    variables: Vec<String>,
    root: Arc<IdedExpr>,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at {line}:{column} of the expression)")]
pub struct Mistake {
    /// What it is.
    pub message: String,
    /// The line in the expression, from 1.
    pub line: usize,
    /// The column in that line, in characters, from 1.
    pub column: usize,
}

impl Expression {
    /// Compiles an expression. All that can be told without an object is checked: its form, and that it knows all its names.
    ///
    /// # Errors
    /// The first mistake, with its place in the text.
    pub fn compile(text: &str) -> Result<Self, Mistake> {
        if text.len() > LENGTH_MAX {
            return Err(Mistake { message: format!("it is longer than {LENGTH_MAX} bytes"), line: 1, column: 1 });
        }
        let program = environment().compile(text).map_err(|errors| check::of_form(&errors))?;
        let variables = check::names(&program)?;
        let root = Arc::new(cost::counted(program.expression().clone()));
        Ok(Self { text: text.to_owned(), variables, root })
    }

    /// Whether it is true of an object.
    ///
    /// # Errors
    /// Why that cannot be told, such as a field that is not there (yet). Values of the object are not quoted.
    pub fn holds(&self, object: &Value) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(environment()));
        for name in &self.variables {
            if let Some(value) = fields::variable(object, name) {
                context.add_variable_as_val(name.as_str(), value);
            }
        }
        match cost::within_bounds(|| context.resolve(&self.root)) {
            Ok(Answer::Bool(answer)) => Ok(answer),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(error) => Err(self.why(&error)),
        }
    }

    /// An error in words of its own: the interpreter's may quote values.
    fn why(&self, error: &ExecutionError) -> String {
        match error {
            // One that the expression does not name was computed, and is a value.
            ExecutionError::NoSuchKey(name) if !self.text.contains(&**name) => "there is no such key".to_owned(),
            ExecutionError::NoSuchKey(name) | ExecutionError::UndeclaredReference(name) => format!("there is no {name}"),
            ExecutionError::IndexOutOfBounds(_) => "a list has fewer items than it needs".to_owned(),
            ExecutionError::NoSuchOverload(error) => error.to_string(),
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".to_owned(),
            error if cost::is_too_much(error) => "it takes too long on an object of this size".to_owned(),
            _ => "a value is not of the kind that it needs".to_owned(),
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// CEL's standard library with optional values, and the function that counts.
fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Env::stdlib();
        cost::declare(&mut environment);
        Arc::new(environment)
    })
}

#[cfg(test)]
mod tests;
