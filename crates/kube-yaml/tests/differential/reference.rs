//! The reference: what kubectl reads, from the Go libraries that kubectl uses.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs, thread};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What kubectl makes of a stream.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The documents that are not null, and whether text stands behind the end of one, which kubectl never reads.
    Read {
        documents: Vec<Value>,
        trailing: bool,
    },
    Refused(String),
}

/// Asks the reference about every stream.
pub(crate) fn ask(streams: &[String]) -> Vec<Answer> {
    let mut child =
        Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the reference program was built and starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let answers: Vec<Answer> = thread::scope(|scope| {
        scope.spawn(move || {
            for stream in streams {
                let length = u32::try_from(stream.len()).expect("test streams are short");
                stdin.write_all(&length.to_be_bytes()).and_then(|()| stdin.write_all(stream.as_bytes())).expect("the reference reads");
            }
        });
        stdout.lines().map(|line| answer(&line.expect("the reference writes lines of text"))).collect()
    });
    assert!(child.wait().expect("the reference ends").success(), "the reference failed");
    assert_eq!(answers.len(), streams.len(), "the reference answers every stream");
    answers
}

fn answer(line: &str) -> Answer {
    let mut answer: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("the reference answers JSON: {error}: {line}"));
    if answer["ok"] == true {
        let documents = match answer["value"].take() {
            Value::Array(documents) => documents.into_iter().map(normal).collect(),
            _ => Vec::new(),
        };
        Answer::Read { documents, trailing: answer["trailing"] == true }
    } else {
        Answer::Refused(answer["error"].as_str().expect("a refusal has a reason").to_owned())
    }
}

/// Kubernetes reads a number of JSON that is no integer as a float and writes it back as Go does: `1e3` and `1.0` as integers.
fn normal(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().expect("a float");
            let digits =
                (float.fract() == 0.0 && float.abs() < 1e21).then(|| if float == 0.0 { "0".to_owned() } else { float.to_string() });
            let whole =
                digits.and_then(|digits| digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from)).ok());
            whole.unwrap_or(Value::Number(number))
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, normal(value))).collect(),
        other => other,
    }
}

/// The program, built once for each version of its source and kept outside the checkout.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/go");
        let mut hash = Sha256::new();
        for file in ["go.mod", "go.sum", "cmd/yamlref/main.go"] {
            hash.update(fs::read(module.join(file)).unwrap_or_else(|error| panic!("reading {file} of crates/testbed/go: {error}")));
        }
        let digest = hash.finalize();
        let digest = u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"));
        let folder = cache_folder().join(format!("yamlref-{digest:016x}"));
        let program = folder.join("yamlref");
        if !program.exists() {
            fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("making {}: {error}", folder.display()));
            // Built aside and renamed, since several test runs may build at once.
            let fresh = folder.join(format!("yamlref.{}", std::process::id()));
            build(&module, &fresh);
            fs::rename(&fresh, &program).expect("the built program can be moved");
        }
        program
    })
}

fn build(module: &Path, program: &Path) {
    let output = Command::new("go").arg("build").arg("-o").arg(program).arg("./cmd/yamlref").current_dir(module).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "`go` does not start ({error}). The comparison with kubectl's own YAML reader is built from Go: install Go (https://go.dev/dl/)"
        )
    });
    assert!(output.status.success(), "go build ./cmd/yamlref failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn cache_folder() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.expect("HOME or XDG_CACHE_HOME is set").join("evenkeel/testbed")
}
