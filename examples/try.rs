use planish::{build::*, source::*, *};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let o = BuildOptions {
        platform: None,
        plan: Default::default(),
        implied_mtime: 0,
        work_dir: a.get(3).map(Into::into),
        force: true,
        strict: false,
        verify: true,
        keep_selinux: false,
        jobs: 2,
        limits: Limits::default(),
        search_path: "/usr/bin".into(),
    };
    match build(&SourceName(a[1].clone().into()), a[2].as_ref(), &o, &planish::progress::Silent, &Cancel::default()) {
        Ok(r) => println!("{}", serde_json::to_string_pretty(&r).unwrap()),
        Err(e) => {
            println!("{e}: {e:?}");
            std::process::exit(e.fault().exit_code().into())
        }
    }
}
