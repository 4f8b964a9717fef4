//! Rows of the tables: a fault, the expected result, and its run.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::registry::day::Day;
use crate::registry::documents::Documents;
use crate::support::registry::{Auth, Fault, Log, On, Plan};

/// The number of rows that run at the same time.
const TOGETHER: usize = 4;

/// The observations of a run.
pub struct Seen<'a> {
    pub day: &'a Day,
    pub output: &'a Output,
    pub log: Log,
    pub took: Duration,
}

type Write = Box<dyn Fn(&Path) + Send>;
type Check = Box<dyn Fn(&Seen<'_>) + Send>;

/// One row: rules, flags and the expected result.
pub struct Row {
    id: &'static str,
    what: &'static str,
    plan: Plan,
    image: Option<Write>,
    reference: Option<String>,
    flags: Vec<String>,
    login: bool,
    builds: bool,
    code: i32,
    says: Vec<String>,
    checks: Vec<Check>,
}

/// A row without faults, until rules are added.
pub fn row(id: &'static str, what: &'static str) -> Row {
    Row {
        id,
        what,
        plan: Plan::new(),
        image: None,
        reference: None,
        flags: Vec::new(),
        login: false,
        builds: false,
        code: 0,
        says: Vec::new(),
        checks: Vec::new(),
    }
}

impl Row {
    pub fn rule(self, on: On, fault: Fault) -> Self {
        Self { plan: self.plan.rule(on, fault), ..self }
    }

    pub fn plan(self, plan: Plan) -> Self {
        Self { plan, ..self }
    }

    /// The registry requires a login, and the user has it.
    pub fn login(self, auth: Auth) -> Self {
        Self { plan: self.plan.auth(auth), login: true, ..self }
    }

    /// Sets the image; the default is the sample.
    pub fn image(self, write: impl Fn(&Path) + Send + 'static) -> Self {
        Self { image: Some(Box::new(write)), ..self }
    }

    /// Sets the image as documents.
    pub fn documents(self, make: impl Fn(Documents) -> Documents + Send + 'static) -> Self {
        self.image(move |directory| make(Documents::new()).write(directory))
    }

    /// Sets the tag or digest in the repository; the default is `:latest`.
    pub fn reference(self, reference: impl Into<String>) -> Self {
        Self { reference: Some(reference.into()), ..self }
    }

    pub fn flags(self, flags: &[&str]) -> Self {
        Self { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..self }
    }

    /// Expects a filesystem that equals the sample's.
    pub fn builds(self) -> Self {
        Self { builds: true, ..self }
    }

    /// Expects an exit code and an error line that contains each text.
    pub fn fails<'a>(self, code: i32, says: impl IntoIterator<Item = &'a str>) -> Self {
        Self { code, says: says.into_iter().map(str::to_owned).collect(), ..self }
    }

    pub fn check(mut self, check: impl Fn(&Seen<'_>) + Send + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Expects a number of GETs of a blob or a manifest by digest.
    pub fn gets(self, digest: &str, count: RangeInclusive<usize>) -> Self {
        let digest = digest.to_owned();
        self.check(move |seen| {
            let found = seen.log.gets(&digest).len();
            assert!(count.contains(&found), "{found} GETs of {digest}, {count:?} allowed");
        })
    }

    pub fn within(self, limit: Duration) -> Self {
        self.check(move |seen| assert!(seen.took < limit, "took {:?}", seen.took))
    }

    /// Runs the row. A failing row is built over an older output, since that takes no longer.
    fn run(self) {
        let day = match &self.image {
            None => Day::new(self.id, self.plan),
            Some(write) => Day::of(self.id, self.plan, write),
        };
        let mut flags = self.flags;
        if self.login {
            flags.extend(["--authfile".to_owned(), day.authfile(&day.registry.host(), "user", "hunter2")]);
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let source = day.reference(&format!("img{}", self.reference.as_deref().unwrap_or(":latest")));
        let started = Instant::now();
        let output = match self.code != 0 || self.builds {
            true => day.run(&mut day.build_command(&source, "out.ext4", &flags)),
            false => day.run(&mut day.pull_command(&source, &flags)),
        };
        let took = started.elapsed();
        match self.code {
            0 => day.succeeds(&output),
            code => {
                let says: Vec<&str> = self.says.iter().map(String::as_str).collect();
                day.fails(&output, code, &says);
            }
        }
        if self.builds && self.code == 0 {
            day.equals_oracle("out.ext4");
        }
        let seen = Seen { day: &day, output: &output, log: day.registry.log(), took };
        for check in &self.checks {
            check(&seen);
        }
        day.recovers(&[]);
    }
}

/// Runs rows, several at a time, and reports the faults of all of them.
#[track_caller]
pub fn run(rows: impl IntoIterator<Item = Row>) {
    let rows: Mutex<VecDeque<Row>> = Mutex::new(rows.into_iter().collect());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let Some(row) = rows.lock().unwrap().pop_front() else { return };
                    let name = format!("{} {}", row.id, row.what);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| row.run())) {
                        wrong.lock().unwrap().push(format!("{name}: {}", text(&*panic)));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without a text",
    }
}
