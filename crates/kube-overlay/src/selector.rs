//! Label selectors in Kubernetes' own syntax.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A list of requirements on labels, all of which must hold: `a=b`, `a==b`, `a!=b`, `a in (x,y)`, `a notin (x,y)`, `a`, `!a`,
/// `a>1`, `a<1`, separated by commas. The empty selector matches everything.
///
/// As in Kubernetes, `!=` and `notin` also match where the label is missing, and `>` and `<` compare integers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

/// A selector that does not follow the syntax.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("label selector {text:?}: {message}")]
pub struct SelectorError {
    /// The selector as it was given.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
}

impl LabelSelector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Parser { rest: text }.selector().map_err(|message| SelectorError { text: text.to_owned(), message })
    }

    /// Whether it has no requirement and so matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether these labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// As [`matches`](Self::matches), for labels that are kept in another form.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.operator.holds(label(&requirement.key)))
    }

    /// Whether a requirement of it lets that label have no other values than some for which `is_one` holds.
    pub fn confines(&self, key: &str, is_one: impl Fn(&str) -> bool) -> bool {
        let within = |operator: &Operator| matches!(operator, Operator::In(values) if values.iter().all(|value| is_one(value)));
        self.requirements.iter().any(|requirement| requirement.key == key && within(&requirement.operator))
    }

    /// The same with one requirement more: the label has one of these values. What no label can have as its value is left out; where
    /// nothing is left, nothing is selected.
    #[must_use]
    pub fn and_in<'a>(mut self, key: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values: Vec<String> = values.into_iter().filter(|value| check_value(value).is_ok()).map(str::to_owned).collect();
        values.sort();
        values.dedup();
        self.requirements.push(Requirement { key: key.to_owned(), operator: Operator::In(values) });
        self
    }

    /// The label keys without which nothing is selected, in order, for telling a mistyped key from one that just is not there.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().filter(|requirement| !requirement.operator.holds(None)).map(|requirement| requirement.key.as_str())
    }

    /// Whether it leaves out those whose label has that value.
    pub fn excludes(&self, key: &str, value: &str) -> bool {
        let leaves_out = |operator: &Operator| matches!(operator, Operator::NotIn(values) if values.iter().any(|it| it == value));
        self.requirements.iter().any(|requirement| requirement.key == key && leaves_out(&requirement.operator))
    }

    /// The label keys that it asks for, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|requirement| requirement.key.as_str())
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match operator {
                Operator::Exists => f.write_str(key),
                Operator::Missing => write!(f, "!{key}"),
                Operator::In(values) => match values.as_slice() {
                    [value] => write!(f, "{key}={value}"),
                    values => write!(f, "{key} in ({})", values.join(",")),
                },
                Operator::NotIn(values) => match values.as_slice() {
                    [value] => write!(f, "{key}!={value}"),
                    values => write!(f, "{key} notin ({})", values.join(",")),
                },
                Operator::Greater(bound) => write!(f, "{key}>{bound}"),
                Operator::Less(bound) => write!(f, "{key}<{bound}"),
            }?;
        }
        Ok(())
    }
}

impl Operator {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.iter().any(|each| each == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|each| each != value)),
            Self::Greater(bound) => number().is_some_and(|number| number > *bound),
            Self::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn selector(mut self) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        self.skip_space();
        while !self.rest.is_empty() {
            requirements.push(self.requirement()?);
            if self.rest.is_empty() {
                break;
            }
            self.expect(",")?;
            if self.rest.is_empty() {
                return Err("it ends with a comma".to_owned());
            }
        }
        Ok(LabelSelector { requirements })
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.take("!");
        let key = self.word();
        check_key(key)?;
        let key = key.to_owned();
        if negated {
            return Ok(Requirement { key, operator: Operator::Missing });
        }
        let operator = if self.take("!=") {
            Operator::NotIn(vec![self.value()?])
        } else if self.take("==") || self.take("=") {
            Operator::In(vec![self.value()?])
        } else if self.take(">") {
            Operator::Greater(self.integer()?)
        } else if self.take("<") {
            Operator::Less(self.integer()?)
        } else {
            match self.word() {
                "" => Operator::Exists,
                "in" => Operator::In(self.values()?),
                "notin" => Operator::NotIn(self.values()?),
                other => return Err(format!("{other:?} after {key:?} is not an operator; there are =, ==, !=, in, notin, > and <")),
            }
        };
        Ok(Requirement { key, operator })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        self.expect("(")?;
        let mut values = vec![self.value()?];
        while self.take(",") {
            values.push(self.value()?);
        }
        self.expect(")")?;
        values.sort();
        values.dedup();
        Ok(values)
    }

    fn value(&mut self) -> Result<String, String> {
        let value = self.word();
        check_value(value)?;
        Ok(value.to_owned())
    }

    fn integer(&mut self) -> Result<i64, String> {
        let word = self.word();
        word.parse().map_err(|_| format!("{word:?} is not an integer"))
    }

    /// The characters up to the next space or symbol.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip_space();
        word
    }

    fn take(&mut self, symbol: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(symbol) else { return false };
        self.rest = rest;
        self.skip_space();
        true
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.take(symbol) {
            return Ok(());
        }
        let found = self.rest.chars().next().map_or("its end".to_owned(), |c| format!("{c:?}"));
        Err(format!("{symbol:?} is expected where it has {found}"))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

/// A label key: an optional DNS subdomain and a slash, then a name of at most 63 characters.
fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let name_is_right = !name.is_empty() && is_name(name);
    let prefix_is_right = prefix.is_none_or(|prefix| {
        let part = |part: &str| {
            let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.bytes().next().is_some_and(inner) && part.bytes().last().is_some_and(inner) && part.bytes().all(|c| inner(c) || c == b'-')
        };
        prefix.len() <= 253 && prefix.split('.').all(part)
    });
    if name_is_right && prefix_is_right { Ok(()) } else { Err(format!("{key:?} is not a label key")) }
}

