//! Proxies: those of the environment are used, except for excluded hosts and this machine.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::TcpListener;

use crate::registry::day::Day;
use crate::support::registry::Plan;

/// Runs a pull with a proxy that refuses all requests, and returns the first line of each request.
fn requests(source: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let day = Day::new("a proxy", Plan::new());
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://user:hunter2@{}", proxy.local_addr().unwrap());
    let source = source.replace("LOOPBACK", &day.registry.host());
    let mut command = day.pull_command(&source, &["--retry", "1", "--idle-timeout", "3"]);
    for (name, value) in variables {
        command.env(name, value.replace("PROXY", &address));
    }
    let mut child = command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    loop {
        match proxy.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                let mut line = String::new();
                BufReader::new(stream).read_line(&mut line).unwrap();
                lines.push(line.trim_end().to_owned());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
    day.says_nothing_secret(&child.wait_with_output().unwrap());
    lines
}

#[test]
fn each_scheme_has_its_proxy_variable() {
    let https = ["CONNECT registry.invalid:443 HTTP/1.1"];
    assert_eq!(requests("docker://registry.invalid/x", &[("HTTPS_PROXY", "PROXY")]), https);
    assert_eq!(requests("docker://registry.invalid/x", &[("https_proxy", "PROXY")]), https);
    assert_eq!(requests("docker://registry.invalid/x", &[("ALL_PROXY", "PROXY")]), https);
    assert_eq!(requests("docker://registry.invalid/x", &[("http_proxy", "PROXY")]), [""; 0]);
}

#[test]
fn no_proxy_hosts_and_loopback_are_contacted_directly() {
    let excepted = [("HTTPS_PROXY", "PROXY"), ("NO_PROXY", "example.com,.invalid")];
    assert_eq!(requests("docker://registry.invalid/x", &excepted), [""; 0]);
    assert_eq!(requests("docker://LOOPBACK/img", &[("http_proxy", "PROXY"), ("ALL_PROXY", "PROXY")]), [""; 0]);
}

#[test]
fn an_unreachable_proxy_is_named_and_an_invalid_one_refused() {
    let day = Day::new("no proxy", Plan::new());
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pull = |proxy: &str| {
        let mut command = day.pull_command("docker://registry.invalid/x", &["--retry", "1"]);
        day.run(command.env("HTTPS_PROXY", proxy))
    };
    let named = format!("the proxy {address} cannot be reached: Connection refused");
    let output = pull(&format!("http://user:hunter2@{address}"));
    day.fails(&output, 3, &[&named]);
    day.says_nothing_secret(&output);
    day.fails(&pull("::::"), 2, &["the environment's HTTPS_PROXY is no URL of an HTTP proxy"]);
}
