//! Mirrors: contacted first, trusted no more than a registry, and never given the registry's login.

use crate::registry::day::Day;
use crate::registry::sample::sample;
use crate::support::registry::{ANY, Auth, Fault, Kind, NONE, On, Plan, Registry};
use crate::support::stderr;

/// Starts a mirror with the same image, and returns it with the flags that name it.
fn mirror(day: &Day, plan: Plan) -> (Registry, Vec<String>) {
    let layout = day.bench.shared("image");
    let mirror = Registry::start(&[("img", &layout), ("good", &layout)], plan);
    let flags = vec!["--registry-mirror".to_owned(), format!("{}={}", day.registry.host(), mirror.host())];
    (mirror, flags)
}

fn pull(day: &Day, flags: &[String]) -> std::process::Output {
    day.pull(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_mirror_with_the_image_serves_all_requests() {
    let day = Day::new("a mirror", Plan::new());
    let (mirror, flags) = mirror(&day, Plan::new());
    day.succeeds(&pull(&day, &flags));
    assert_eq!(day.registry.log().len(), 0);
    assert_eq!(mirror.log().blobs().len(), sample().layers.len() + 1);
}

#[test]
fn blobs_missing_on_a_mirror_come_from_the_registry() {
    let gone = Fault { status: Some(404), ..NONE };
    let wrong = Fault { flip_byte: Some(0), ..NONE };
    for (id, on, fault) in
        [("no tag", ANY, gone.clone()), ("no layer", On::layer(0), gone), ("a wrong layer", On::layer(0), wrong)]
    {
        let day = Day::new(id, Plan::new());
        let (mirror, flags) = mirror(&day, Plan::new().rule(on, fault));
        let output = pull(&day, &flags);
        day.succeeds(&output);
        let warning = format!("warning: {}: ", mirror.host());
        assert!(stderr(&output).lines().any(|line| line.starts_with(&warning)), "{id}: {}", stderr(&output));
        let blobs = day.registry.log().blobs().len();
        assert_eq!(blobs, if id == "no tag" { sample().layers.len() + 1 } else { 1 }, "{id}");
    }
}

#[test]
fn an_explicit_login_is_not_sent_to_a_mirror() {
    let day = Day::new("a mirror that wants a login", Plan::new().auth(Auth::basic()));
    let (mirror, mut flags) = mirror(&day, Plan::new().auth(Auth::basic()));
    flags.extend(["--creds".to_owned(), "user:hunter2".to_owned()]);
    day.succeeds(&pull(&day, &flags));
    assert_eq!(mirror.log().with_secrets().len(), 0);
    assert!(day.registry.log().kind(Kind::Manifest).with_secrets().len() > 0);
}
