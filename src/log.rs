//! Logs for the person on call: one line per event that matters, human on a terminal, JSON otherwise.
//!
//! The fields `commit cluster environment region bundle object code` have these names everywhere; an event takes those
//! that it does not set itself from the spans around it. Whatever else an event carries stands under `fields`.
//! Credentials in URLs are masked in every text, since messages of libraries quote addresses.

use std::{fmt, fmt::Write as _, io, str::FromStr, sync::Mutex};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::mask_urls,
    screen,
};

/// What libraries say below these levels is noise to the person on call. Directives of `--log-level` come later and win.
const QUIET: &str = "hyper=warn,hyper_util=warn,h2=warn,rustls=warn,tower=warn,kube=warn,kube_client=warn,notify=warn,mio=warn";

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How lines look.
    pub format: Format,
    /// A level or a list of `target=level`.
    pub level: String,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For eyes.
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("not one of auto, human, json"),
        }
    }
}

/// Sends the program's events to stderr from now on. `terminal`: stderr is one; `color`: it may be coloured.
pub fn init(settings: &Settings, terminal: bool, color: bool) -> Result<(), Diagnostic> {
    let human = settings.format == Format::Human || settings.format == Format::Auto && terminal;
    let style = if human { Style::Human { color } } else { Style::Json };
    let started = Registry::default().with(filter(&settings.level)?).with(LogLayer::new(style, screen::Above)).try_init();
    started.map_err(|error| Diagnostic::new(codes::SETTINGS, Place::Nowhere, format!("logging cannot be set up: {error}")))
}

/// The filter for that level, libraries kept quiet.
pub fn filter(level: &str) -> Result<EnvFilter, Diagnostic> {
    let wrong = |why: String| {
        Diagnostic::new(codes::SETTINGS, Place::Nowhere, format!("log-level `{level}`: {why}"))
            .with_hint("Give error, warn, info, debug or trace, or a list such as info,evenkeel::sync=debug.")
    };
    if level.split(',').any(|part| part.trim().is_empty()) {
        return Err(wrong("an empty entry".to_owned()));
    }
    // A lone word is a target for EnvFilter, so that a misspelt level would silence everything.
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    let bare = level.split(',').map(str::trim).find(|part| !part.contains('=') && !levels.contains(&part.to_ascii_lowercase().as_str()));
    if let Some(part) = bare {
        return Err(wrong(format!("`{part}` is no level")));
    }
    EnvFilter::builder().parse(format!("{QUIET},{level}")).map_err(|error| wrong(error.to_string()))
}

/// Logs a problem as an error, with its code, object and hint.
pub fn error(problem: &Diagnostic) {
    let (object, text) = parts(problem);
    tracing::error!(code = problem.code.id, object, hint = problem.hint, "{text}");
}

/// Logs a problem as a warning, with its code, object and hint.
pub fn warn(problem: &Diagnostic) {
    let (object, text) = parts(problem);
    tracing::warn!(code = problem.code.id, object, hint = problem.hint, "{text}");
}

fn parts(problem: &Diagnostic) -> (Option<&str>, String) {
    match &problem.place {
        Place::Object(id) => (Some(id), problem.message.clone()),
        Place::Nowhere => (None, problem.message.clone()),
        place @ Place::File { .. } => (None, format!("{place}: {}", problem.message)),
    }
}

/// How a line looks, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Time, level, message, fields.
    Human {
        /// The level is coloured.
        color: bool,
    },
    /// One JSON object.
    Json,
}

/// Writes every event as one line.
pub struct LogLayer<W> {
    style: Style,
    out: Mutex<W>,
}

impl<W: io::Write> LogLayer<W> {
    /// A layer that writes to `out`.
    pub const fn new(style: Style, out: W) -> Self {
        Self { style, out: Mutex::new(out) }
    }
}

/// The fields of a span or an event.
#[derive(Debug, Clone, Default, Serialize)]
struct Fields {
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(flatten)]
    named: Named,
    #[serde(skip)]
    target: Option<String>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty", rename = "fields")]
    others: serde_json::Map<String, serde_json::Value>,
}

/// The fields that mean the same everywhere.
#[derive(Debug, Clone, Default, Serialize)]
struct Named {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
}

