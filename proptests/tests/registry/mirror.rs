//! Mirrors: asked first, believed no more than a registry, and given no login that is the registry's.

use crate::day::Day;
use crate::origin::{ANY, Auth, Fault, Kind, NONE, On, Plan, Registry};
use crate::sample::sample;
use crate::support::stderr;

/// Starts a mirror that has the same image, and returns it with the flags that name it.
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
fn a_mirror_that_has_the_image_is_all_that_is_asked() {
    let day = Day::new("a mirror", Plan::new());
    let (mirror, flags) = mirror(&day, Plan::new());
    day.succeeds(&pull(&day, &flags));
    assert_eq!(day.registry.log().len(), 0);
    assert_eq!(mirror.log().blobs().len(), sample().layers.len() + 1);
}

#[test]
fn what_a_mirror_cannot_give_comes_from_the_registry() {
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
fn a_login_given_by_hand_goes_to_no_mirror() {
    let day = Day::new("a mirror that wants a login", Plan::new().auth(Auth::basic()));
    let (mirror, mut flags) = mirror(&day, Plan::new().auth(Auth::basic()));
    flags.extend(["--creds".to_owned(), "user:hunter2".to_owned()]);
    day.succeeds(&pull(&day, &flags));
    assert_eq!(mirror.log().with_secrets().len(), 0);
    assert!(day.registry.log().kind(Kind::Manifest).with_secrets().len() > 0);
}
