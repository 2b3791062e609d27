//! The programs that the test bed finds or builds.

use std::fs;
use std::process::Command;

use anyhow::Result;
use testbed::binaries::{ensure_built, go_program, kubernetes_version};

#[test]
fn the_api_server_is_of_the_pinned_version() -> Result<()> {
    // A folder given by KUBEBUILDER_ASSETS may hold any version.
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        let output = Command::new(ensure_built()?.kube_apiserver).arg("--version").output()?;
        assert_eq!(String::from_utf8(output.stdout)?.trim(), format!("Kubernetes v{}", kubernetes_version()?));
    }
    Ok(())
}

#[test]
fn helper_programs_are_built_once() -> Result<()> {
    let program = go_program("yamlref")?;
    let built = fs::metadata(&program)?.modified()?;
    assert_eq!(go_program("yamlref")?, program);
    assert_eq!(fs::metadata(&program)?.modified()?, built);
    assert!(go_program("no-such-program").is_err());
    Ok(())
}
