//! What wakes a scout that rests.

use std::{thread, time::Duration};

use super::{
    super::{
        ear::{Ear, For},
        schema,
    },
    File,
};

/// Stands for `for ever`: a test that gets there has failed.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_call_ends_a_rest_without_end() {
    let (mut ear, caller) = Ear::new().unwrap();
    let calling = thread::spawn(move || caller.call());
    ear.rest(For::Calls, None);
    calling.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_commit_of_another_connection_ends_a_rest_and_is_heard_once() {
    let file = File::new();
    let other = schema::open(&file.path()).unwrap();
    let (mut ear, _caller) = Ear::new().unwrap();
    ear.listen_to(&file.path());
    assert!(ear.hears_writes() && !ear.heard_write());

    let from = std::time::Instant::now();
    other.execute_batch("CREATE TABLE noise (n)").unwrap();
    ear.rest(For::CallsAndWrites, Some(LONG));
    assert!(from.elapsed() < LONG);
    assert!(ear.heard_write() && !ear.heard_write());
}

#[test]
fn a_file_without_a_log_is_looked_at_without_being_told() {
    let (mut ear, _caller) = Ear::new().unwrap();
    ear.listen_to(&File::new().path());
    assert!(!ear.hears_writes() && !ear.heard_write());
}