fn check_value(value: &str) -> Result<(), String> {
    if is_name(value) { Ok(()) } else { Err(format!("{value:?} is not a label value")) }
}

/// At most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit; or nothing.
fn is_name(text: &str) -> bool {
    let ends = |c: Option<u8>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::LabelSelector;
    use std::collections::BTreeMap;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split(',').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn confining() {
        let confines = |text: &str| LabelSelector::parse(text).unwrap().confines("env", |value| ["dev", "test"].contains(&value));
        for (text, expected) in [
            ("env=dev", true),
            ("env in (dev,test),a", true),
            ("env in (dev,prod),env=test", true),
            ("env in (dev,prod)", false),
            ("", false),
            ("env", false),
            ("env!=prod", false),
            ("other=dev", false),
        ] {
            assert_eq!(confines(text), expected, "{text}");
            let confined = LabelSelector::parse(text).unwrap().and_in("env", ["test", "dev", "no value!"]);
            assert_eq!(confined.to_string().parse::<LabelSelector>().unwrap(), confined, "{text}");
            assert!(!confined.matches(&labels("env=prod,a=1")) && confined.confines("env", |value| value != "prod"), "{text}");
        }
        let one = LabelSelector::parse("a=1").unwrap().and_in("env", ["dev"]);
        assert_eq!((one.to_string().as_str(), one.matches(&labels("a=1,env=dev"))), ("a=1,env=dev", true));
        assert!(!LabelSelector::default().and_in("env", ["no value!"]).matches(&labels("env=dev")));
    }

    #[test]
    fn matching() {
        let cases = [
            ("", "a=1", true),
            ("  ", "", true),
            ("a=b", "a=b", true),
            ("a==b", "a=c", false),
            ("a=b", "", false),
            ("a = b , c = d", "a=b,c=d", true),
            ("a=b,c=d", "a=b", false),
            ("a!=b", "a=b", false),
            ("a!=b", "a=c", true),
            ("a!=b", "", true),
            ("a in (x,y)", "a=y", true),
            ("a in (x, y)", "a=z", false),
            ("a in(x)", "", false),
            ("a notin (x,y)", "a=z", true),
            ("a notin (x,y)", "a=x", false),
            ("a notin (x,y)", "", true),
            ("a", "a=", true),
            ("a", "b=1", false),
            ("!a", "b=1", true),
            ("! a", "a=1", false),
            ("a=", "a=", true),
            ("a=", "a=1", false),
            ("a in (,x)", "a=", true),
            ("a>5", "a=6", true),
            ("a>5", "a=5", false),
            ("a<5", "a=4", true),
            ("a<5", "a=four", false),
            ("in in (in)", "in=in", true),
            ("example.com/tier=web,!example.com/old", "example.com/tier=web", true),
            ("environment=prod,canary=true", "environment=prod,canary=true,region=eu", true),
        ];
        for (selector, given, expected) in cases {
            assert_eq!(LabelSelector::parse(selector).unwrap().matches(&labels(given)), expected, "{selector:?} on {given:?}");
        }
    }

    #[test]
    fn refusals() {
        for text in [
            "=b",
            "a,",
            ",a",
            "a b",
            "a in",
            "a in x",
            "a in (x",
            "a in ()x",
            "a=b c=d",
            "a=!",
            "-a",
            "a=-b",
            "a>x",
            "a=b=c",
            "Ex/",
            "EX.com/a",
            "a/b/c",
            "!",
            "!a=b",
            "a notin (x))",
            &"k".repeat(64),
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text:?}");
        }
        let message = LabelSelector::parse("a like b").unwrap_err().to_string();
        assert_eq!(message, r#"label selector "a like b": "like" after "a" is not an operator; there are =, ==, !=, in, notin, > and <"#);
    }

    #[test]
    fn display_reads_back() {
        for text in ["a=b,c!=d,e in (x,y),f notin (x,y),!g,h,i>1,j<2", ""] {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.to_string(), text);
            assert_eq!(selector.is_empty(), text.is_empty());
        }
        assert_eq!(LabelSelector::parse("a==b,!c").unwrap().keys().collect::<Vec<_>>(), ["a", "c"]);
        let needs = LabelSelector::parse("a==b,!c,d!=e,f notin (g),h in (i),j,k>1,l<1").unwrap();
        assert_eq!(needs.needs().collect::<Vec<_>>(), ["a", "h", "j", "k", "l"]);
    }
}
