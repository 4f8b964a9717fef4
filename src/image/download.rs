//! Fetches the bytes of layers in parallel, and says which layer can be decoded next.
//!
//! A layer is decoded while it arrives. Who decodes it waits for bytes then, and counts as idle: another layer that is
//! complete is decoded in the meantime.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::cancel::Cancel;
use crate::error::Signal;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{BlobSource, LayerBlob, LayerData};
use crate::progress::Progress;
use crate::read_at::{FileSlice, WaitObserver};
use crate::workers;

/// The bytes of an image's layers, some of them being fetched.
#[derive(Debug)]
pub struct Fetches<'a> {
    sources: Vec<Option<&'a dyn BlobSource>>,
    board: Arc<Board>,
    failure: Mutex<Option<Error>>,
    stop: Cancel,
    /// True if no thread fetches: who waits for a layer does.
    on_demand: AtomicBool,
}

/// The state of all layers.
#[derive(Debug)]
struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    layers: Vec<LayerState>,
    /// The layers that are not fetched yet, by index.
    queue: VecDeque<usize>,
    /// The number of layers that are being decoded.
    decoding: usize,
    /// The number of them that wait for bytes.
    idle: usize,
}

#[derive(Debug)]
struct LayerState {
    bytes: u64,
    arrival: Arrival,
    /// True if the layer was given to a decoder.
    is_taken: bool,
}

/// The bytes of a layer, in the order of what happens to them.
#[derive(Debug)]
enum Arrival {
    /// They are fetched only if they are taken.
    Spared,
    Awaited,
    Growing(FileSlice),
    Complete(FileSlice),
    /// They cannot be fetched: [`Fetches::failure`] has the reason.
    Failed,
}

impl Arrival {
    /// Returns true if a decoder need not wait for bytes.
    fn is_ready(&self) -> bool {
        matches!(self, Self::Spared | Self::Complete(_))
    }
}

/// A layer to decode. Its decoder is at work until this is dropped.
#[derive(Debug)]
pub struct DecodeTurn<'a> {
    /// The index of the layer, from 0.
    pub index: usize,
    board: &'a Board,
}

impl<'a> Fetches<'a> {
    /// Prepares to fetch the layers that are not local, the largest first, except those that `is_spared` says are hardly
    /// needed. `cancel` stops it, as does the first failure.
    #[must_use]
    pub fn of(layers: &'a [LayerBlob], is_spared: &dyn Fn(&LayerBlob) -> bool, cancel: &Cancel) -> Self {
        let sources = layers.iter().map(|layer| source(&layer.data)).collect();
        let states = layers.iter().map(|layer| LayerState {
            bytes: layer.data.size(),
            arrival: match &layer.data {
                LayerData::Local(slice) => Arrival::Complete(slice.clone()),
                LayerData::Remote(_) if is_spared(layer) => Arrival::Spared,
                LayerData::Remote(_) => Arrival::Awaited,
            },
            is_taken: false,
        });
        let layers: Vec<LayerState> = states.collect();
        let is_awaited = |index: &usize| matches!(layers[*index].arrival, Arrival::Awaited);
        let mut queue: Vec<usize> = (0..layers.len()).filter(is_awaited).collect();
        queue.sort_by_key(|index| Reverse(layers[*index].bytes));
        let state = State { layers, queue: queue.into(), decoding: 0, idle: 0 };
        Self {
            sources,
            board: Arc::new(Board { state: Mutex::new(state), changed: Condvar::new() }),
            failure: Mutex::default(),
            stop: cancel.part(),
            on_demand: AtomicBool::new(true),
        }
    }

    /// Returns the number of decoders that are useful if `jobs` may work at a time: others wait for bytes.
    #[must_use]
    pub fn decoders(&self, jobs: usize) -> usize {
        let all = self.sources.len();
        if self.sources.iter().any(Option::is_some) { jobs.saturating_mul(2).min(all) } else { jobs.min(all) }
    }

