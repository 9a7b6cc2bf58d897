//! Claims about edits: a transition that also changes what is asked for.

use haul_common::{
    job::{Reason, Record, Spec, StateKind, WorkerId, json},
    life::Life,
    ports::{Applied, Change, Claimed, Created, Edit, Save, SaveKey, Store},
};

use super::{changes::apply, store::assert_same};
use crate::jobs::{claim, failed, found, granted, record, running, spec};

/// A dead job whose attempt saved something.
async fn dead(store: &dyn Store, spec: &Spec) -> Record {
    let life = running(store, spec, &WorkerId::random()).await;
    for key in [SaveKey::Checkpoint, SaveKey::Step("one".to_owned())] {
        let save = Save {
            id: spec.id.clone(),
            fence: life.fence,
            key,
            value: json(&1).unwrap(),
        };
        store.save(save).await.unwrap();
    }
    apply(store, &spec.id, |life| {
        life.die(Reason::Fatal, failed("x"), store.now())
    })
    .await
}

fn edit(record: &Record, n: u64) -> Change {
    let args = json(&serde_json::json!({ "n": n, "edited": true })).unwrap();
    Change {
        id: record.spec.id.clone(),
        step: record.life.edit().unwrap(),
        expires: haul_common::life::expires(&record.spec, &record.life),
        edit: Some(Box::new(Edit {
            spec: record.spec.edited(args).unwrap(),
            created: record.created,
        })),
    }
}

/// An edit is kept whole, changes nothing else, and forgets what was saved for other arguments.
pub async fn an_edit_is_kept_whole(store: &dyn Store) {
    let mut spec = spec("mail", 1);
    spec.batch = Some("b".parse().unwrap());
    let before = dead(store, &spec).await;
    let change = edit(&before, 2);
    let mut expected = before.clone();
    expected.life = change.step.life.clone();
    expected.spec = change.edit.as_ref().unwrap().spec.clone();
    assert!(matches!(store.apply(change).await.unwrap(), Applied::Done));
    let after = found(store, &spec.id).await;
    assert_same(&after, &expected);
    assert_eq!(after.spec.earlier, [spec.digest()]);
    let saved = store.saved(&spec.id).await.unwrap();
    assert!(saved.checkpoint.is_none() && saved.steps.is_empty());
    let counts = store.batch(&"b".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(counts.states, [(StateKind::Dead, 1)].into());
}

/// From an edit on, the new arguments are the job's, and the old ones no longer.
pub async fn an_edited_job_is_claimed_by_its_new_arguments(store: &dyn Store) {
    let before = dead(store, &spec("mail", 1)).await;
    store.apply(edit(&before, 2)).await.unwrap();
    apply(store, &before.spec.id, Life::redrive).await;
    let after = found(store, &before.spec.id).await;
    let old = claim(&before.spec, &WorkerId::random());
    assert!(matches!(store.claim(old).await.unwrap(), Claimed::Held(_)));
    let created = store.create(vec![record(after.spec.clone())]).await;
    assert_eq!(created.unwrap(), [Created::Same(StateKind::Queued)]);
    let new = claim(&after.spec, &WorkerId::random());
    granted(store.claim(new).await.unwrap());
}

/// Of two edits, and of an edit and a redrive, made from the same record, one is done.
pub async fn an_edit_from_elsewhere_changes_nothing(store: &dyn Store) {
    let before = dead(store, &spec("mail", 1)).await;
    let (one, other) = (edit(&before, 2), edit(&before, 3));
    assert!(matches!(store.apply(one).await.unwrap(), Applied::Done));
    let edited = found(store, &before.spec.id).await;
    let redrive = Change {
        id: before.spec.id.clone(),
        step: before.life.redrive().unwrap(),
        expires: None,
        edit: None,
    };
    for late in [other, redrive] {
        match store.apply(late).await.unwrap() {
            Applied::Superseded(now) => assert_same(&now, &edited),
            other => panic!("{other:?}"),
        }
    }
    let mut unknown = record(spec("mail", 7));
    unknown.life = before.life.clone();
    let change = edit(&unknown, 2);
    assert!(matches!(
        store.apply(change).await.unwrap(),
        Applied::Missing
    ));
}
