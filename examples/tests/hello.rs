//! The examples do what they say.

use std::process::Command;

#[test]
fn hello_says_hello_and_exits_every_time() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut hello = Command::new(env!("CARGO_BIN_EXE_hello"));
        let output = hello.current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello, world!\n");
    }
}
