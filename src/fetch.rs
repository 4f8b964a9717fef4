//! Gets the layers' bytes in parallel, in order, and hands each over when it is here.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cancel::{Cancel, Signal};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::read_at::FileSlice;
use crate::source::{LayerBlob, LayerData, Supply};

/// The bytes of an image's layers, of which some are on their way.
#[derive(Debug)]
pub struct Fetches<'a> {
    queue: Mutex<VecDeque<Job<'a>>>,
    arrivals: Vec<Arrival<'a>>,
    failure: Mutex<Option<Error>>,
    stop: Cancel,
}

#[derive(Debug)]
struct Job<'a> {
    supply: &'a dyn Supply,
    done: Sender<Result<FileSlice>>,
}

#[derive(Debug)]
enum Arrival<'a> {
    Here(&'a FileSlice),
    Awaited(Mutex<Receiver<Result<FileSlice>>>),
}

impl<'a> Fetches<'a> {
    /// Prepares to fetch what is not here. `cancel` stops it, as the first failure does.
    #[must_use]
    pub fn of(layers: &'a [LayerBlob], cancel: &Cancel) -> Self {
        let mut queue = VecDeque::new();
        let arrivals = layers.iter().map(|layer| match &layer.data {
            LayerData::Here(slice) => Arrival::Here(slice),
            LayerData::There(supply) => {
                let (done, arrival) = mpsc::channel();
                queue.push_back(Job { supply: &**supply, done });
                Arrival::Awaited(Mutex::new(arrival))
            }
        });
        let arrivals = arrivals.collect();
        Self { queue: Mutex::new(queue), arrivals, failure: Mutex::default(), stop: cancel.part() }
    }

    /// Returns how many threads have something to do, at most `wanted`.
    #[must_use]
    pub fn workers(&self, wanted: usize) -> usize {
        wanted.max(1).min(lock(&self.queue).len())
    }

    /// Fetches what nobody fetches yet, until nothing is left. Several threads may do so.
    pub fn work(&self, progress: &dyn Progress) {
        while let Some(Job { supply, done }) = self.next() {
            let fetched = supply.fetch(progress, &self.stop).map_err(|error| self.fail(error));
            // Nobody listens any more when another layer failed.
            let _ = done.send(fetched);
        }
    }

    fn next(&self) -> Option<Job<'a>> {
        lock(&self.queue).pop_front()
    }

    /// Waits for a layer's bytes; `index` counts from 0.
    ///
    /// # Errors
    ///
    /// They cannot be had, or another layer's cannot: then [`Self::failure`] says why.
    pub fn take(&self, index: usize) -> Result<FileSlice> {
        match &self.arrivals[index] {
            Arrival::Here(slice) => Ok((*slice).clone()),
            Arrival::Awaited(arrival) => {
                let arrived = lock(arrival).recv();
                arrived.unwrap_or_else(|_| Err(ErrorKind::Cancelled(Signal::Terminate).into()))
            }
        }
    }

    /// Returns what stops fetches.
    #[must_use]
    pub fn stop(&self) -> &Cancel {
        &self.stop
    }

    /// Stops what is still on its way, and fetches nothing more.
    pub fn give_up(&self) {
        self.stop.raise(Signal::Terminate);
        lock(&self.queue).clear();
    }

    /// Returns the first failure that was not a stop.
    pub fn failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    /// Stops the others, and returns what its own receiver is told in place of the failure.
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
