//! Claims about what is counted.

use super::*;

/// A few jobs of two batches, in several states.
async fn jobs(sqlite: &Sqlite) {
    let make = |batch: Option<&str>| {
        let mut spec = spec();
        spec.batch = batch.map(|batch| batch.parse().unwrap());
        spec
    };
    let specs: Vec<_> = [Some("a"), Some("b"), None, Some("a"), Some("a")]
        .map(make)
        .into();
    sqlite
        .create(specs.iter().map(record).collect())
        .await
        .unwrap();
    let life = run(sqlite, &specs[0]).await;
    let ended = change(&specs[0], success(&life, &specs[0]));
    sqlite.apply(ended).await.unwrap();
    run(sqlite, &specs[3]).await;
}

#[tokio::test]
async fn batches_are_tallied_in_the_transactions_that_change_them() {
    let file = File::new();
    let sqlite = file.open().await;
    jobs(&sqlite).await;
    assert_tallied(&file);
    assert_eq!(file.ask("SELECT count(*) FROM batches"), 2);
    assert_eq!(sqlite.expire(10).await.unwrap(), 1);
    assert_tallied(&file);
}

#[tokio::test]
async fn a_file_of_the_format_before_is_brought_up_to_this_one() {
    let file = File::new();
    let schema = "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%batches%'";
    let sqlite = file.open().await;
    jobs(&sqlite).await;
    let now = file.ask(schema);
    Store::close(&*sqlite).await;
    drop(sqlite);
    file.poke("DROP TABLE batches; PRAGMA user_version = 2;");
    let sqlite = file.open().await;
    assert_eq!(file.ask(schema), now);
    assert_tallied(&file);
    jobs(&sqlite).await;
    assert_tallied(&file);
    assert_eq!(
        file.ask("PRAGMA user_version"),
        super::super::schema::VERSION
    );
}
