//! The steps of the end-to-end tests, in the order in which they run on one cluster.
//!
//! Each step leaves the cluster Ready with three data members, so that the next one can begin from there; a step that
//! finds it otherwise says so at once. While they run, the workload writes and reads.
//!
//! **Invariant:** a step asserts what a user may rely on, not what the operator happens to do today; a step that cannot
//! run on a Kubernetes is reported as not run, never as passed.

mod arbiter;
mod bad_input;
mod chaos;
mod charts;
mod delete;
mod documented;
mod faults;
mod install;
mod lease;
mod node;
mod operator;
mod plugin;
mod pods;
mod quorum;
mod rbac;
mod repair;
mod rollout;
mod scale;
mod service;
mod settings;
mod status;
mod timing;
mod verdict;
mod volumes;
mod world;

use anyhow::Result;
use futures::future::LocalBoxFuture;

pub use chaos::chaos;
pub use settings::Settings;
pub use timing::procedures;
pub use world::World;

/// One named step.
#[derive(Clone, Copy)]
pub struct Step {
    /// Its name, which says what holds when it passed.
    pub name: &'static str,
    /// Whether it needs the machine on which the nodes are.
    pub local: bool,
    /// Whether clients write and read meanwhile.
    pub under_load: bool,
    /// What it does.
    pub run: for<'a> fn(&'a mut World) -> LocalBoxFuture<'a, Result<()>>,
}

macro_rules! step {
    ($module:ident :: $name:ident) => {
        Step {
            name: stringify!($name),
            local: false,
            under_load: false,
            run: |world| Box::pin($module::$name(world)),
        }
    };
    (local $($rest:tt)*) => {
        Step { local: true, ..step!($($rest)*) }
    };
    (under load $($rest:tt)*) => {
        Step { under_load: true, ..step!($($rest)*) }
    };
}

/// Every step in its order.
pub const STEPS: &[Step] = &[
    step!(install::operator_is_installed_by_its_chart),
    step!(install::applied_cluster_becomes_ready),
    step!(under load service::plain_curl_writes_and_reads_through_the_service),
    step!(under load service::server_image_runs_alone_with_nothing_else_said),
    step!(under load scale::cluster_scales_from_3_to_5_to_3),
    step!(under load scale::changes_of_mind_end_where_the_last_one_says),
    step!(under load scale::volumes_of_members_that_go_are_deleted_where_the_policy_says_so),
    step!(under load lease::operator_shows_its_figures_through_its_service),
    step!(local under load arbiter::two_data_members_and_an_arbiter_survive_the_leader_while_the_other_is_behind),
    step!(local under load arbiter::four_data_members_and_an_arbiter_survive_the_leader_while_one_is_behind),
    step!(under load pods::deleted_pods_come_back_as_the_same_members),
    step!(under load volumes::wiped_voter_rejoins_as_a_new_member_of_its_name),
    step!(under load volumes::wiped_bootstrap_member_rejoins_the_cluster_that_there_is),
    step!(under load repair::follower_and_leader_are_replaced_when_asked),
    step!(under load repair::claims_deleted_under_their_members_are_made_anew_one_at_a_time),
    step!(under load repair::follower_with_damaged_data_starts_over_by_itself),
    step!(local under load repair::member_of_a_lost_node_starts_over_on_another),
    step!(quorum::cluster_goes_on_after_three_of_five_volumes_were_lost),
    step!(under load status::wiped_status_is_found_again_from_the_members),
    step!(local under load node::cut_off_node_stops_nobody_else),
    step!(local under load node::every_node_is_drained_in_turn_and_writers_go_on),
    step!(under load operator::killed_operator_carries_on_at_ten_points),
    step!(under load lease::deleted_operator_leaves_its_lease_to_the_next),
    step!(under load lease::operator_that_lost_its_lease_ends_and_waits_for_it),
    step!(under load rollout::changed_template_rolls_one_member_at_a_time_leader_last),
    step!(under load rollout::bad_image_stops_at_the_first_member_and_goes_back_with_the_spec),
    step!(local under load rollout::version_too_far_away_is_refused_and_the_rest_is_rolled),
    step!(local under load plugin::kubectl_conure_shows_and_changes_what_there_is),
    step!(under load rollout::disruption_budget_goes_and_comes_as_asked),
    step!(under load bad_input::invalid_clusters_are_refused_with_the_mend),
    step!(under load bad_input::template_that_the_api_server_refuses_is_named_and_never_ready),
    step!(under load bad_input::image_that_cannot_be_pulled_is_named_and_mended),
    step!(under load bad_input::image_without_the_server_is_named_and_mended),
    step!(under load bad_input::absent_storage_class_is_named_and_mended),
    step!(under load bad_input::storage_that_cannot_grow_is_named_and_the_size_may_be_taken_back),
    step!(under load verdict::no_acknowledged_write_was_lost_and_no_read_was_old),
    step!(verdict::every_replica_holds_the_same),
    step!(delete::deleted_cluster_leaves_its_volumes_and_a_new_one_goes_on_with_them_only_when_asked),
    step!(charts::single_chart_installs_and_passes_its_test),
    step!(charts::ha_chart_grows_by_an_upgrade),
    step!(local rbac::every_granted_verb_is_used_and_none_refused),
    step!(install::everything_is_removed_again),
    step!(local documented::documented_commands_do_what_the_pages_say),
];
