//! The choice of the engine by what a plan costs.

use bytes::Bytes;

use super::*;
use crate::digest::Algorithm;
use crate::layer::entry::{Action, Body, Change, Content, Entry, Metadata};
use crate::note::Notes;
use crate::path::ImagePath;
use crate::time::Timestamp;
use crate::tree::{ApplyFault, LayerId};

/// Returns a tree with 400 MiB of data, all of it the same 4 MiB in memory.
fn much_data() -> Tree {
    let content = Bytes::from(vec![7; 4 << 20]);
    let file = |number: u64| -> std::result::Result<Change, ApplyFault> {
        let path = ImagePath::of_entry(format!("f{number}").as_bytes()).unwrap();
        let (metadata, body) = (Metadata::implied(Timestamp::default()), Body::File(Content::dense(content.clone())));
        Ok(Change { number, action: Action::Add(Entry { path, bookkeeping: false, metadata, body }) })
    };
    let mut tree = Tree::new(Timestamp::default());
    tree.apply::<ApplyFault>(LayerId(0), (0..100).map(file), &Notes::default(), &|| Ok(()))
        .map_err(|fault| fault.problem)
        .unwrap();
    tree.finish()
}

#[test]
fn much_data_is_written_directly_unless_the_memory_does_not_suffice() {
    let tree = much_data()
        .with_memory(std::sync::Arc::new(crate::memory::Memory::new(64 << 20)), crate::layer::Store::default());
    let plan = |options: &PlanOptions| {
        let config = Digest::of(Algorithm::Sha256, b"config");
        Plan::new(&tree, &config, None, options, &Limits::default(), &Cancel::default())
    };
    let usual = plan(&PlanOptions::default()).unwrap();
    assert_eq!(usual.engine, Engine::Direct);
    assert_eq!(usual.reason, Reason::Slow(SlowShape::Data(100 << 10)));
    // Each block group takes memory, and 4 TiB have 32768 of them.
    let large = PlanOptions { size: Some(4 << 40), ..PlanOptions::default() };
    let sized = plan(&large).unwrap();
    assert_eq!((sized.engine, sized.file_bytes), (Engine::E2fsprogs, 4 << 40));
    assert!(sized.reason.to_string().starts_with("direct cannot write the tree: the image has "), "{}", sized.reason);
    let only = PlanOptions { engine: EngineChoice::Only(Engine::Direct), ..large };
    assert!(matches!(plan(&only).unwrap_err().kind(), ErrorKind::Limit { .. }));
}
