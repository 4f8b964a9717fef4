//! Layers that are decoded while they arrive.
//!
//! A script takes the place of a registry. It waits for what the decoders have read, never for a time: a decoder that did
//! not read ahead of the end would wait for the script, and the script for it, until the limit.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::digest::Algorithm;
use crate::error::LayerPlace;
use crate::image::{BlobSource, LayerData};
use crate::progress::Stage;
use crate::read_at::Grower;
use crate::tar::build::Stream;

/// The time after which a test hangs.
const LIMIT: Duration = Duration::from_secs(120);
const LARGE: usize = 1 << 20;
const HALF: usize = LARGE / 2;
const SMALL: usize = 4096;
/// The bytes of a stream with one file beside its content.
const FRAME: usize = 512 + 1024;

/// Counts the bytes that decoders have read.
#[derive(Debug, Default)]
struct Reading {
    bytes: Mutex<u64>,
    changed: Condvar,
}

impl Reading {
    fn wait_for(&self, bytes: usize) -> Result<()> {
        let count = self.bytes.lock().unwrap();
        let (count, _) = self.changed.wait_timeout_while(count, LIMIT, |count| *count < bytes as u64).unwrap();
        if *count < bytes as u64 { Err(ErrorKind::Bug("nobody reads what has arrived").into()) } else { Ok(()) }
    }
}

impl Progress for Reading {
    fn begin(&self, _: Stage, _: Option<u64>) {}

    fn advance(&self, amount: u64) {
        *self.bytes.lock().unwrap() += amount;
        self.changed.notify_all();
    }

    fn end(&self) {}
}

/// A blob on its way.
struct Transfer<'a> {
    file: &'a File,
    grower: &'a Grower,
    len: u64,
    reading: &'a Reading,
}

impl Transfer<'_> {
    fn send(&mut self, bytes: &[u8]) {
        let mut file = self.file;
        file.write_all(bytes).unwrap();
        self.len += bytes.len() as u64;
        self.grower.advance(self.len);
    }

    fn restart(&mut self) {
        self.grower.restart();
        self.file.set_len(0).unwrap();
        { self.file }.rewind().unwrap();
        self.len = 0;
    }
}

