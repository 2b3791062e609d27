//! docs/CLI.md and the settings file are about the flags that there are.

use std::fmt::Write as _;

use evenkeel::{
    cli,
    codes::{BLOCKS, Code},
};

/// Commands and their whole help at a width of 100, the program's own first.
fn help() -> Vec<(String, String)> {
    let mut program = cli::command().term_width(100).disable_help_subcommand(true);
    program.build();
    let mut all = vec![("evenkeel".to_owned(), program.render_help().to_string())];
    for command in program.get_subcommands_mut() {
        let name = format!("evenkeel {}", command.get_name());
        all.push((name.clone(), command.render_help().to_string()));
        for part in command.get_subcommands_mut() {
            all.push((format!("{name} {}", part.get_name()), part.render_help().to_string()));
        }
    }
    all
}

/// The text between a command's heading in docs/CLI.md and the end of its help is made by the program. With
/// `UPDATE_DOCS=1` it is written anew.
#[test]
fn the_document_has_the_help_of_every_command() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CLI.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (written, _) = document.split_once("## Help of every command\n").expect("the heading that the help stands under");
    let mut expect = format!("{written}## Help of every command\n");
    for (name, text) in help() {
        let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        let _ = write!(expect, "\n### {name}\n\n```text\n{}\n```\n", text.trim_end());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expect).unwrap();
    } else {
        assert_eq!(document, expect, "run `cargo xtask docs`");
    }
}

/// docs/ERRORS.md is made of the table of codes. With `UPDATE_DOCS=1` it is written anew.
#[test]
fn the_document_has_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ERRORS.md");
    let mut expect =
        "# Errors\n\nEvery code that a command, the agent's log or its record may show, made from `src/codes.rs` by `cargo xtask docs`.\n\
        `evenkeel explain EK1001` says the same at a terminal. A code keeps its meaning for ever.\n"
            .to_owned();
    for (digit, about) in BLOCKS {
        let _ = write!(expect, "\n## EK{digit}xxx: {about}\n");
        for Code { id, title, causes, next } in Code::of_block(digit) {
            let causes = if causes.is_empty() { String::new() } else { format!("Causes: {causes}\n\n") };
            let _ = write!(expect, "\n### {id}\n\n{title}.\n\n{causes}What to do: {next}\n");
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expect).unwrap();
    } else {
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), expect, "run `cargo xtask docs`");
    }
}

/// Every flag has the environment variable and the settings key of its name.
#[test]
fn every_flag_has_a_variable_and_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.yaml");
    let mut flags = 0;
    let program = cli::command();
    for command in program.get_subcommands().flat_map(|command| std::iter::once(command).chain(command.get_subcommands())) {
        for argument in command.get_arguments().filter(|argument| !argument.is_positional()) {
            let name = argument.get_long().unwrap();
            if name == "help" {
                continue;
            }
            let variable = format!("EVENKEEL_{}", name.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()), "{name}");
            std::fs::write(&file, format!("{name}:\nno-such-key:\n")).unwrap();
            let output = crate::run(&format!("evenkeel explain EK1001 --config {}", file.display()));
            assert!(output.err.contains(":2:1: error[EK6002]: unknown field `no-such-key`"), "{name}: {}", output.err);
            flags += 1;
        }
    }
    assert!(flags > 20, "only {flags} flags found");
}

#[test]
fn defaults_in_the_help_are_the_defaults() {
    let help: String = help().into_iter().map(|(_, text)| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for default in ["main", "evenkeel-system", "30s", "2m", "sync", "auto", "info", "table", "20", "/var/lib/evenkeel"] {
        assert!(help.contains(&format!("[default: {default}]")), "{default}");
    }
}

/// The style of texts that people read, as far as a program can see it.
#[test]
fn codes_have_a_meaning_and_a_next_step() {
    let mut before = "";
    for code in evenkeel::codes::ALL {
        assert!(code.id > before, "{code} is out of order");
        assert!(code.id.len() == 6 && code.id.starts_with("EK"), "{code}");
        assert!(!code.title.ends_with('.'), "{code}: {}", code.title);
        assert!(code.next.ends_with('.'), "{code}: {}", code.next);
        assert!(code.causes.is_empty() || code.causes.ends_with('.'), "{code}: {}", code.causes);
        assert!(BLOCKS.iter().any(|(digit, _)| code.id[2..].starts_with(*digit)), "{code} is in no block");
        before = code.id;
    }
}

/// The table of faults names at least one test for each, and all that it names are there.
#[test]
fn every_fault_has_its_test() {
    fn sources(folder: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut code);
    }
    let document = std::fs::read_to_string(root.join("docs/FAULTS.md")).unwrap();
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |")).collect();
    assert!(rows.len() > 20, "only {} faults", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        let tests: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let name = test.rsplit("::").next().unwrap();
            assert!(code.contains(&format!("fn {name}(")), "no test {test}");
        }
    }
}
