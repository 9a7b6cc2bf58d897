//! Messages as they are on the wire are read, published and refused as agreed, and the schema that
//! is handed out agrees. Clients in other languages are tested against the same files: see
//! `interop.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use haul_common::{
    job::Outcome,
    life::{Life, Stop},
    wire::{dead, decode, encode, schema, topology::origin_of},
};
use haul_tests::golden::{ARRIVAL, instance, jobs, wrong};
use jsonschema::Validator;
use serde_json::Value;

#[test]
fn every_golden_message_is_read_as_the_job_beside_it() {
    for golden in jobs() {
        golden.is_read_from(&golden.message());
    }
}

#[test]
fn what_haul_publishes_is_the_golden_message() {
    for golden in jobs().iter().filter(|golden| golden.ours) {
        let published = encode(&golden.envelope());
        assert_eq!(published, golden.message(), "{}", golden.name);
    }
}

#[test]
fn a_dead_letter_is_the_golden_one() {
    for golden in jobs() {
        let Some(death) = &golden.dead else { continue };
        let envelope = golden.envelope();
        let mut life = Life::queued();
        life.attempt = envelope.attempt;
        let worker = "w-1".parse().unwrap();
        let claim = life.claim(worker, life.fence.next(1), ARRIVAL);
        let stop = Stop {
            outcome: Outcome::Failed,
            error: Some(death.error.clone()),
        };
        let step = claim.unwrap().life.die(death.reason, stop, ARRIVAL);
        let letter = dead(encode(&envelope), &envelope.spec, &step.unwrap().life);
        assert_eq!(letter, golden.message(), "{}", golden.name);
    }
}

#[test]
fn every_wrong_message_is_refused_for_what_is_wrong_with_it() {
    for wrong in wrong() {
        let (queue, lane) = origin_of(&wrong.routing_key).unwrap();
        let read = decode(&wrong.message(), (&queue, lane), ARRIVAL);
        assert_eq!(read.unwrap_err().field, wrong.field, "{}", wrong.about);
    }
}

fn schema_of_a_job() -> Validator {
    let schema: Value = serde_json::from_str(&schema::job()).unwrap();
    let options = jsonschema::draft202012::options();
    let validator = options.should_validate_formats(true).build(&schema);
    validator.unwrap()
}

#[test]
fn the_schema_takes_every_golden_message() {
    let schema = schema_of_a_job();
    for golden in jobs() {
        let instance = instance(&golden.routing_key, &golden.head, &golden.body).unwrap();
        let errors: Vec<_> = schema
            .iter_errors(&instance)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", golden.name);
    }
}

#[test]
fn the_schema_refuses_every_wrong_message() {
    let schema = schema_of_a_job();
    let mut seen = 0;
    for wrong in wrong() {
        let Some(instance) = instance(&wrong.routing_key, &wrong.head, &wrong.body) else {
            assert_eq!(wrong.field, "body", "{}", wrong.about);
            continue;
        };
        assert!(!schema.is_valid(&instance), "{}", wrong.about);
        seen += 1;
    }
    assert!(seen >= 20, "only {seen}");
}

#[test]
fn the_schemas_own_examples_are_jobs() {
    let schema: Value = serde_json::from_str(&schema::job()).unwrap();
    let validator = schema_of_a_job();
    for example in schema["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example), "{example}");
    }
}
