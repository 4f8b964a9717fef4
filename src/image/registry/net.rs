//! The runtime of requests, and name lookups.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tower_service::Service;

use crate::error::{Error, Result};
use crate::workers;

/// A runtime that its own thread drives, so that connections are served while no caller waits; if no thread can be
/// started, the waiting callers drive it.
#[derive(Debug)]
pub(super) enum Net {
    /// The thread ends when the sender is dropped.
    Driven(Handle, #[expect(dead_code, reason = "its end is what tells")] oneshot::Sender<()>),
    /// `None` only during the drop.
    Own(Option<Runtime>),
}

impl Net {
    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// No descriptors are available for it.
    pub fn start() -> Result<Self> {
        let (driver, own) = (runtime()?, runtime);
        let handle = driver.handle().clone();
        let (keep, ended) = oneshot::channel();
        let drive = move || {
            // An error ends it, too.
            let _ = driver.block_on(ended);
            driver.shutdown_background();
        };
        match workers::spawn(|builder| builder.name("planish-net".into()).spawn(drive)) {
            Ok(_) => Ok(Self::Driven(handle, keep)),
            // A runtime cannot be driven from inside another one.
            Err(error) if Handle::try_current().is_ok() => Err(Error::io("start", "the network")(error)),
            Err(_) => Ok(Self::Own(Some(own()?))),
        }
    }

    /// Waits for a future that needs the network. Several threads may do so at a time.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::Driven(handle, _) => Some(drive(handle, work)),
            Self::Own(runtime) => runtime.as_ref().map(|runtime| runtime.block_on(work)),
        }
    }
}

/// Polls a future on this thread, woken by the runtime's own thread. Unlike [`Handle::block_on`], it may be called
/// inside another runtime: that runtime's thread blocks, as for a file.
fn drive<T>(handle: &Handle, work: impl Future<Output = T>) -> T {
    let _timers_and_sockets = handle.enter();
    // The budget of the other runtime's task must not delay this future.
    let mut work = pin!(tokio::task::unconstrained(work));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// Wakes a waiting thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // A pending name lookup does not delay the shutdown.
        if let Self::Own(own) = self
            && let Some(runtime) = own.take()
        {
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start", "the network"))
}

/// Looks up names, each on a thread of its own, or on the calling one if none can be started.
#[derive(Debug, Clone)]
pub(super) struct Lookup;

type Addresses = std::vec::IntoIter<SocketAddr>;

impl Service<Name> for Lookup {
    type Response = Addresses;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Addresses>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, answer) = oneshot::channel();
        let host = name.as_str().to_owned();
        let answering = move || drop(found.send(look(&host)));
        let started = workers::spawn(|builder| builder.name("planish-dns".into()).spawn(answering));
        Box::pin(async move {
            let addresses = match started {
                Ok(_) => answer.await.unwrap_or_else(|_| Err(io::Error::other("the lookup ended"))),
                Err(_) => look(name.as_str()),
            };
            addresses.map(Vec::into_iter)
        })
    }
}

fn look(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_works_with_and_without_a_thread() {
        for net in [Net::start().unwrap(), Net::Own(Some(runtime().unwrap()))] {
            thread::scope(|scope| {
                let context = || {
                    net.wait(async {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        let name: Name = "localhost".parse().unwrap();
                        Lookup.call(name).await.unwrap().all(|address| address.ip().is_loopback())
                    })
                };
                let resource: Vec<_> = (0..3).map(|_| scope.spawn(context)).collect();
                assert!(resource.into_iter().all(|thread| thread.join().unwrap() == Some(true)));
            });
        }
    }
}
