//! Each system call of a command fails once. After each run, exit code and files agree, and no other file is left.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod call;
mod scene;
mod tracer;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use call::Name;
use scene::Scene;
use tracer::{Fault, Whose};
use verdict::Good;

/// The time limit of a run, which takes a fraction of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of faults tried for a command; all of them if the environment requests it.
const SAMPLE: usize = 70;
const ALL: &str = "PLANISH_EVERY_CALL";

/// Lists every fault of a command.
fn every_fault(scene: &Scene, whose: Whose) -> (Good, Vec<Fault>) {
    scene.prepare();
    let run = tracer::run(&mut scene.command(), whose, None, PATIENCE);
    let good = Good::check(scene, &run);
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for call in &run.calls {
        let nth = counts.entry(call.number).or_default();
        let fault = |&error| Fault { number: call.number, nth: *nth, error };
        faults.extend(call::errors(*call).iter().map(fault));
        *nth += 1;
    }
    (good, faults)
}

/// Selects a part that is spread over all of them, the same part each time.
fn sample(faults: Vec<Fault>) -> Vec<Fault> {
    if std::env::var_os(ALL).is_some() {
        return faults;
    }
    let count = faults.len();
    // A step that is coprime to the length visits calls and errors evenly.
    let step = (count / SAMPLE).max(1) | 1;
    faults.into_iter().step_by(step).collect()
}

/// Lets calls fail, and lists the violations after each.
#[track_caller]
fn each_call_fails(scene: &Scene, whose: Whose) {
    let (good, faults) = every_fault(scene, whose);
    let all = faults.len();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_call: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let faults = sample(faults);
    for &fault in &faults {
        scene.prepare();
        let run = tracer::run(&mut scene.command(), whose, Some(fault), PATIENCE);
        let outcome = match (run.code, &run.failed) {
            (_, None) => "not met".to_owned(),
            (Some(code), _) => format!("exit code {code}"),
            (None, _) => "a signal".to_owned(),
        };
        let of_call: &mut BTreeMap<String, usize> = by_call.entry(Name(fault.number).to_string()).or_default();
        *of_call.entry(outcome.clone()).or_default() += 1;
        *outcomes.entry(outcome).or_default() += 1;
        let shown = format!("{} {} {:?}", Name(fault.number), fault.nth, fault.error);
        for text in verdict::faults(scene, &run, whose, fault, &good) {
            found.entry(text).or_default().push(shown.clone());
        }
    }
    println!("{}, {whose:?}: {} of {all} faults: {outcomes:?}", scene.name, faults.len());
    by_call.iter().for_each(|(call, outcomes)| println!("    {call}: {outcomes:?}"));
    let wrong = |(text, by): (&String, &Vec<String>)| format!("{text} ({}): {}", by.len(), by.join("; "));
    let wrong: Vec<String> = found.iter().map(wrong).collect();
    assert!(wrong.is_empty(), "{}, {whose:?}:\n{}", scene.name, wrong.join("\n"));
}

#[test]
fn each_call_of_a_build_with_e2fsprogs_fails() {
    each_call_fails(&Scene::build_e2fsprogs(), Whose::Own);
}

#[test]
fn each_call_of_the_programs_of_e2fsprogs_fails() {
    each_call_fails(&Scene::build_e2fsprogs(), Whose::Children);
}

#[test]
fn each_call_of_a_direct_build_fails() {
    each_call_fails(&Scene::build_direct(), Whose::Own);
}

#[test]
fn each_call_of_a_plan_fails() {
    each_call_fails(&Scene::plan(), Whose::Own);
}

#[test]
fn each_call_of_a_proof_fails() {
    each_call_fails(&Scene::verify(), Whose::Own);
}

#[test]
fn each_call_of_a_pull_fails() {
    each_call_fails(&Scene::pull(), Whose::Own);
}
