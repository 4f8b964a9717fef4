//! Fetches the bytes of layers in parallel and returns them in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::cancel::Cancel;
use crate::error::Signal;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{BlobSource, LayerBlob, LayerData};
use crate::progress::Progress;
use crate::read_at::FileSlice;
use crate::workers;

/// The bytes of an image's layers, some of them being fetched.
#[derive(Debug)]
pub struct Fetches<'a> {
    queue: Mutex<VecDeque<Job<'a>>>,
    arrivals: Vec<Arrival<'a>>,
    failure: Mutex<Option<Error>>,
    stop: Cancel,
    /// True if no thread fetches: the caller of `take` does.
    on_demand: AtomicBool,
}

#[derive(Debug)]
struct Job<'a> {
    supply: &'a dyn BlobSource,
    done: Sender<Result<FileSlice>>,
}

#[derive(Debug)]
enum Arrival<'a> {
    Here(&'a FileSlice),
    Awaited(Mutex<Receiver<Result<FileSlice>>>),
    /// Fetched only if it is taken.
    Spared(&'a dyn BlobSource),
}

impl<'a> Fetches<'a> {
    /// Prepares to fetch the layers that are not local, except those that `is_spared` says are hardly needed. `cancel` stops
    /// it, as does the first failure.
    #[must_use]
    pub fn of(layers: &'a [LayerBlob], is_spared: &dyn Fn(&LayerBlob) -> bool, cancel: &Cancel) -> Self {
        let mut queue = VecDeque::new();
        let arrivals = layers.iter().map(|layer| match &layer.data {
            LayerData::Local(slice) => Arrival::Here(slice),
            LayerData::Remote(supply) if is_spared(layer) => Arrival::Spared(&**supply),
            LayerData::Remote(supply) => {
                let (done, arrival) = mpsc::channel();
                queue.push_back(Job { supply: &**supply, done });
                Arrival::Awaited(Mutex::new(arrival))
            }
        });
        let arrivals = arrivals.collect();
        Self {
            queue: Mutex::new(queue),
            arrivals,
            failure: Mutex::default(),
            stop: cancel.part(),
            on_demand: AtomicBool::new(true),
        }
    }

    /// Starts to fetch on up to `threads` threads. Without threads, [`Self::take`] fetches.
    pub fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        threads: usize,
        progress: &'scope dyn Progress,
    ) {
        let useful = threads.max(1).min(lock(&self.queue).len());
        let work = || while self.fetch_next(progress) {};
        let started = (0..useful).map_while(|_| workers::start(scope, work)).count();
        self.on_demand.store(started == 0, Ordering::Relaxed);
    }

    /// Fetches the next layer of the queue; returns false if the queue is empty.
    fn fetch_next(&self, progress: &dyn Progress) -> bool {
        let Some(Job { supply, done }) = lock(&self.queue).pop_front() else { return false };
        let fetched = supply.fetch(progress, &self.stop).map_err(|error| self.fail(error));
        // The receiver is dropped if another layer failed.
        let _ = done.send(fetched);
        true
    }

    /// Returns true if a layer is fetched only if it is taken; `index` counts from 0.
    #[must_use]
    pub fn is_spared(&self, index: usize) -> bool {
        matches!(self.arrivals[index], Arrival::Spared(_))
    }

    /// Waits for a layer's bytes; `index` counts from 0. Only a layer that is local or spared is taken again.
    ///
    /// # Errors
    ///
    /// The bytes cannot be fetched, or another layer's cannot: [`Self::failure`] then returns the reason.
    pub fn take(&self, index: usize, progress: &dyn Progress) -> Result<FileSlice> {
        let arrival = match &self.arrivals[index] {
            Arrival::Here(slice) => return Ok((*slice).clone()),
            Arrival::Spared(supply) => return supply.fetch(progress, &self.stop).map_err(|error| self.fail(error)),
            Arrival::Awaited(arrival) => lock(arrival),
        };
        let on_demand = self.on_demand.load(Ordering::Relaxed);
        let arrived = loop {
            match arrival.try_recv() {
                Err(TryRecvError::Empty) if on_demand && self.fetch_next(progress) => {}
                Err(_) => break arrival.recv(),
                Ok(arrived) => break Ok(arrived),
            }
        };
        arrived.unwrap_or_else(|_| Err(ErrorKind::Cancelled(Signal::Terminate).into()))
    }

    /// Returns the flag that stops the downloads.
    #[must_use]
    pub fn stop(&self) -> &Cancel {
        &self.stop
    }

    /// Stops the downloads in progress, and starts no more.
    pub fn give_up(&self) {
        self.stop.raise(Signal::Terminate);
        lock(&self.queue).clear();
    }

    /// Returns the first failure that is not a cancellation.
    pub fn failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    /// Stops the other downloads, and returns the error for this layer's receiver.
    fn fail(&self, error: Error) -> Error {
        let stopped = matches!(error.kind(), ErrorKind::Cancelled(_));
        if stopped {
            return error;
        }
        lock(&self.failure).get_or_insert(error);
        self.give_up();
        ErrorKind::Cancelled(Signal::Terminate).into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
