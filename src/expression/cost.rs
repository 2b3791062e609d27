//! How much an expression may cost.
//!
//! Every value that an expression loops over, copies, compares or gives to a function is counted: one for each value in it and for
//! each 64 bytes of text. The interpreter does work in proportion to that, and to the length of the expression, which is bounded.

use std::cell::Cell;

use cel::{
    Env, ExecutionError, IdedExpr,
    common::{
        ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, operators},
        types::{CelList, CelMap, CelOptional, CelString, DYN_TYPE},
        value::{CowVal, Val},
    },
};

/// Counts its argument and gives it back. No expression can name it: `@` is not a part of names.
const COUNT: &str = "@count";
/// The same for a pattern, which is compiled anew each time.
const COUNT_PATTERN: &str = "@countPattern";
/// A tenth of a second or so. A status has some hundred values.
const COST_MAX: u64 = 1_000_000;
/// What compiling a pattern counts for.
const PATTERN: u64 = 10_000;
const TEXT_BYTES: u64 = 64;

thread_local! {
    /// What is left to the expression that this thread evaluates; it does so without a pause.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn declare(environment: &mut Env) {
    let added = environment
        .add_overload(COUNT, COUNT, vec![DYN_TYPE], |arguments| count(arguments, 0))
        .and_then(|()| environment.add_overload(COUNT_PATTERN, COUNT_PATTERN, vec![DYN_TYPE], |arguments| count(arguments, PATTERN)));
    debug_assert!(added.is_ok(), "{added:?}");
}

/// Evaluates with all of the allowance.
pub(super) fn within_bounds<T>(evaluate: impl FnOnce() -> T) -> T {
    LEFT.set(COST_MAX);
    evaluate()
}

pub(super) fn is_too_much(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::FunctionError { function, .. } if function == COUNT)
}

fn count<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>, more: u64) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let Some(value) = arguments.pop() else { return Err(ExecutionError::missing_argument_or_target()) };
    let left = LEFT.get().checked_sub(more).and_then(|left| without(left, value.as_ref()));
    // What comes after it in a loop that goes on must not be free.
    LEFT.set(left.unwrap_or(0));
    left.map(|_| value).ok_or_else(|| ExecutionError::function_error(COUNT, ""))
}

/// What is left after a value; none where it is too much.
fn without(left: u64, value: &dyn Val) -> Option<u64> {
    let left = left.checked_sub(1)?;
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().try_fold(left, |left, item| without(left, item.as_ref()))
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        map.inner().iter().try_fold(left, |left, (key, value)| without(without(left, key.inner())?, value.as_ref()))
    } else if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        left.checked_sub(text.inner().len() as u64 / TEXT_BYTES)
    } else if let Some(value) = value.downcast_ref::<CelOptional<'_>>().and_then(CelOptional::option) {
        without(left, value)
    } else {
        Some(left)
    }
}

/// The expression with all that must be counted wrapped.
pub(super) fn counted(expression: IdedExpr) -> IdedExpr {
    let IdedExpr { id, expr } = expression;
    let expr = match expr {
        Expr::Call(call) => Expr::Call(counted_call(call)),
        Expr::Comprehension(comprehension) => Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: wrapped(comprehension.iter_range),
            accu_init: counted(comprehension.accu_init),
            loop_cond: counted(comprehension.loop_cond),
            loop_step: counted(comprehension.loop_step),
            result: counted(comprehension.result),
            ..*comprehension
        })),
        Expr::List(mut list) => {
            list.elements = list.elements.into_iter().map(wrapped).collect();
            Expr::List(list)
        }
        Expr::Map(mut map) => {
            map.entries = map.entries.into_iter().map(counted_entry).collect();
            Expr::Map(map)
        }
        Expr::Select(mut select) => {
            *select.operand = counted(*select.operand);
            Expr::Select(select)
        }
        other => other,
    };
    IdedExpr { id, expr }
}

fn counted_call(mut call: CallExpr) -> CallExpr {
    // These look at no more than a value's head.
    let cheap = matches!(
        &*call.func_name,
        operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::NOT_STRICTLY_FALSE
            | operators::CONDITIONAL
            | operators::INDEX
            | operators::NEGATE
    );
    let inner = if cheap { counted } else { wrapped };
    call.args = call.args.into_iter().map(inner).collect();
    // The name in `optional.of()` is no value.
    let is_name = |target: &IdedExpr| matches!(&target.expr, Expr::Ident(name) if name == super::check::OPTIONAL);
    call.target = call.target.map(|target| if is_name(&target) { target } else { Box::new(inner(*target)) });
    if call.func_name == "matches"
        && let Some(pattern) = call.args.pop()
    {
        call.args.push(call_of(COUNT_PATTERN, pattern));
    }
    call
}

fn counted_entry(mut entry: IdedEntryExpr) -> IdedEntryExpr {
    if let EntryExpr::MapEntry(map_entry) = &mut entry.expr {
        map_entry.key = wrapped(std::mem::take(&mut map_entry.key));
        map_entry.value = wrapped(std::mem::take(&mut map_entry.value));
    }
    entry
}

/// The expression, counted as a whole.
fn wrapped(expression: IdedExpr) -> IdedExpr {
    match &expression.expr {
        // The interpreter knows a loop that gathers a list by how it uses what it has gathered.
        Expr::Ident(name) if name.starts_with('@') => expression,
        Expr::Literal(_) => expression,
        _ => call_of(COUNT, counted(expression)),
    }
}

fn call_of(function: &str, argument: IdedExpr) -> IdedExpr {
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![argument] };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}