type Script = Box<dyn Fn(&mut Transfer<'_>) -> Result<()> + Send + Sync>;

/// A source of a blob that sends it as its script says, after decoders have read a number of bytes.
struct Scripted {
    size: u64,
    after: usize,
    reading: Arc<Reading>,
    script: Script,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl BlobSource for Scripted {
    fn size(&self) -> u64 {
        self.size
    }

    fn cached(&self) -> Option<FileSlice> {
        None
    }

    fn fetch(&self, arriving: &dyn Fn(FileSlice), _: &dyn Progress, _: &Cancel) -> Result<FileSlice> {
        self.reading.wait_for(self.after)?;
        let file = tempfile::tempfile().unwrap();
        let grower = Grower::new();
        arriving(grower.slice(file.try_clone().unwrap(), self.size));
        let mut transfer = Transfer { file: &file, grower: &grower, len: 0, reading: &self.reading };
        (self.script)(&mut transfer)?;
        Ok(FileSlice::whole(file.try_clone().unwrap()).unwrap())
    }

    fn refetch(&self, _: &Digest, _: &dyn Progress, _: &Cancel) -> Result<FileSlice> {
        panic!("nothing here comes from a cache")
    }
}

/// A tar stream of `bytes` bytes with one file.
fn tar(name: &str, bytes: usize) -> Vec<u8> {
    let content = vec![name.as_bytes()[0]; bytes - FRAME];
    Stream::new().file(name.as_bytes(), &content).end()
}

/// An image of layers, each with the bytes that it promises and the script that sends it.
struct Scene {
    reading: Arc<Reading>,
    layers: Vec<LayerBlob>,
    limits: Limits,
}

impl Scene {
    fn new() -> Self {
        Self { reading: Arc::default(), layers: Vec::new(), limits: Limits::default() }
    }

    fn layer(self, blob: &[u8], script: impl Fn(&mut Transfer<'_>) -> Result<()> + Send + Sync + 'static) -> Self {
        self.layer_after(0, blob, script)
    }

    fn layer_after(
        mut self,
        after: usize,
        blob: &[u8],
        script: impl Fn(&mut Transfer<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let digest = Digest::of(Algorithm::Sha256, blob);
        let number = self.layers.len() + 1;
        let (size, reading) = (blob.len() as u64, Arc::clone(&self.reading));
        let source = Scripted { size, after, reading, script: Box::new(script) };
        self.layers.push(LayerBlob {
            place: LayerPlace { number, count: number, digest: digest.clone(), injection: None },
            media_type: None,
            digest: Some(digest.clone()),
            size: Some(blob.len() as u64),
            diff_id: digest,
            data: LayerData::Remote(Arc::new(source)),
        });
        self
    }

    fn flatten(self, jobs: usize) -> Result<FlatImage> {
        let Self { reading, layers, limits } = self;
        let image = OpenImage {
            source: "scene".into(),
            path: None,
            manifest: None,
            manifest_digest: None,
            config_digest: Digest::of(Algorithm::Sha256, b""),
            platform: Platform::of_this_machine(),
            created: None,
            config: Vec::new(),
            layers,
            notes: Vec::new(),
        };
        let work = WorkDir::create(Path::new("/tmp"), &Cancel::default())?;
        let options = ReadOptions { jobs, limits, ..ReadOptions::default() };
        flatten_for(&image, &work, &options, &mut View::default(), &*reading, &Cancel::default())
    }
}

fn size_of(flat: &FlatImage, path: &str) -> u64 {
    match &flat.tree.inode(flat.tree.get(path.as_bytes()).expect("the image has it")).node {
        crate::tree::Node::File(content) => content.size(),
        _ => panic!("{path} is a file"),
    }
}

fn gone() -> Error {
    Error::io("fetch", "the layer")(std::io::Error::other("the line is dead"))
}

#[test]
fn a_layer_is_decoded_while_it_arrives() {
    for jobs in [1, 2] {
        let bytes = tar("a", LARGE);
        let scene = Scene::new().layer(&bytes.clone(), move |transfer| {
            transfer.send(&bytes[..HALF]);
            transfer.reading.wait_for(HALF)?;
            transfer.send(&bytes[HALF..]);
            transfer.reading.wait_for(LARGE)
        });
        let flat = scene.flatten(jobs).unwrap();
        assert_eq!(size_of(&flat, "/a"), (LARGE - FRAME) as u64);
    }
}

#[test]
fn a_layer_that_waits_for_bytes_holds_up_no_complete_one() {
    for small_first in [true, false] {
        let (large, small) = (tar("a", LARGE), tar("b", SMALL));
        let (large_blob, small_blob) = (large.clone(), small.clone());
        let send_large = move |transfer: &mut Transfer<'_>| {
            transfer.send(&large[..HALF]);
            transfer.reading.wait_for(HALF + SMALL)?;
            transfer.send(&large[HALF..]);
            Ok(())
        };
        let send_small = move |transfer: &mut Transfer<'_>| {
            transfer.send(&small);
            Ok(())
        };
        // The larger one has the only turn when the smaller one arrives.
        let scene = match small_first {
            true => Scene::new().layer_after(HALF, &small_blob, send_small).layer(&large_blob, send_large),
            false => Scene::new().layer(&large_blob, send_large).layer_after(HALF, &small_blob, send_small),
        };
        let flat = scene.flatten(1).unwrap();
        assert_eq!((size_of(&flat, "/a"), size_of(&flat, "/b")), ((LARGE - FRAME) as u64, (SMALL - FRAME) as u64));
    }
}

#[test]
fn a_transfer_that_begins_anew_gives_the_bytes_of_the_last_attempt() {
    for jobs in [1, 2] {
        for wrong in [tar("x", LARGE), vec![0x1f; LARGE], vec![0xff; LARGE], [&[0x1f, 0x8b][..], &[9; LARGE]].concat()]
        {
            let bytes = tar("a", LARGE);
            let mut scene = Scene::new().layer(&bytes.clone(), move |transfer| {
                transfer.send(&wrong[..HALF]);
                transfer.reading.wait_for(128 << 10)?;
                transfer.restart();
                transfer.send(&bytes);
                Ok(())
            });
            // The attempt whose bytes were wrong takes nothing from the limit.
            scene.limits.total_bytes = LARGE as u64;
            let flat = scene.flatten(jobs).unwrap();
            assert_eq!(size_of(&flat, "/a"), (LARGE - FRAME) as u64);
            assert!(flat.tree.get(b"/x").is_none());
        }
    }
}

#[test]
fn wrong_bytes_and_missing_ones_are_the_fault_of_the_sender() {
    let damaged = || [&[0x1f, 0x8b][..], &[9; LARGE - 2]].concat();
    for (sent, read) in [(damaged(), 2), (damaged()[..HALF].to_vec(), 2), (tar("x", LARGE), HALF), (Vec::new(), 0)] {
        for jobs in [1, 2] {
            let (bytes, sent, other) = (tar("a", LARGE), sent.clone(), tar("b", LARGE / 4));
            let scene = Scene::new()
                .layer(&other.clone(), move |transfer| {
                    transfer.send(&other);
                    Ok(())
                })
                .layer(&bytes, move |transfer| {
                    transfer.send(&sent);
                    transfer.reading.wait_for(read)?;
                    Err(gone())
                });
            assert_eq!(scene.flatten(jobs).unwrap_err().to_string(), gone().to_string());
        }
    }
}

#[test]
fn damaged_layers_are_reported_when_they_are_complete() {
    let damaged = [&[0x1f, 0x8b][..], &[9; LARGE - 2]].concat();
    let sent = damaged.clone();
    let scene = Scene::new().layer(&damaged, move |transfer| {
        transfer.send(&sent);
        Ok(())
    });
    let error = scene.flatten(2).unwrap_err();
    assert!(error.to_string().contains(") is not valid gzip: "), "{error}");
}

#[test]
fn a_transfer_that_fails_after_its_last_byte_fails_the_image() {
    let bytes = tar("a", LARGE);
    let scene = Scene::new().layer(&bytes.clone(), move |transfer| {
        transfer.send(&bytes);
        transfer.reading.wait_for(LARGE)?;
        Err(gone())
    });
    assert_eq!(scene.flatten(2).unwrap_err().to_string(), gone().to_string());
}
