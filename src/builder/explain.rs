//! The life of one path through the layers of an image.

use serde::Serialize;

use crate::builder::image::Image;
use crate::builder::list::NameReport;
use crate::error::{Error, Place, Result};
use crate::image::history;
use crate::note::{Note, Notes};
use crate::path::{Escaped, ImagePath, PathFault};
use crate::tree::life::{Cause, LifeEvent, Step, Touch};
use crate::tree::observe::Observer;
use crate::tree::{Change, Tree};

/// The schema of a life in JSON.
const SCHEMA: &str = "planish.explain.v1";
/// The most notes about a path.
const NOTES: usize = 100;

/// The life of a path, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct LifeReport {
    /// The name and version of this form.
    pub schema: &'static str,
    /// The image reference, as given.
    pub source: String,
    /// The digest of the config.
    pub config_digest: crate::Digest,
    /// The platform of the image.
    pub platform: String,
    /// The path without symlinks among its parents, escaped, with a leading `/`.
    pub path: String,
    /// True if the final tree has the path.
    pub exists: bool,
    /// The layers that touch the path, the lowest first.
    pub steps: Vec<StepReport>,
    /// The notes about the path, the first hundred.
    pub notes: Vec<String>,
}

/// The changes that a layer made to a path.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// The number of the layer, from 1.
    pub layer: usize,
    /// The instruction that made the layer, if the history has one for each.
    pub instruction: Option<String>,
    /// The event.
    pub event: LifeEvent,
    /// The entries and markers that touched the path, in the order of the layer.
    pub causes: Vec<CauseReport>,
    /// The attributes that changed.
    pub changes: Vec<Change>,
    /// The file after the layer; `None` if there is none.
    pub after: Option<NameReport>,
}

/// An entry or a marker that touched a path.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct CauseReport {
    /// The kind.
    pub kind: Cause,
    /// The path that it is for, escaped, with a leading `/`: the path itself or a parent.
    pub path: String,
}

impl Image {
    /// Returns the life of a path: which layer added, changed or removed it, and how.
    ///
    /// Symlinks among the parents are followed in the final tree, and the layers are searched for the path that results.
    ///
    /// # Errors
    ///
    /// No layer has the path; the image cannot be read; the run was cancelled.
    pub fn explain(&self, path: &[u8]) -> Result<LifeReport> {
        let refused = |fault: PathFault| Error::image(Place::Source(self.source().to_owned()), fault.into());
        let cleaned = ImagePath::of_link_target(path).map_err(refused)?;
        let names = |path: &[u8]| path.split(|b| *b == b'/').filter(|name| !name.is_empty()).map(Vec::from).collect();
        let given: Vec<Vec<u8>> = names(cleaned.as_bytes());
        let observe = |names: &[Vec<u8>]| self.observe(&|| Observer::of_path(names.to_vec()));
        let (flat, observer) = observe(&given)?;
        let found = flat.tree.find_path(path.strip_suffix(b"/").unwrap_or(path));
        let resolved = match &found {
            Ok(found) => found.path.clone(),
            Err(missing) => [&*missing.end, &missing.rest].join(&b'/'),
        };
        let resolved: Vec<Vec<u8>> = names(&resolved);
        // The layers are read once more only if a parent is a symlink.
        let (flat, observer) = if resolved == given {
            (flat, observer)
        } else {
            drop((flat, observer));
            observe(&resolved)?
        };
        let steps = observer.into_life();
        let own = resolved.join(&b'/');
        // What happens to a parent is nothing to a path that no layer has.
        let is_about =
            |step: &Step| step.event != LifeEvent::Nothing || step.causes.iter().any(|touch| *touch.path == *own);
        if let (false, Err(missing)) = (steps.iter().any(is_about), &found) {
            return Err(self.no_such_path(path, missing));
        }
        let path = own;
        self.life(&path, &flat.tree, &flat.notes, steps)
    }

    fn life(&self, path: &[u8], tree: &Tree, notes: &Notes, steps: Vec<Step>) -> Result<LifeReport> {
        let parts = self.parts();
        let instructions = history::instructions(&history::of(&parts.config, parts.layers.len()), parts.layers.len());
        let mut about = Vec::new();
        let visit = |note: Note| -> std::io::Result<()> {
            if *note.path == *path && about.len() < NOTES {
                about.push(note.to_string());
            }
            Ok(())
        };
        notes.each(visit).map_err(Error::io("read", "the notes"))?;
        Ok(LifeReport {
            schema: SCHEMA,
            source: self.source().to_owned(),
            config_digest: self.config_digest().clone(),
            platform: self.platform().to_string(),
            path: format!("/{}", Escaped(path)),
            exists: tree.get(path).is_some(),
            steps: steps.into_iter().map(|step| report(path, step, &instructions)).collect(),
            notes: about,
        })
    }
}

fn report(path: &[u8], step: Step, instructions: &[Option<String>]) -> StepReport {
    let layer = usize::from(step.layer.0);
    let cause = |Touch { cause, path }: &Touch| CauseReport { kind: *cause, path: format!("/{}", Escaped(path)) };
    StepReport {
        layer: layer + 1,
        instruction: instructions.get(layer).cloned().flatten(),
        event: step.event,
        causes: step.causes.iter().map(cause).collect(),
        changes: step.changes,
        after: step.after.map(|after| NameReport::of_inode(path, &after.inode, after.links, None, after.implied)),
    }
}
