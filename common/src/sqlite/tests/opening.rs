//! What a file is when it is opened, and by how many at once.

use std::sync::Barrier;

use super::{super::schema, File};

/// The moment between two looks at the header is short: it takes many files to be sure to meet it.
const FILES: usize = 60;
const OPENERS: usize = 4;

#[test]
fn a_new_file_may_be_made_by_several_at_once() {
    for _ in 0..FILES {
        let file = File::new();
        let ready = Barrier::new(OPENERS);
        std::thread::scope(|scope| {
            for _ in 0..OPENERS {
                scope.spawn(|| {
                    ready.wait();
                    schema::open(&file.path()).unwrap();
                });
            }
        });
    }
}
