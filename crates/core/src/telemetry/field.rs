//! The fields of telemetry datagrams: id and type of each.

use crate::metrics::Phase;

/// A field that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer(pub(super) u16);

/// A field that is a number with a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Float(pub(super) u16);

/// A field that is a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text(pub(super) u16);

/// A field that is a list of counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers(pub(super) u16);

/// A field that is a list of numbers with fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floats(pub(super) u16);

macro_rules! fields {
    ($($id:literal $type:ident $name:ident $key:literal;)*) => {
        $(#[doc = concat!("`", $key, "`")] pub const $name: $type = $type($id);)*

        #[cfg(test)]
        const ALL: &[(u16, &str)] = &[$(($id, $key)),*];
    };
}

fields! {
    1 Text VERSION "mod_wsgi_version";
    2 Text PYTHON_VERSION "python_version";
    3 Text APACHE_VERSION "apache_version";
    4 Text MPM_NAME "mpm_name";
    5 Text HOSTNAME "hostname";
    6 Text PROCESS_GROUP "process_group";
    7 Integer PROCESS_PARENT_PID "process_parent_pid";
    8 Text INTERPRETER_NAME "interpreter_name";
    10 Float SAMPLE_PERIOD "sample_period";
    11 Float TELEMETRY_INTERVAL "telemetry_interval";
    12 Float SLOW_REQUESTS_THRESHOLD "slow_requests_threshold";
    13 Float SWITCH_INTERVAL "switch_interval";
    20 Integer REQUEST_COUNT "request_count";
    21 Float REQUEST_THROUGHPUT "request_throughput";
    22 Float CAPACITY_UTILIZATION "capacity_utilization";
    30 Float CPU_USER_UTILIZATION "cpu_user_utilization";
    31 Float CPU_SYSTEM_UTILIZATION "cpu_system_utilization";
    32 Float CPU_UTILIZATION "cpu_utilization";
    40 Integer MEMORY_RSS "memory_rss";
    41 Integer MEMORY_MAX_RSS "memory_max_rss";
    50 Integer THREADS_MAXIMUM "request_threads_maximum";
    51 Integer THREADS_STARTED "request_threads_started";
    52 Integer THREADS_ACTIVE "request_threads_active";
    100 Integer INPUT_BYTES "input_bytes_total";
    101 Integer INPUT_READS "input_reads_total";
    102 Integer OUTPUT_BYTES "output_bytes_total";
    103 Integer OUTPUT_WRITES "output_writes_total";
    110 Integers THREADS_COMPLETED "request_threads_completed";
    111 Floats THREADS_BUSY_TIME "request_threads_busy_time";
    112 Floats THREADS_CPU_TIME "request_threads_cpu_time";
    113 Floats THREADS_CURRENT_ELAPSED "request_threads_current_elapsed";
    114 Floats THREADS_MAX_DURATION "request_threads_max_duration";
    130 Text SHUTDOWN_REASON "shutdown_reason";
    131 Float PROCESS_UPTIME "process_uptime";
    132 Integer LIFETIME_REQUEST_COUNT "lifetime_request_count";
    133 Integer ACTIVE_AT_DECISION "active_requests_at_decision";
    134 Integer ACTIVE_AT_EXIT "active_requests_at_exit";
    135 Integer GRACEFUL_DRAIN "graceful_drain";
    200 Integer SLOW_STATE "slow_record_state";
    201 Float SLOW_START_STAMP "slow_start_stamp";
    202 Float SLOW_DURATION "slow_duration";
    203 Integer SLOW_THREAD_ID "slow_thread_id";
    204 Text SLOW_LOG_ID "slow_log_id";
    205 Integer SLOW_SERVER_PID "slow_server_pid";
    210 Text SLOW_METHOD "slow_method";
    211 Text SLOW_SCHEME "slow_scheme";
    212 Text SLOW_HOSTNAME "slow_hostname";
    213 Text SLOW_SCRIPT_NAME "slow_script_name";
    214 Text SLOW_PATH_INFO "slow_path_info";
    215 Text SLOW_PROTOCOL "slow_protocol";
    216 Text SLOW_PEER_IP "slow_peer_ip";
    217 Text SLOW_USER_AGENT "slow_user_agent";
    220 Float SLOW_SERVER_TIME "slow_server_time";
    221 Float SLOW_QUEUE_TIME "slow_queue_time";
    222 Float SLOW_DAEMON_TIME "slow_daemon_time";
    223 Float SLOW_APPLICATION_TIME "slow_application_time";
    224 Float SLOW_GIL_WAIT_TIME "slow_gil_wait_time";
    225 Integer SLOW_GIL_WAIT_COUNT "slow_gil_wait_count";
    230 Integer SLOW_INPUT_BYTES "slow_input_bytes";
    231 Integer SLOW_INPUT_READS "slow_input_reads";
    232 Integer SLOW_OUTPUT_BYTES "slow_output_bytes";
    233 Integer SLOW_OUTPUT_WRITES "slow_output_writes";
    234 Float SLOW_INPUT_READ_TIME "slow_input_read_time";
    235 Float SLOW_OUTPUT_WRITE_TIME "slow_output_write_time";
    240 Integer SLOW_STATUS "slow_status";
    250 Float SLOW_CPU_USER_TIME "slow_cpu_user_time";
    251 Float SLOW_CPU_SYSTEM_TIME "slow_cpu_system_time";
    260 Integer SLOW_ACTIVE_AT_START "slow_active_at_start";
    261 Integer SLOW_ACTIVE_AT_COMPLETION "slow_active_at_completion";
    315 Integer GC_IS_ENABLED "gc_is_enabled";
    316 Integer GC_FREEZE_COUNT "gc_freeze_count";
    317 Integer GC_DROPPED_EVENTS "gc_dropped_events";
    320 Float GC_EVENT_START_STAMP "gc_event_start_stamp";
    321 Float GC_EVENT_DURATION "gc_event_duration";
    322 Integer GC_EVENT_GENERATION "gc_event_generation";
    323 Integer GC_EVENT_COLLECTED "gc_event_collected";
    324 Integer GC_EVENT_UNCOLLECTABLE "gc_event_uncollectable";
}

/// `status_1xx_total` to `status_5xx_total`.
pub const STATUSES: [Integer; 5] = [Integer(120), Integer(121), Integer(122), Integer(123), Integer(124)];

/// `gc_count0` to `gc_count2`: objects and collections since a generation was last collected.
pub const GC_COUNTS: [Integer; 3] = [Integer(300), Integer(301), Integer(302)];
/// `gc_threshold0` to `gc_threshold2`.
pub const GC_THRESHOLDS: [Integer; 3] = [Integer(303), Integer(304), Integer(305)];
/// `gc_collections0` to `gc_collections2`.
pub const GC_COLLECTIONS: [Integer; 3] = [Integer(306), Integer(307), Integer(308)];
/// `gc_collected0` to `gc_collected2`.
pub const GC_COLLECTED: [Integer; 3] = [Integer(309), Integer(310), Integer(311)];
/// `gc_uncollectable0` to `gc_uncollectable2`.
pub const GC_UNCOLLECTABLE: [Integer; 3] = [Integer(312), Integer(313), Integer(314)];

/// Returns the field of a phase's mean.
#[must_use]
pub const fn mean(phase: Phase) -> Float {
    Float(60 + phase as u16)
}

/// Returns the field of a phase's shortest time.
#[must_use]
pub const fn least(phase: Phase) -> Float {
    Float(70 + phase as u16)
}

/// Returns the field of a phase's longest time.
#[must_use]
pub const fn most(phase: Phase) -> Float {
    Float(80 + phase as u16)
}

/// Returns the field of the distribution of a phase's times.
#[must_use]
pub const fn buckets(phase: Phase) -> Integers {
    Integers(90 + phase as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_in_order() {
        for pair in ALL.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{pair:?}");
        }
        for (id, key) in ALL {
            assert_eq!(ALL.iter().filter(|(_, other)| other == key).count(), 1, "{id} {key}");
        }
    }

    #[test]
    fn phases_have_the_numbers_of_the_contract() {
        let keys =
            ["server", "queue", "daemon", "application", "request", "gil_wait", "input_read", "output_write"];
        for (number, (phase, key)) in (0..).zip(Phase::ALL.into_iter().zip(keys)) {
            assert_eq!(phase.key(), format!("{key}_time"));
            assert_eq!((mean(phase), least(phase)), (Float(60 + number), Float(70 + number)));
            assert_eq!((most(phase), buckets(phase)), (Float(80 + number), Integers(90 + number)));
        }
    }
}
