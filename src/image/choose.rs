//! Chooses one image among those of an index.

use super::OpenOptions;
use super::config;
use super::document::{Descriptor, Document, ListedImage, Manifest};
use super::platform::Platform;
use super::registry_reference::same as same_reference;
use super::store::BlobStore;
use crate::digest::Digest;
use crate::error::{Amount, Error, ErrorKind, ImageProblem, Place, Result};
use crate::image::shown::{listed, shown};
use crate::limits::Limit;

/// The number of documents that are read to find out their platforms.
pub(super) const LOOKS: usize = 64;

/// A manifest, with the platform in its descriptor, and the indexes that lead to it.
pub(super) struct PlatformManifest {
    pub digest: Digest,
    pub manifest: Box<Manifest>,
    pub platform: Option<Platform>,
    /// The manifest unchanged.
    pub bytes: Vec<u8>,
    /// The annotations of its descriptor.
    pub annotations: Vec<(String, String)>,
    /// The index that the reference names, unchanged; `None` if it names the manifest.
    pub index: Option<(Digest, Vec<u8>)>,
    /// The images of the last index, if there is one.
    pub listed: Vec<ListedImage>,
}

/// Returns the images of an index without attachments and without entries that cannot be followed.
fn images(entries: &[Descriptor]) -> Vec<ListedImage> {
    let sound = entries.iter().filter(|entry| !entry.is_beside() && !entry.is_odd());
    sound.filter_map(Descriptor::listed).collect()
}

/// A search for the image of a platform.
pub(super) struct Search<'a, S> {
    pub store: &'a S,
    pub options: &'a OpenOptions<'a>,
    pub platform: &'a Platform,
    /// Of two images for one platform the first counts, as registries' clients do it (image-spec `image-index.md`).
    pub order_counts: bool,
}

/// The content of a document whose descriptor has no platform.
enum DocumentContent {
    /// An image, or an index of images, for these platforms.
    Platforms(Vec<Platform>),
    /// An attachment of an image, such as a signature.
    Beside,
    /// No document: an index may list more than a layout contains.
    Missing,
}

