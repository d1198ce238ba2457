//! The stream's promises, one property a file. The identifiers S1 to S9 are those of
//! the guarantees that the documentation states.

mod support;

mod a_batch_that_runs_again_replaces_its_file;
mod a_block_is_acknowledged_only_when_it_is_durable;
mod a_changed_identity_is_refused_unless_adopted;
mod a_compacted_checkpoint_survives_reopening;
mod a_feed_that_is_leaving_is_drained_first;
mod a_feed_that_panics_hangs_nobody;
mod a_file_that_shrank_is_missing_not_skipped;
mod a_log_of_something_else_is_refused;
mod a_restart_resumes_from_the_log;
mod a_restart_runs_exactly_the_planned_ranges;
mod accepted_blocks_become_durable_soon;
mod output_equals_input_from_end_to_end;
mod positions_outlive_release;
mod repeats_are_dropped_by_position;
mod whatever_ends_it_the_output_is_the_input;
mod without_a_log_a_crash_loses_and_says_how_much;