impl Named {
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "code" => &mut self.code,
            "commit" => &mut self.commit,
            "cluster" => &mut self.cluster,
            "environment" => &mut self.environment,
            "region" => &mut self.region,
            "bundle" => &mut self.bundle,
            "object" => &mut self.object,
            _ => return None,
        })
    }

    fn each(&self) -> [(&'static str, Option<&String>); 7] {
        [
            ("code", self.code.as_ref()),
            ("commit", self.commit.as_ref()),
            ("cluster", self.cluster.as_ref()),
            ("environment", self.environment.as_ref()),
            ("region", self.region.as_ref()),
            ("bundle", self.bundle.as_ref()),
            ("object", self.object.as_ref()),
        ]
    }
}

impl Fields {
    fn set(&mut self, field: &Field, value: serde_json::Value) {
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        match field.name() {
            "message" => self.message = text(value),
            // Events of libraries that use the `log` crate carry their origin in fields.
            "log.target" => self.target = Some(text(value)),
            name if name.starts_with("log.") => {}
            name => match self.named.slot(name) {
                Some(slot) => *slot = Some(text(value)),
                None => drop(self.others.insert(name.to_owned(), value)),
            },
        }
    }

    /// These fields over those of the spans around them.
    fn over(&mut self, outer: &Self) {
        for (name, value) in outer.named.each() {
            if let (Some(slot @ None), Some(value)) = (self.named.slot(name), value) {
                *slot = Some(value.clone());
            }
        }
        for (name, value) in &outer.others {
            self.others.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, mask_urls(value).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: io::Write + 'static,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.over(outer);
            }
        }
        let target = fields.target.take().unwrap_or_else(|| event.metadata().target().to_owned());
        let line = line(self.style, Timestamp::now(), *event.metadata().level(), &target, &fields);
        // A log that cannot be written must not stop the agent, and there is nowhere else to say so.
        if let Ok(mut out) = self.out.lock() {
            let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        }
    }
}

/// One event as a line with its end.
fn line(style: Style, now: Timestamp, level: Level, target: &str, fields: &Fields) -> String {
    match style {
        Style::Json => json_line(now, level, target, fields),
        Style::Human { color } => human_line(color, now, level, fields),
    }
}

fn json_line(now: Timestamp, level: Level, target: &str, fields: &Fields) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        level: &'a str,
        #[serde(flatten)]
        fields: &'a Fields,
        target: &'a str,
    }
    let level = level.as_str().to_ascii_lowercase();
    let line = Line { time: format!("{now:.3}"), level: &level, fields, target };
    serde_json::to_string(&line).map_or_else(|_| String::new(), |text| text + "\n")
}

fn human_line(color: bool, now: Timestamp, level: Level, fields: &Fields) -> String {
    let shade = match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        _ => "2",
    };
    let mut line = format!("{now:.3} ");
    let _ = if color { write!(line, "\u{1b}[{shade}m{level:<5}\u{1b}[0m ") } else { write!(line, "{level:<5} ") };
    line.push_str(&one_line(&fields.message));
    for (name, value) in fields.named.each() {
        let Some(value) = value else { continue };
        let value = if name == "commit" && value.len() == 40 && value.is_ascii() { &value[..7] } else { value };
        let _ = write!(line, " {name}={}", quoted(value));
    }
    for (name, value) in &fields.others {
        let value = value.as_str().map_or_else(|| value.to_string(), quoted);
        let _ = write!(line, " {name}={value}");
    }
    line.push('\n');
    line
}

/// A value that cannot be taken for the next field.
fn quoted(value: &str) -> String {
    if value.is_empty() || value.contains([' ', '=', '"']) { format!("{:?}", one_line(value)) } else { one_line(value) }
}