impl<S: BlobStore> Search<'_, S> {
    /// Finds the image in a layout's `index.json` that `requested` names, by tag, name or digest. `source` is the layout,
    /// `holder` the file.
    pub(super) fn in_layout(
        &self,
        entries: Vec<Descriptor>,
        requested: Option<&str>,
        source: &Place,
        holder: Place,
    ) -> Result<PlatformManifest> {
        let refused = |problem| Error::image(source.clone(), problem);
        let entries = self.of_name(entries, requested, &holder)?.map_err(refused)?;
        let listed = images(&entries);
        let entry = self.only(entries, requested, &holder)?.map_err(|problem| match problem {
            ImageProblem::SeveralImages { .. } => refused(problem),
            problem => Error::image(holder.clone(), problem),
        })?;
        self.down(entry, holder, listed)
    }

    /// Finds the image in an index of a registry.
    pub(super) fn in_index(&self, entries: Vec<Descriptor>, holder: Place) -> Result<PlatformManifest> {
        let listed = images(&entries);
        let entry = self.first(entries, &holder)?.map_err(|problem| Error::image(holder.clone(), problem))?;
        self.down(entry, holder, listed)
    }

    /// Descends from an entry of the index `holder`, through nested ones, to the manifest for the platform.
    fn down(&self, mut entry: Descriptor, mut holder: Place, mut listed: Vec<ListedImage>) -> Result<PlatformManifest> {
        let allowed = self.options.limits.index_depth;
        let (mut platform, mut index) = (None, None);
        for _ in 0..=allowed {
            if let Some(problem) = entry.problem() {
                return Err(Error::image(holder, problem));
            }
            let digest = entry.digest(&holder)?;
            platform = entry.platform().or(platform);
            holder = entry.place(digest.clone());
            let bytes = self.store.document(&entry, &digest, &holder, self.options)?;
            let refused = |problem| Error::image(holder.clone(), problem);
            let nested = match Document::parse(&bytes, entry.media_type.as_deref()).map_err(refused)? {
                Document::Manifest(manifest) => {
                    let annotations = entry.annotations();
                    return Ok(PlatformManifest { digest, manifest, platform, bytes, annotations, index, listed });
                }
                Document::Index(nested) => nested,
            };
            listed = images(&nested);
            index.get_or_insert((digest.clone(), bytes));
            holder = Place::Index(digest);
            let chosen = if self.order_counts { self.first(nested, &holder) } else { self.only(nested, None, &holder) };
            entry = chosen?.map_err(|problem| Error::image(holder.clone(), problem))?;
        }
        let found = Amount::MoreThan(allowed);
        Err(ErrorKind::Limit { place: holder, limit: Limit::IndexDepth, allowed, found }.into())
    }

    /// Selects the entries of one image: those that the user named, or all entries if they are of one image.
    fn of_name(&self, entries: Vec<Descriptor>, requested: Option<&str>, holder: &Place) -> Problem<Vec<Descriptor>> {
        let (beside, mut images): (Vec<_>, Vec<_>) = entries.into_iter().partition(Descriptor::is_beside);
        let label = |entry: &Descriptor| entry.names().next().map_or_else(|| entry.shown_digest(), shown);
        if let Some(requested) = requested {
            let names = listed(images.iter().map(label));
            let nested = self.nested(&images, requested, holder)?;
            let called = called(images, requested).or_else(|| called(beside, requested)).or(nested);
            return Ok(called.ok_or_else(|| ImageProblem::NoSuchTag { requested: shown(requested), there: names }));
        }
        if images.is_empty() {
            // If there are only attachments, the error describes them.
            return Ok(if beside.is_empty() { Err(ImageProblem::Empty) } else { Ok(beside) });
        }
        if several(&images) && images.iter().any(|entry| entry.names().next() != images[0].names().next()) {
            images = self.without_beside(images, holder)?;
            if several(&images) && images.iter().any(|entry| entry.names().next() != images[0].names().next()) {
                let there = listed(images.iter().map(label));
                return Ok(Err(ImageProblem::SeveralImages { of: String::new(), there }));
            }
        }
        Ok(Ok(images))
    }

    /// Returns the entry of that digest of an index that one of the entries leads to.
    fn nested(&self, entries: &[Descriptor], requested: &str, holder: &Place) -> Result<Option<Vec<Descriptor>>> {
        let bare = requested.strip_prefix('@').unwrap_or(requested);
        if bare.parse::<Digest>().is_err() || entries.iter().any(|entry| entry.shown_digest() == bare) {
            return Ok(None);
        }
        for entry in entries.iter().filter(|entry| entry.is_index() && !entry.is_odd()).take(LOOKS) {
            self.options.cancel.check()?;
            let digest = entry.digest(holder)?;
            let place = entry.place(digest.clone());
            let bytes = match self.store.document(entry, &digest, &place, self.options) {
                Ok(bytes) => bytes,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error),
            };
            if let Ok(Document::Index(nested)) = Document::parse(&bytes, entry.media_type.as_deref())
                && let Some(found) = nested.into_iter().find(|nested| nested.shown_digest() == bare)
            {
                return Ok(Some(vec![found]));
            }
        }
        Ok(None)
    }

    /// Removes entries whose documents are not images.
    fn without_beside(&self, entries: Vec<Descriptor>, holder: &Place) -> Result<Vec<Descriptor>> {
        let mut images = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            if number >= LOOKS || !matches!(self.look(&entry, holder)?, DocumentContent::Beside) {
                images.push(entry);
            }
        }
        Ok(images)
    }

    /// Chooses the entry for the platform and refuses several for the same platform: the order in a layout has no
    /// meaning.
    fn only(&self, entries: Vec<Descriptor>, requested: Option<&str>, holder: &Place) -> Problem<Descriptor> {
        let entries = images_or_beside(entries);
        if !several(&entries) {
            return self.first(entries, holder);
        }
        let (odd, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(Descriptor::is_odd);
        let any = entries.first().cloned();
        let (mut there, mut nearest) = (Vec::new(), Vec::new());
        for (entry, platforms) in self.looked_into(entries, holder)? {
            if let Some(distance) = platforms.iter().filter_map(|found| self.distance(found)).min() {
                nearest.push((distance, entry));
            }
            there.extend(platforms);
        }
        let best = nearest.iter().map(|(distance, _)| *distance).min();
        let mut best: Vec<Descriptor> =
            nearest.into_iter().filter(|(distance, _)| Some(*distance) == best).map(|(_, entry)| entry).collect();
        Ok(if several(&best) && !self.are_one_image(&best, holder)? {
            let named = requested.map_or_else(String::new, |requested| format!(" named {}", shown(requested)));
            let of = format!("{named} for platform {}", self.platform);
            let there = listed(best.iter().map(Descriptor::shown_digest));
            Err(ImageProblem::SeveralImages { of, there })
        } else if best.is_empty() {
            self.none_but_odd(odd, there, any)
        } else {
            Ok(best.swap_remove(0))
        })
    }

    /// Chooses the first of the entries nearest to the platform (image-spec `image-index.md`): of those with a
    /// platform, else of the others by their configs.
    fn first(&self, entries: Vec<Descriptor>, holder: &Place) -> Problem<Descriptor> {
        let entries = images_or_beside(entries);
        if entries.is_empty() {
            return Ok(Err(ImageProblem::Empty));
        }
        let (odd, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(Descriptor::is_odd);
        let distance = |platform: &Platform| self.distance(platform);
        let said = |entry: &&Descriptor| entry.platform().as_ref().and_then(distance);
        if let Some(entry) = entries.iter().filter(|entry| said(entry).is_some()).min_by_key(said) {
            return Ok(Ok(entry.clone()));
        }
        let (said, silent): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.platform().is_some());
        if let ([entry, ..], false) = (&silent[..], several(&silent)) {
            return Ok(Ok(entry.clone()));
        }
        let mut there: Vec<Platform> = said.iter().filter_map(Descriptor::platform).collect();
        let any = silent.first().cloned();
        let mut nearest: Option<(_, Descriptor)> = None;
        for (entry, platforms) in self.looked_into(silent, holder)? {
            if let Some(distance) = platforms.iter().filter_map(distance).min()
                && nearest.as_ref().is_none_or(|(best, _)| distance < *best)
            {
                nearest = Some((distance, entry));
            }
            there.extend(platforms);
        }
        Ok(match nearest {
            Some((_, entry)) => Ok(entry),
            None => self.none_but_odd(odd, there, any),
        })
    }

    /// Returns the choice where no sound entry is for the platform: an odd one that may be, which is then refused for what
    /// is odd about it.
    fn none_but_odd(
        &self,
        odd: Vec<Descriptor>,
        mut there: Vec<Platform>,
        any: Option<Descriptor>,
    ) -> Choice<Descriptor> {
        let may_be =
            |entry: &&Descriptor| entry.platform().is_none_or(|found| self.platform.distance(&found).is_some());
        if let Some(entry) = odd.iter().find(may_be) {
            return Ok(entry.clone());
        }
        there.extend(odd.iter().filter_map(Descriptor::platform));
        self.no_such_platform(&there, any)
    }

    /// Returns true if the entries are one image in several forms, as with layers that are compressed in two ways: they have
    /// one config.
    fn are_one_image(&self, entries: &[Descriptor], holder: &Place) -> Result<bool> {
        let mut config: Option<Digest> = None;
        for entry in entries.iter().take(LOOKS) {
            self.options.cancel.check()?;
            let digest = entry.digest(holder)?;
            let place = entry.place(digest.clone());
            let bytes = match self.store.document(entry, &digest, &place, self.options) {
                Ok(bytes) => bytes,
                Err(error) if is_missing(&error) => return Ok(false),
                Err(error) => return Err(error),
            };
            let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, entry.media_type.as_deref()) else {
                return Ok(false);
            };
            let own = manifest.config.digest(&Place::Manifest(digest))?;
            if config.get_or_insert_with(|| own.clone()) != &own {
                return Ok(false);
            }
        }
        Ok(entries.len() <= LOOKS)
    }

    /// Returns the distance of a platform from the requested one; a version, which Linux does not have, adds a little.
    fn distance(&self, platform: &Platform) -> Option<(u32, bool)> {
        Some((self.platform.distance(platform)?, platform.os == "linux" && platform.os_version.is_some()))
    }

    /// Returns the first platforms of an index, which messages list, and the nearest one: there may be very many.
    fn some(&self, platforms: impl Iterator<Item = Platform> + Clone) -> Vec<Platform> {
        let near = platforms.clone().filter(|platform| self.distance(platform).is_some());
        let nearest = near.min_by_key(|platform| self.distance(platform));
        platforms.take(LOOKS).chain(nearest).collect()
    }

    /// Returns the problem of entries that are all for other platforms. If there is only one entry, the problem is its
    /// own.
    fn no_such_platform(&self, there: &[Platform], entry: Option<Descriptor>) -> Choice<Descriptor> {
        match entry {
            Some(entry) if there.is_empty() => Ok(entry),
            _ => {
                let there = listed(there.iter().map(ToString::to_string));
                Err(ImageProblem::NoSuchPlatform { requested: self.platform.to_string(), there })
            }
        }
    }

    /// Returns each entry that is an image, with its platforms from the descriptor or from the config.
    fn looked_into(&self, entries: Vec<Descriptor>, holder: &Place) -> Result<Vec<(Descriptor, Vec<Platform>)>> {
        let silent = entries.iter().filter(|entry| entry.platform().is_none()).count();
        if silent > LOOKS {
            let (of, there) = (String::new(), listed(entries.iter().map(Descriptor::shown_digest)));
            return Err(Error::image(holder.clone(), ImageProblem::SeveralImages { of, there }));
        }
        let mut images = Vec::new();
        for entry in entries {
            match entry.platform() {
                Some(platform) => images.push((entry, vec![platform])),
                None => match self.look(&entry, holder)? {
                    DocumentContent::Platforms(platforms) => images.push((entry, platforms)),
                    DocumentContent::Beside | DocumentContent::Missing => {}
                },
            }
        }
        Ok(images)
    }

    /// Reads the document of an entry, and the config of a manifest.
    fn look(&self, entry: &Descriptor, holder: &Place) -> Result<DocumentContent> {
        self.options.cancel.check()?;
        if entry.is_odd() {
            return Ok(DocumentContent::Missing);
        }
        let digest = entry.digest(holder)?;
        let place = entry.place(digest.clone());
        let bytes = match self.store.document(entry, &digest, &place, self.options) {
            Ok(bytes) => bytes,
            Err(error) if is_missing(&error) => return Ok(DocumentContent::Missing),
            Err(error) => return Err(error),
        };
        let manifest = match Document::parse(&bytes, entry.media_type.as_deref()) {
            Ok(Document::Manifest(manifest)) if !manifest.is_beside() => manifest,
            Ok(Document::Index(entries)) => {
                let images = entries.iter().filter(|entry| !entry.is_beside());
                // An entry without a platform may be for the requested one; only descending shows it.
                let platforms = images.map(|entry| entry.platform().unwrap_or_else(|| self.platform.clone()));
                return Ok(DocumentContent::Platforms(self.some(platforms)));
            }
            Ok(Document::Manifest(_)) | Err(ImageProblem::MediaType(_)) => return Ok(DocumentContent::Beside),
            Err(problem) => return Err(Error::image(place, problem)),
        };
        let place = Place::Manifest(digest);
        let digest = manifest.config.digest(&place)?;
        let place = Place::Config(digest.clone());
        let bytes = match self.store.config(&manifest.config, &digest, &place, self.options) {
            Ok(bytes) => bytes,
            Err(error) if is_missing(&error) => return Ok(DocumentContent::Missing),
            Err(error) => return Err(error),
        };
        let platform = config::platform(&bytes).map_err(|problem| Error::image(place, problem))?;
        Ok(DocumentContent::Platforms(vec![platform.unwrap_or_else(|| self.platform.clone())]))
    }
}

