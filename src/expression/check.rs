//! What can be told of an expression without an object: its form, and whether it knows the names that it uses.

use std::collections::BTreeSet;

use cel::{
    IdedExpr, ParseErrors, Program,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, SourceInfo},
};

use super::{
    Mistake,
    fields::{FIELDS, WHOLE},
};

/// Parts of an expression lie within each other no deeper than this, so that no stack runs out.
const DEPTH_MAX: usize = 100;
/// The name before `of`, `none` and `ofNonZeroValue`.
pub(super) const OPTIONAL: &str = "optional";
const OF_OPTIONAL: [&str; 3] = ["of", "none", "ofNonZeroValue"];
/// Called as `size(x)`
const FUNCTIONS: [&str; 10] = ["bool", "bytes", "double", "dyn", "int", "matches", "size", "string", "type", "uint"];
/// Called as `x.size()`
const METHODS: [&str; 9] = ["contains", "endsWith", "hasValue", "matches", "or", "orValue", "size", "startsWith", "value"];
/// Expanded where the expression is read; what is left of these has another number of arguments than they take.
const MACROS: [&str; 8] = ["all", "exists", "exists_one", "filter", "has", "map", "optFlatMap", "optMap"];
/// Names of types, for `type(x) == string`.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

/// The first of the mistakes in an expression's form.
pub(super) fn of_form(errors: &ParseErrors) -> Mistake {
    let at = |position: isize| usize::try_from(position).unwrap_or(1).max(1);
    match errors.errors.first() {
        Some(error) => Mistake { message: error.msg.clone(), line: at(error.pos.0), column: at(error.pos.1) },
        None => Mistake { message: "it is not CEL".to_owned(), line: 1, column: 1 },
    }
}

/// The variables that stand for the object or a part of it.
pub(super) fn names(program: &Program) -> Result<Vec<String>, Mistake> {
    let mut names = Names { source: program.source_info(), scope: Vec::new(), used: BTreeSet::new() };
    names.walk(program.expression(), 0)?;
    Ok(names.used.into_iter().collect())
}

struct Names<'a> {
    source: &'a SourceInfo,
    /// Variables of the loops around.
    scope: Vec<&'a str>,
    used: BTreeSet<String>,
}

impl<'a> Names<'a> {
    fn walk(&mut self, expression: &'a IdedExpr, depth: usize) -> Result<(), Mistake> {
        if depth > DEPTH_MAX {
            return Err(self.mistake(expression.id, format!("its parts lie within each other more than {DEPTH_MAX} deep")));
        }
        let depth = depth + 1;
        match &expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name, expression.id),
            Expr::Select(select) => self.walk(&select.operand, depth),
            Expr::Call(call) => self.call(call, expression.id, depth),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.walk(element, depth)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(entry, depth)),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Struct(made) => Err(self.mistake(expression.id, format!("there is no type {} to make a value of", made.type_name))),
            Expr::Unspecified => Err(self.mistake(expression.id, "a part is missing".to_owned())),
        }
    }

    fn variable(&mut self, name: &str, id: u64) -> Result<(), Mistake> {
        if name.starts_with('@') || self.scope.contains(&name) || TYPES.contains(&name) {
            return Ok(());
        }
        if FIELDS.contains(&name) || WHOLE.contains(&name) {
            self.used.insert(name.to_owned());
            return Ok(());
        }
        let known: Vec<&str> = FIELDS.into_iter().chain(WHOLE).collect();
        let message = format!("unknown variable {name}; known are {}, and any other field of the object as self.{name}", known.join(", "));
        Err(self.mistake(id, message))
    }

    fn call(&mut self, call: &'a CallExpr, id: u64, depth: usize) -> Result<(), Mistake> {
        let name = &*call.func_name;
        let is_optional = call.target.as_ref().is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == OPTIONAL));
        let known = match &call.target {
            Some(_) if is_optional => OF_OPTIONAL.contains(&name),
            Some(_) => METHODS.contains(&name),
            None => FUNCTIONS.contains(&name) || !name.starts_with(|first: char| first.is_ascii_alphabetic()),
        };
        if !known {
            let message = match name {
                name if MACROS.contains(&name) => format!("{name}() has another number of arguments, or the name of a variable is missing"),
                name => format!("unknown function {name}(); known are {}", known_functions()),
            };
            return Err(self.mistake(id, message));
        }
        let target = call.target.iter().filter(|_| !is_optional).map(|target| &**target);
        target.chain(&call.args).try_for_each(|part| self.walk(part, depth))
    }

    fn entry(&mut self, entry: &'a IdedEntryExpr, depth: usize) -> Result<(), Mistake> {
        match &entry.expr {
            EntryExpr::MapEntry(entry) => self.walk(&entry.key, depth).and_then(|()| self.walk(&entry.value, depth)),
            EntryExpr::StructField(field) => self.walk(&field.value, depth),
        }
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr, depth: usize) -> Result<(), Mistake> {
        self.walk(&comprehension.iter_range, depth)?;
        self.walk(&comprehension.accu_init, depth)?;
        let around = self.scope.len();
        self.scope.extend([&*comprehension.iter_var, &*comprehension.accu_var]);
        self.scope.extend(comprehension.iter_var2.as_deref());
        for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
            self.walk(part, depth)?;
        }
        self.scope.truncate(around);
        Ok(())
    }

    fn mistake(&self, id: u64, message: String) -> Mistake {
        let start = self.source.offset_for(id).map_or(0, |(start, _)| start as usize);
        let before: String = self.source.source.chars().take(start).collect();
        let (line, column) = (before.matches('\n').count() + 1, before.chars().rev().take_while(|char| *char != '\n').count() + 1);
        Mistake { message, line, column }
    }
}

fn known_functions() -> String {
    let names: BTreeSet<&str> = FUNCTIONS.into_iter().chain(METHODS).chain(MACROS).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
