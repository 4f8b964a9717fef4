//! Proxies: the environment's are asked, but not for the hosts that it excepts, nor for this machine.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::TcpListener;

use crate::day::Day;
use crate::origin::Plan;

/// Runs a pull with a proxy that refuses everybody, and returns the first line of each request that it got.
fn asked(source: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let day = Day::new("a proxy", Plan::new());
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://user:hunter2@{}", proxy.local_addr().unwrap());
    let source = source.replace("LOOPBACK", &day.registry.host());
    let mut command = day.pull_command(&source, &["--retries", "1", "--idle-timeout", "3"]);
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
fn a_proxy_is_asked_for_https_and_plain_http_each_by_its_variable() {
    let https = ["CONNECT registry.invalid:443 HTTP/1.1"];
    assert_eq!(asked("docker://registry.invalid/x", &[("HTTPS_PROXY", "PROXY")]), https);
    assert_eq!(asked("docker://registry.invalid/x", &[("https_proxy", "PROXY")]), https);
    assert_eq!(asked("docker://registry.invalid/x", &[("ALL_PROXY", "PROXY")]), https);
    assert_eq!(asked("docker://registry.invalid/x", &[("http_proxy", "PROXY")]), [""; 0]);
}

#[test]
fn excepted_hosts_and_this_machine_are_asked_directly() {
    let excepted = [("HTTPS_PROXY", "PROXY"), ("NO_PROXY", "example.com,.invalid")];
    assert_eq!(asked("docker://registry.invalid/x", &excepted), [""; 0]);
    assert_eq!(asked("docker://LOOPBACK/img", &[("http_proxy", "PROXY"), ("ALL_PROXY", "PROXY")]), [""; 0]);
}
