//! Every claim over every adapter. What a claim says is in `haul_tests::conformance`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use haul_tests::backends;

/// One module of tests: these claims, over this backend.
macro_rules! over {
    ($adapter:ident = $backend:path => $($claims:ident::{$($claim:ident),* $(,)?}),* $(,)?) => {
        mod $adapter {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let fixture = $backend().await;
                    haul_tests::conformance::$claims::$claim(&*fixture.it).await;
                }
            )*)*
        }
    };
}

/// Every claim about brokers, over each adapter named. The fault-injecting wrapper is one more.
macro_rules! brokers {
    ($($adapter:ident = $backend:path),* $(,)?) => {$(
        over! { $adapter = $backend =>
            broker::{
                a_confirmed_message_is_delivered,
                a_waiting_consumer_gets_what_comes,
                an_acknowledged_message_never_comes_again,
                a_released_message_comes_again_at_once,
                an_unsettled_message_comes_again_when_its_consumer_ends,
                a_dropped_settlement_settles_nothing,
                what_was_handed_out_can_be_settled_after_the_inbox_is_dropped,
                prefetch_is_respected,
                consumers_of_a_lane_share_it,
                lanes_are_separate,
                order_within_a_lane_is_kept,
                a_message_survives_exactly,
                a_message_for_an_undeclared_queue_is_not_lost,
                each_of_a_mixed_batch_gets_its_own_answer,
                a_bulk_of_5000_is_accepted_in_order,
                publishers_do_not_disturb_each_other,
                an_empty_batch_is_answered,
            },
            facts::{
                declaring_twice_changes_nothing,
                facts_tell_what_waits_and_who_consumes,
                dead_letters_are_kept_and_counted,
                an_undeclared_queue_is_an_error_and_no_more,
                the_end_of_a_consumer_is_noticed,
                a_closed_broker_answers_at_once,
                a_healthy_broker_is_found_healthy,
            },
            delays::{
                a_delayed_message_comes_on_time,
                a_coarse_delay_is_a_little_late_at_most,
                a_delay_of_nothing_comes_at_once,
                a_long_delay_does_not_block_a_short_one,
                a_waiting_message_is_not_ready,
                a_delayed_message_is_unchanged,
                a_delay_for_an_undeclared_queue_is_not_lost,
                a_thousand_delays_all_come_once,
            },
        }
    )*};
}

/// Every claim about stores, over each adapter named. The fault-injecting wrapper is one more.
macro_rules! stores {
    ($($adapter:ident = $backend:path),* $(,)?) => {$(
        over! { $adapter = $backend =>
            store::{
                a_record_is_found_as_it_was_created,
                creating_twice_is_told_apart_from_a_conflict,
                many_are_created_at_once,
                a_claim_makes_the_job_run,
                a_claim_is_granted_once,
                a_fence_grows_with_every_claim,
                a_fence_grows_across_the_loss_of_a_record,
                a_claim_that_does_not_fit_is_held,
                a_claim_with_another_digest_is_held,
                a_claim_of_what_runs_or_ended_is_held,
                a_due_job_can_be_claimed,
                an_unknown_job_is_missing,
                a_claim_writes_the_record_that_it_brings,
                a_claim_leaves_a_record_that_is_there,
                the_clock_of_the_store_is_about_right,
                a_healthy_store_is_found_healthy,
                a_closed_store_does_not_hang,
            },
            changes::{
                every_end_of_an_attempt_is_kept_whole,
                every_end_of_a_job_is_kept_whole,
                every_change_of_a_waiting_job_is_kept_whole,
                a_claim_made_as_a_transition_is_kept_whole,
                a_step_from_elsewhere_is_superseded,
                the_second_finisher_is_told,
                applying_twice_changes_once,
                a_step_of_an_unknown_job_is_missing,
                an_attempt_keeps_its_log,
                the_log_of_a_lost_attempt_stays,
                the_history_of_attempts_is_bounded,
                a_thousand_changes_at_once_each_get_their_answer,
            },
            saves::{
                progress_and_log_of_the_running_attempt_are_found,
                what_was_saved_is_found,
                no_name_of_a_step_disturbs_another,
                a_large_checkpoint_is_kept,
                the_next_attempt_finds_what_the_last_one_saved,
                an_old_fence_writes_nothing,
                an_ended_attempt_writes_nothing,
                an_unknown_job_keeps_nothing,
                a_watch_ticks_on_every_change_of_its_job,
                a_wish_to_stop_ticks_the_watch_of_wishes,
                a_hundred_watches_all_tick,
                watches_of_one_job_are_independent,
            },
            scripts::{
                a_script_is_found_as_it_was_kept,
                a_name_means_the_text_that_was_kept_last,
                a_script_that_is_kept_again_is_the_latest,
                old_versions_give_way,
                scripts_are_listed_by_name_in_their_latest_version,
                a_forgotten_script_is_gone_in_all_versions,
                an_unknown_script_is_not_found,
            },
            workers::{
                a_beating_worker_is_listed_and_alive,
                a_retired_worker_is_not_alive,
                a_worker_that_fell_silent_is_lost,
                a_beat_tells_what_was_cancelled_and_what_was_lost,
                a_beat_tells_what_the_store_forgot,
                a_workers_own_jobs_are_orphans_unless_it_has_them_in_hand,
                orphans_are_the_jobs_of_dead_workers,
                orphans_come_a_few_at_a_time,
                a_lease_lives_until_it_ends,
                a_lease_is_renewed_while_it_lasts,
            },
            lists::{
                every_word_of_a_filter_chooses,
                a_filter_follows_a_job_through_its_life,
                pages_have_no_gap_and_nothing_twice,
                pages_stay_whole_while_jobs_come_and_change,
                counts_follow_the_jobs,
                only_what_ended_is_forgotten_and_only_in_time,
                forgetting_goes_a_few_at_a_time,
            },
            pauses::{
                a_pause_is_found_as_it_was_made,
                the_first_pause_stays_until_it_ends,
                workers_hear_of_pauses,
            },
            batches::{
                counts_of_a_batch_follow_its_jobs,
                what_is_not_done_is_not_counted,
                a_batch_is_forgotten_with_its_last_job,
                batches_are_listed_newest_first,
                a_thousand_batches_of_one_job_are_counted,
            },
            edits::{
                an_edit_is_kept_whole,
                an_edited_job_is_claimed_by_its_new_arguments,
                an_edit_from_elsewhere_changes_nothing,
            },
        }
    )*};
}

brokers! {
    rabbitmq = super::backends::rabbitmq,
    sqlite_broker = super::backends::sqlite_broker,
    faulty_broker = super::backends::faulty_broker,
}

stores! {
    redis = super::backends::redis,
    sqlite_store = super::backends::sqlite_store,
    faulty_store = super::backends::faulty_store,
}

/// A claim that nobody runs claims nothing.
#[test]
fn every_claim_is_run() {
    let here = include_str!("conformance.rs");
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance");
    for file in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for rest in text.split("\npub async fn ").skip(1) {
            let (name, _) = rest.split_once('(').unwrap();
            assert!(here.contains(&format!(" {name},\n")), "{name} is not run");
        }
    }
}