    /// Starts to fetch on up to `threads` threads. Without threads, who waits for a layer fetches.
    pub fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        threads: usize,
        progress: &'scope dyn Progress,
    ) {
        let useful = threads.max(1).min(self.board.lock().queue.len());
        let work = || while self.fetch_next(progress) {};
        let started = (0..useful).map_while(|_| workers::start(scope, work)).count();
        self.on_demand.store(started == 0, Ordering::Relaxed);
    }

    /// Fetches the next layer of the queue; returns false if the queue is empty.
    fn fetch_next(&self, progress: &dyn Progress) -> bool {
        let Some(index) = self.board.lock().queue.pop_front() else { return false };
        self.fetch(index, progress);
        true
    }

    fn fetch(&self, index: usize, progress: &dyn Progress) {
        // A panic of the source must not leave others waiting.
        let landing = Landing { board: &self.board, index };
        let arriving = |slice| landing.set(Arrival::Growing(slice));
        match self.sources[index].map(|source| source.fetch(&arriving, progress, &self.stop)) {
            Some(Ok(slice)) => landing.set(Arrival::Complete(slice)),
            Some(Err(error)) => self.fail(error),
            None => {}
        }
    }

    /// Waits for a layer that can be decoded, and returns its turn and its bytes, which may be a growing file, or absent for a
    /// spared layer; `None` if all layers have had their turn. `jobs` decoders may work at a time.
    ///
    /// A complete layer comes before one that arrives, and then the larger one.
    pub fn next(&self, jobs: usize, progress: &dyn Progress) -> Option<(DecodeTurn<'_>, Result<Option<FileSlice>>)> {
        let mut state = self.board.lock();
        loop {
            if state.layers.iter().all(|layer| layer.is_taken) {
                return None;
            }
            if let Some(index) = state.choose(jobs) {
                state.decoding += 1;
                let layer = &mut state.layers[index];
                layer.is_taken = true;
                let data = match &layer.arrival {
                    Arrival::Complete(slice) => Ok(Some(slice.clone())),
                    Arrival::Growing(slice) => Ok(Some(slice.clone().observed_by(Arc::<Board>::clone(&self.board)))),
                    Arrival::Spared => Ok(None),
                    Arrival::Awaited | Arrival::Failed => Err(self.stopped()),
                };
                return Some((DecodeTurn { index, board: &self.board }, data));
            }
            state = self.help_or_wait(state, progress);
        }
    }

    /// Waits for all of a layer's bytes; `index` counts from 0.
    ///
    /// # Errors
    ///
    /// The bytes cannot be fetched, or another layer's cannot: [`Self::failure`] then returns the reason.
    pub fn take(&self, index: usize, progress: &dyn Progress) -> Result<FileSlice> {
        let mut state = self.board.lock();
        loop {
            match &state.layers[index].arrival {
                Arrival::Complete(slice) => return Ok(slice.clone()),
                Arrival::Failed => return Err(self.stopped()),
                Arrival::Spared => {
                    state.layers[index].arrival = Arrival::Awaited;
                    drop(state);
                    self.fetch(index, progress);
                    state = self.board.lock();
                }
                Arrival::Awaited | Arrival::Growing(_) => state = self.help_or_wait(state, progress),
            }
        }
    }

    /// Waits like [`Self::take`] in a decoder's turn, which counts as idle meanwhile.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::take`].
    pub fn take_in(&self, turn: &DecodeTurn<'_>, progress: &dyn Progress) -> Result<FileSlice> {
        self.board.begin();
        let taken = self.take(turn.index, progress);
        self.board.end();
        taken
    }

    /// Waits until all layers are fetched, but for spared ones that nobody took.
    ///
    /// # Errors
    ///
    /// One cannot be fetched.
    pub fn finish(&self, progress: &dyn Progress) -> Result<()> {
        let is_spared = |index: &usize| matches!(self.board.lock().layers[*index].arrival, Arrival::Spared);
        let mut layers = (0..self.sources.len()).filter(|index| !is_spared(index));
        let finished = layers.try_for_each(|index| self.take(index, progress).map(drop));
        finished.map_err(|error| self.failure().unwrap_or(error))
    }

    /// Fetches the next layer if no thread does; else waits for a change.
    fn help_or_wait<'b>(&'b self, state: MutexGuard<'b, State>, progress: &dyn Progress) -> MutexGuard<'b, State> {
        if self.on_demand.load(Ordering::Relaxed) && !state.queue.is_empty() {
            drop(state);
            self.fetch_next(progress);
            return self.board.lock();
        }
        self.board.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the flag that stops the downloads.
    #[must_use]
    pub fn stop(&self) -> &Cancel {
        &self.stop
    }

    /// Stops the downloads in progress, and starts no more.
    pub fn give_up(&self) {
        self.stop.raise(Signal::Terminate);
        let mut state = self.board.lock();
        let State { layers, queue, .. } = &mut *state;
        queue.drain(..).for_each(|index| layers[index].arrival = Arrival::Failed);
        drop(state);
        self.board.changed.notify_all();
    }

    /// Returns the first failure that is not a cancellation.
    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records a failure, and stops the other downloads.
    fn fail(&self, error: Error) {
        if matches!(error.kind(), ErrorKind::Cancelled(_)) {
            return;
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.give_up();
    }

    /// Returns the error of a layer that is not fetched.
    fn stopped(&self) -> Error {
        self.stop.check().err().unwrap_or_else(|| ErrorKind::Cancelled(Signal::Terminate).into())
    }
}

fn source(data: &LayerData) -> Option<&dyn BlobSource> {
    match data {
        LayerData::Local(_) => None,
        LayerData::Remote(source) => Some(&**source),
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the layer to decode now, if there is one.
    fn choose(&self, jobs: usize) -> Option<usize> {
        let open = || self.layers.iter().enumerate().filter(|(_, layer)| !layer.is_taken);
        let largest = |is_it: fn(&Arrival) -> bool| {
            let fit = open().filter(|(_, layer)| is_it(&layer.arrival));
            fit.max_by_key(|(index, layer)| (layer.bytes, Reverse(*index))).map(|(index, _)| index)
        };
        let jobs = jobs.max(1);
        largest(|arrival| matches!(arrival, Arrival::Failed))
            .or_else(|| largest(Arrival::is_ready).filter(|_| self.working() < jobs))
            // A layer that arrives takes no more turns than there are jobs: most of the time it waits.
            .or_else(|| largest(|arrival| matches!(arrival, Arrival::Growing(_))).filter(|_| self.decoding < jobs))
    }

    fn working(&self) -> usize {
        self.decoding.saturating_sub(self.idle)
    }
}

impl WaitObserver for Board {
    fn begin(&self) {
        let mut state = self.lock();
        state.idle += 1;
        let has_work = state.layers.iter().any(|layer| !layer.is_taken && layer.arrival.is_ready());
        drop(state);
        if has_work {
            self.changed.notify_all();
        }
    }

    fn end(&self) {
        self.lock().idle -= 1;
    }
}

impl Drop for DecodeTurn<'_> {
    fn drop(&mut self) {
        self.board.lock().decoding -= 1;
        self.board.changed.notify_all();
    }
}

/// A layer that is being fetched; it has failed unless it is complete in the end.
struct Landing<'a> {
    board: &'a Board,
    index: usize,
}

impl Landing<'_> {
    fn set(&self, arrival: Arrival) {
        self.board.lock().layers[self.index].arrival = arrival;
        self.board.changed.notify_all();
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let is_complete = matches!(self.board.lock().layers[self.index].arrival, Arrival::Complete(_));
        if !is_complete {
            self.set(Arrival::Failed);
        }
    }
}
