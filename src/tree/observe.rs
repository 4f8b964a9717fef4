//! An observer of the layers as they are applied: what each adds and takes away, and the life of one path.
//!
//! A tree without an observer pays one comparison with `None` for each entry and each inode that goes.

use super::life::{Cause, LifeRecorder, Step};
use super::{InodeId, LayerId, Node, Tree};
use crate::cancel::Cancel;
use crate::error::Result;

/// The effects of a layer on the tree: additions, and removals from the layers below it. Bytes are the sizes of files, holes
/// included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LayerUsage {
    /// The bytes of the files that it adds.
    pub added_bytes: u64,
    /// The bytes of files of lower layers that its entries replace.
    pub overridden_bytes: u64,
    /// The bytes of files of lower layers that its markers hide.
    pub hidden_bytes: u64,
    /// The bytes of its own files that it or a layer above replaces or hides.
    pub wasted_bytes: u64,
    /// The number of opaque markers.
    pub opaque: u64,
    /// The number of markers that hide nothing.
    pub idle_whiteouts: u64,
    /// The number of paths that it writes again.
    pub duplicates: u64,
}

/// An observer of layers.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    layers: Vec<LayerUsage>,
    /// The layer that made each inode, by number.
    origins: Vec<u16>,
    /// True while markers take effect.
    hides: bool,
    /// The number of names that markers removed or reduced.
    removed: u64,
    life: Option<LifeRecorder>,
}

impl Observer {
    /// Returns an observer that also records the life of a path: its names from the root downwards.
    pub fn of_path(names: Vec<Vec<u8>>) -> Self {
        Self { life: Some(LifeRecorder::new(names)), ..Self::default() }
    }

    /// Returns what each layer adds and takes away.
    pub fn layers(&self) -> &[LayerUsage] {
        &self.layers
    }

    /// Returns the life of the path, if one was recorded.
    pub fn into_life(self) -> Vec<Step> {
        self.life.map(LifeRecorder::into_steps).unwrap_or_default()
    }

    fn layer(&mut self) -> Option<&mut LayerUsage> {
        self.layers.last_mut()
    }
}

impl Tree {
    /// Sets the observer.
    pub(crate) fn with_observer(self, observer: Option<Observer>) -> Self {
        Self { observer: observer.map(Box::new), ..self }
    }

    /// Takes the observer, which then sees nothing more.
    pub(crate) fn take_observer(&mut self) -> Option<Observer> {
        self.observer.take().map(|observer| *observer)
    }

    /// Calls the recorder of a path's life, if there is one.
    fn live(&mut self, record: impl FnOnce(&mut LifeRecorder, &Self)) {
        if self.observer.as_ref().is_none_or(|observer| observer.life.is_none()) {
            return;
        }
        let Some(mut observer) = self.observer.take() else { return };
        if let Some(life) = &mut observer.life {
            record(life, self);
        }
        self.observer = Some(observer);
    }

    pub(super) fn observe_begin(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer.layers.push(LayerUsage::default());
            observer.hides = false;
        }
        self.live(LifeRecorder::begin);
    }

    /// Observes the end of a layer.
    ///
    /// # Errors
    ///
    /// The run was cancelled.
    pub(crate) fn observe_end(&mut self, layer: LayerId, cancel: &Cancel) -> Result<()> {
        let mut result = Ok(());
        self.live(|life, tree| result = life.end(tree, layer, cancel));
        result
    }

    pub(super) fn observe_entry(&mut self, directory: InodeId, name: &[u8], is_directory: bool, is_again: bool) {
        if self.observer.is_none() {
            return;
        }
        if let Some(layer) = self.observer.as_mut().and_then(|observer| observer.layer()) {
            layer.duplicates += u64::from(is_again);
        }
        self.live(|life, tree| life.entry(tree, directory, name, is_directory));
    }

    pub(super) fn observe_root(&mut self) {
        self.live(|life, _| life.root_entry());
    }

    pub(super) fn observe_implied(&mut self, parent: InodeId, name: &[u8]) {
        self.live(|life, tree| life.touch_own(tree, parent, name, Cause::Implied));
    }

    /// Observes a marker for a name of a directory, or for all of its names, and whether there is anything for it.
    pub(super) fn observe_marker(&mut self, directory: InodeId, name: Option<&[u8]>, finds: bool) {
        if self.observer.is_none() {
            return;
        }
        if let Some(layer) = self.observer.as_mut().and_then(|observer| observer.layer()) {
            layer.opaque += u64::from(name.is_none());
            layer.idle_whiteouts += u64::from(!finds);
        }
        self.live(|life, tree| life.marker(tree, directory, name));
    }

    /// Observes a marker whose directory does not exist.
    pub(super) fn observe_lost_marker(&mut self, is_opaque: bool) {
        if let Some(layer) = self.observer.as_mut().and_then(|observer| observer.layer()) {
            layer.opaque += u64::from(is_opaque);
            layer.idle_whiteouts += 1;
        }
    }

    /// Begins the effect of a marker.
    pub(super) fn observe_hiding(&mut self) {
        if let Some(observer) = &mut self.observer {
            (observer.hides, observer.removed) = (true, 0);
        }
    }

    /// Ends the effect of a marker.
    pub(super) fn observe_hidden(&mut self) {
        if let Some(observer) = &mut self.observer
            && observer.removed == 0
            && let Some(layer) = observer.layer()
        {
            layer.idle_whiteouts += 1;
        }
    }

    pub(super) fn observe_removal(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer.removed += 1;
        }
    }

    pub(super) fn observe_made(&mut self, id: InodeId) {
        if self.observer.is_none() {
            return;
        }
        let bytes = self.file_bytes(id);
        let Some(observer) = &mut self.observer else { return };
        let layer = u16::try_from(observer.layers.len().saturating_sub(1)).unwrap_or(u16::MAX);
        if observer.origins.len() <= id.index() {
            observer.origins.resize(id.index() + 1, 0);
        }
        observer.origins[id.index()] = layer;
        if let Some(layer) = observer.layer() {
            layer.added_bytes = layer.added_bytes.saturating_add(bytes);
        }
    }

    pub(super) fn observe_freed(&mut self, id: InodeId) {
        if self.observer.is_none() {
            return;
        }
        let bytes = self.file_bytes(id);
        let Some(observer) = &mut self.observer else { return };
        let origin = observer.origins.get(id.index()).copied().map_or(0, usize::from);
        let is_lower = origin + 1 < observer.layers.len();
        let hides = observer.hides;
        if let Some(origin) = observer.layers.get_mut(origin) {
            origin.wasted_bytes = origin.wasted_bytes.saturating_add(bytes);
        }
        if let Some(layer) = observer.layer().filter(|_| is_lower) {
            let sum = if hides { &mut layer.hidden_bytes } else { &mut layer.overridden_bytes };
            *sum = sum.saturating_add(bytes);
        }
    }

    fn file_bytes(&self, id: InodeId) -> u64 {
        match self.inodes.get(id.0).map(|inode| &inode.node) {
            Some(Node::File(content)) => content.size(),
            _ => 0,
        }
    }
}
