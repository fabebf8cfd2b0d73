//! The program as a process: what it says when it can't start. Kubernetes is in the whole-system tests.

use std::process::{Command, Output, Stdio};

fn fails(arguments: &[&str], code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kennet-operator"));
    command.env("KUBECONFIG", "/none/kubeconfig").env_remove("KUBERNETES_SERVICE_HOST");
    command.env_remove("KENNET_PROBES_PORT").env_remove("KENNET_METRICS_PORT").env_remove("KENNET_LOG_FORMAT");
    let Output { status, stderr, .. } =
        command.args(arguments).stdout(Stdio::null()).output().expect("the program runs");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("error: ") && !last.contains('\u{1b}'), "{said}");
    last
}

#[test]
fn a_port_that_is_taken_is_one_sentence_and_code_5() {
    let taken = std::net::TcpListener::bind("[::]:0").or_else(|_| std::net::TcpListener::bind("0.0.0.0:0"));
    let taken = taken.expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let said = [["--probes-port", &port, "--metrics-port", "0"], ["--probes-port", "0", "--metrics-port", &port]]
        .map(|arguments| fails(&arguments, 5).replace(&port, "PORT"));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn no_kubernetes_is_one_sentence_and_code_1() {
    insta::assert_snapshot!(fails(&["--probes-port", "0", "--metrics-port", "0"], 1));
}