/// The text with control characters escaped: an event is one line, and a name from a repository commands no terminal.
fn one_line(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while `events` runs, without the times.
    fn logged(style: Style, level: &str, events: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let subscriber = Registry::default().with(filter(level).unwrap()).with(LogLayer::new(style, buffer.clone()));
        tracing::subscriber::with_default(subscriber, events);
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let time = regex_lite(&text);
        text.replace(&time, "TIME")
    }

    /// The first time stamp of the text; the tests log within one line or compare lines apart.
    fn regex_lite(text: &str) -> String {
        let at = text.find("20").unwrap_or(0);
        text.get(at..at + "2026-01-01T00:00:00.000Z".len()).unwrap_or("no time").to_owned()
    }

    fn sync_refused() {
        let span = tracing::info_span!("cluster", cluster = "prod-eu-1", environment = "prod", region = "eu", attempt = 2);
        let _entered = span.enter();
        tracing::warn!(commit = "0123456789012345678901234567890123456789", code = "EK4001", bundle = "shop", "refused:\nno\u{1b}[2J");
    }

    #[test]
    fn json_has_the_fixed_names_and_those_of_the_spans() {
        insta::assert_snapshot!(
            logged(Style::Json, "info", sync_refused),
            @r#"{"time":"TIME","level":"warn","message":"refused:\nno\u001b[2J","code":"EK4001","commit":"0123456789012345678901234567890123456789","cluster":"prod-eu-1","environment":"prod","region":"eu","bundle":"shop","fields":{"attempt":2},"target":"evenkeel::log::tests"}"#
        );
    }

    #[test]
    fn human_is_one_line_that_commands_no_terminal() {
        insta::assert_snapshot!(
            logged(Style::Human { color: false }, "info", sync_refused),
            @r"TIME WARN  refused:\nno\u{1b}[2J code=EK4001 commit=0123456 cluster=prod-eu-1 environment=prod region=eu bundle=shop attempt=2"
        );
        assert!(logged(Style::Human { color: true }, "info", sync_refused).contains("\u{1b}[33mWARN \u{1b}[0m"));
    }

    #[test]
    fn an_event_wins_over_its_span_and_the_inner_span_over_the_outer() {
        let text = logged(Style::Human { color: false }, "info", || {
            let outer = tracing::info_span!("outer", cluster = "a", bundle = "x", region = tracing::field::Empty);
            let _outer = outer.enter();
            outer.record("region", "eu");
            let inner = tracing::info_span!("inner", cluster = "b");
            let _inner = inner.enter();
            tracing::info!(bundle = "y", text = "two words", "message");
        });
        insta::assert_snapshot!(text, @r#"TIME INFO  message cluster=b region=eu bundle=y text="two words""#);
    }

    #[test]
    fn problems_carry_code_object_and_hint() {
        let text = logged(Style::Human { color: false }, "info", || {
            warn(&Diagnostic::new(codes::REFUSED, Place::Object("Deployment.apps/shop/web".to_owned()), "no").with_hint("Mend it."));
            error(&Diagnostic::new(codes::YAML, Place::at("base/a.yaml", 3, 1), "not a mapping").with_hint("Mend it."));
        });
        let lines: Vec<&str> = text.lines().map(|line| &line[line.find(' ').unwrap()..]).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
         WARN  no code=EK4001 object=Deployment.apps/shop/web hint="Mend it."
         ERROR base/a.yaml:3:1: not a mapping code=EK1001 hint="Mend it."
        "#);
    }

    #[test]
    fn libraries_are_quiet_unless_asked() {
        let events = || {
            tracing::info!(target: "hyper::client", "library");
            tracing::debug!("below");
            tracing::info!("ours");
        };
        let human = Style::Human { color: false };
        assert_eq!(logged(human, "info", events), "TIME INFO  ours\n");
        assert_eq!(logged(human, "error", events), "");
        assert!(logged(human, "info,hyper=info", events).contains("library"));
        assert!(logged(human, "debug", events).contains("below"));
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for level in ["inof", "", "info,", "evenkeel=loud", "info,debgu"] {
            let problem = filter(level).map(|_| ()).unwrap_err();
            assert_eq!(problem.code, codes::SETTINGS, "{level}");
            assert!(problem.message.contains("log-level"), "{problem}");
        }
    }

    #[test]
    fn credentials_in_urls_are_masked_in_messages_and_fields() {
        for style in [Style::Json, Style::Human { color: false }] {
            let text = logged(style, "info", || {
                let _span = tracing::info_span!("s", remote = "https://u:hunter2@h/x").entered();
                tracing::info!(object = "http://u:hunter2@h", error = %io::Error::other("https://u:hunter2@h"), "https://u:hunter2@h");
            });
            assert!(!text.contains("hunter2"), "{text}");
            assert_eq!(text.matches("://***@h").count(), 4, "{text}");
        }
    }
}