/// A choice, or the problem of an image whose place the caller knows.
type Choice<T> = std::result::Result<T, ImageProblem>;
/// A choice that requires reading documents.
type Problem<T> = Result<Choice<T>>;

fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Image { problem: ImageProblem::Missing, .. })
}

/// Removes attachments of images; if there is nothing else, they stay, so that the error describes them.
fn images_or_beside(entries: Vec<Descriptor>) -> Vec<Descriptor> {
    let (beside, images): (Vec<_>, Vec<_>) = entries.into_iter().partition(Descriptor::is_beside);
    if images.is_empty() { beside } else { images }
}

/// Returns true if the entries have different digests.
fn several(entries: &[Descriptor]) -> bool {
    entries.iter().any(|entry| entry.shown_digest() != entries[0].shown_digest())
}

/// Returns the entries that the user named, by the strictest rule that matches any: the exact digest or name, the same
/// reference by docker's rules, the tag of a full name.
fn called(entries: Vec<Descriptor>, requested: &str) -> Option<Vec<Descriptor>> {
    let bare = requested.strip_prefix('@').unwrap_or(requested);
    let tag_of = |name: &str| name.rsplit_once(':').map(|(_, tag)| tag.to_owned()).filter(|tag| !tag.contains('/'));
    let readings: [&dyn Fn(&Descriptor) -> bool; 4] = [
        &|entry| entry.shown_digest() == bare || entry.names().any(|name| name == requested),
        &|entry| {
            let both = requested.split_once('@');
            both.is_some_and(|(name, digest)| {
                entry.shown_digest() == digest && (name.is_empty() || entry.names().any(|own| own == name))
            })
        },
        &|entry| entry.names().any(|name| same_reference(name, requested)),
        &|entry| entry.names().any(|name| tag_of(name).as_deref() == Some(requested)),
    ];
    for reading in readings {
        if entries.iter().any(reading) {
            return Some(entries.into_iter().filter(reading).collect());
        }
    }
    None
}
