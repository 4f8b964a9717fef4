//! Builds an image in an asynchronous service, prints its progress, and cancels it after a number of seconds.
//!
//!     cargo run --example build_in_async_service -- oci:fixtures/layered:latest rootfs.ext4 30

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use planish::progress::{Progress, Stage};
use planish::{Builder, Cancel, ErrorKind, Image, Signal};

/// Prints a line for each stage.
struct Lines;

impl Progress for Lines {
    fn begin(&self, stage: Stage, _: Option<u64>) {
        println!("{} ...", stage.text());
    }
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(output), Some(seconds)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: build_in_async_service SOURCE OUTPUT SECONDS".into());
    };
    let limit = Duration::from_secs_f64(seconds.parse()?);
    let cancel = Cancel::default();
    let options = Image::options().platform("linux/amd64".parse()?).progress(Arc::new(Lines)).cancel(cancel.clone());

    // A build computes and waits for disks: it belongs on a thread that may block.
    let mut build = tokio::task::spawn_blocking(move || {
        let image = options.open(&*source)?;
        Builder::new(image).replace(true).build(&output)
    });
    let result = tokio::select! {
        result = &mut build => result?,
        () = tokio::time::sleep(limit) => {
            cancel.raise(Signal::Terminate);
            build.await?
        }
    };
    match result {
        Ok(report) => {
            println!(
                "{}: {} bytes, equal to {}",
                report.filesystem.path, report.filesystem.bytes, report.config_digest
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if matches!(error.kind(), ErrorKind::Cancelled(_)) => {
            println!("cancelled after {seconds} seconds; the output is as it was");
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}
