//! Claims about stored scripts.

use haul_common::{
    job::{SCRIPT_BYTES_MAX, SCRIPT_VERSIONS_KEPT, Script, ScriptName, ScriptVersion},
    ports::Store,
    time::Timestamp,
};

fn script(name: &str, text: &str) -> Script {
    let added = Timestamp::from_millis(1_800_000_000_123);
    Script::new(name.parse().unwrap(), text.to_owned(), added).unwrap()
}

async fn keep(store: &dyn Store, name: &str, text: &str) -> Script {
    let script = script(name, text);
    store.keep_script(script.clone()).await.unwrap();
    script
}

async fn latest(store: &dyn Store, name: &str) -> Option<Script> {
    let name: ScriptName = name.parse().unwrap();
    store.script(&name, None).await.unwrap()
}

async fn at(store: &dyn Store, script: &Script) -> Option<Script> {
    let found = store.script(&script.name, Some(&script.version)).await;
    found.unwrap()
}

/// All of it comes back, whatever is in it.
pub async fn a_script_is_found_as_it_was_kept(store: &dyn Store) {
    for text in [
        "#!/bin/sh\necho \"$1\" | cat\n",
        "a|b|c\r\n\t'Größe' 🚚 {}:\u{1}",
        &"x".repeat(SCRIPT_BYTES_MAX),
    ] {
        let kept = keep(store, "a.b-c_D", text).await;
        assert_eq!(latest(store, "a.b-c_D").await.as_ref(), Some(&kept));
        assert_eq!(at(store, &kept).await, Some(kept));
    }
}

/// The last one counts, and earlier ones are found by their version.
pub async fn a_name_means_the_text_that_was_kept_last(store: &dyn Store) {
    let first = keep(store, "a", "first").await;
    let other = keep(store, "b", "first").await;
    let second = keep(store, "a", "second").await;
    assert_eq!(latest(store, "a").await.as_ref(), Some(&second));
    assert_eq!(latest(store, "b").await, Some(other));
    assert_eq!(at(store, &first).await, Some(first));
    assert_eq!(at(store, &second).await, Some(second));
}

/// Going back is as good as going on.
pub async fn a_script_that_is_kept_again_is_the_latest(store: &dyn Store) {
    let first = keep(store, "a", "first").await;
    let second = keep(store, "a", "second").await;
    for _ in 0..2 {
        keep(store, "a", "first").await;
    }
    assert_eq!(latest(store, "a").await, Some(first));
    assert_eq!(at(store, &second).await, Some(second));
}

/// What was kept first is forgotten first, and no other name suffers.
pub async fn old_versions_give_way(store: &dyn Store) {
    let other = keep(store, "b", "0").await;
    let mut kept = Vec::new();
    for n in 0..=SCRIPT_VERSIONS_KEPT {
        kept.push(keep(store, "a", &n.to_string()).await);
    }
    assert_eq!(at(store, &kept[0]).await, None);
    for script in &kept[1..] {
        assert_eq!(at(store, script).await.as_ref(), Some(script));
    }
    assert_eq!(latest(store, "b").await, Some(other));
}

/// One line for each name.
pub async fn scripts_are_listed_by_name_in_their_latest_version(store: &dyn Store) {
    assert_eq!(store.scripts().await.unwrap(), []);
    let c = keep(store, "c", "1").await;
    keep(store, "a", "1").await;
    let b = keep(store, "b", "1").await;
    let a = keep(store, "a", "2").await;
    assert_eq!(store.scripts().await.unwrap(), [a, b, c]);
}

/// No version is left, and forgetting again is told.
pub async fn a_forgotten_script_is_gone_in_all_versions(store: &dyn Store) {
    let first = keep(store, "a", "first").await;
    keep(store, "a", "second").await;
    let b = keep(store, "b", "first").await;
    assert!(store.forget_script(&first.name).await.unwrap());
    assert_eq!(latest(store, "a").await, None);
    assert_eq!(at(store, &first).await, None);
    assert_eq!(store.scripts().await.unwrap(), [b]);
    assert!(!store.forget_script(&first.name).await.unwrap());
}

/// Neither by its name nor by its version.
pub async fn an_unknown_script_is_not_found(store: &dyn Store) {
    assert_eq!(latest(store, "a").await, None);
    let a = keep(store, "a", "text").await;
    let version = ScriptVersion::of("other");
    assert_eq!(store.script(&a.name, Some(&version)).await.unwrap(), None);
}
