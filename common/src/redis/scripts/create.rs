//! `create.lua`

use ::redis::Value;

use super::{CREATE, Call, Keys, Unreadable, forget};
use crate::{
    job::Record,
    life::expires,
    ports::Created,
    redis::{record, reply},
};

pub(super) fn keys(keys: &Keys) -> Vec<String> {
    vec![
        keys.job(""),
        keys.indexes(),
        keys.expiry(),
        keys.tallies(),
        keys.queues(),
        keys.batches(),
        keys.all_batches(),
    ]
}

pub(in crate::redis) fn create(job: &Record) -> Call {
    values(Call::one_of(&CREATE).text(&job.spec.id), job)
}

/// What `record.lua` needs.
pub(super) fn values(call: Call, job: &Record) -> Call {
    let Record { spec, life, .. } = job;
    let state = life.state.kind();
    let call = call.text(&spec.queue).number(job.created.as_millis());
    let call = forget(call, expires(spec, life), life).text(state.as_str());
    let call = call.text(spec.batch.as_deref().unwrap_or_default());
    let mut fields = record::write(job).into_iter();
    // The script knows the names of those that every record has.
    let named = fields.by_ref().take(record::FIRST.len());
    let call = named.fold(call, |call, (_, value)| call.bytes(&value));
    call.pairs(fields)
}

pub(in crate::redis) fn created(value: Value) -> Result<Created, Unreadable> {
    match reply::text(value)?.as_str() {
        "new" => Ok(Created::New),
        "conflict" => Ok(Created::Conflict),
        state => state.parse().map(Created::Same),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        job::{Reason, Spec, json},
        life::Life,
        time::Timestamp,
    };

    #[test]
    fn only_a_record_that_is_born_terminal_expires() {
        let args = json(&()).unwrap();
        let spec = Spec::new("a".parse().unwrap(), "q".parse().unwrap(), args);
        let now = Timestamp::from_millis(0);
        let mut job = Record::new(spec, Life::queued(), now);
        assert_eq!(expires(&job.spec, &job.life), None);
        job.life = Life::stillborn(Reason::Malformed, "bytes".into(), now);
        assert_eq!(
            expires(&job.spec, &job.life),
            Some(now + Duration::from_secs(7 * 24 * 3600))
        );
        job.spec.retention = Some(Duration::from_secs(5));
        assert_eq!(
            expires(&job.spec, &job.life),
            Some(now + Duration::from_secs(5))
        );
    }
}
