//! The stable `type` of every problem that the API answers.

/// What every type begins with.
pub const PREFIX: &str = "urn:conuredb:problem:";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = concat!("urn:conuredb:problem:", $text);)*

        /// Every type that the API answers.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

kinds! {
    /// 404: the key is absent.
    KEY_NOT_FOUND = "key-not-found";
    /// 404: the API has no such path.
    ROUTE_NOT_FOUND = "route-not-found";
    /// 404: no member of that name.
    UNKNOWN_MEMBER = "unknown-member";
    /// 400: the query string is malformed: a missing, doubled or unknown parameter, a bad escape.
    BAD_QUERY = "bad-query";
    /// 400: the key is empty or longer than 4,096 bytes.
    BAD_KEY = "bad-key";
    /// 400: the body is not what the path takes, or could not be read. 408: it did not arrive in time.
    BAD_BODY = "bad-body";
    /// 400: both a `value` parameter and a body.
    TWO_VALUES = "two-values";
    /// 400: a field makes no sense.
    INVALID = "invalid";
    /// 401: the administration's token is missing or wrong.
    UNAUTHORIZED = "unauthorized";
    /// 405: the path does not take this method.
    METHOD_NOT_ALLOWED = "method-not-allowed";
    /// 411: a `PUT` with neither a `value` nor a body.
    LENGTH_REQUIRED = "length-required";
    /// 413: the body is over the limit.
    TOO_LARGE = "too-large";
    /// 415: the body is not declared as `application/json`.
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type";
    /// 421: the `Host` is none of this member's names.
    MISDIRECTED_HOST = "misdirected-host";
    /// 307: another member serves this. 503 where a member that was asked for the leader does not lead.
    NOT_LEADER = "not-leader";
    /// 409: the member at the address to join has another name.
    NAME_MISMATCH = "name-mismatch";
    /// 409: the name to join belongs to a living member.
    NAME_TAKEN = "name-taken";
    /// 409: the member to join belongs to another cluster and does not let go of it.
    FOREIGN_CLUSTER = "foreign-cluster";
    /// 409: the directory of the member to join, or a copy of it, is in use at the address that the cluster knows.
    COPIED_DIRECTORY = "copied-directory";
    /// 409: the log of the member to join lost entries that it had acknowledged.
    LOST_ENTRIES = "lost-entries";
    /// 409: another membership change is under way.
    CHANGE_IN_PROGRESS = "change-in-progress";
    /// 409: the removal would leave no live quorum, or nobody could take over from the leader.
    NO_QUORUM = "no-quorum";
    /// 409: the member to remove is the last data member that votes.
    LAST_MEMBER = "last-member";
    /// 409: leadership cannot go to that member.
    CANNOT_LEAD = "cannot-lead";
    /// 409: the member to bootstrap is not an empty data member of that cluster.
    NOT_EMPTY = "not-empty";
    /// 409: any other contradiction between the request and the cluster's state.
    CONFLICT = "conflict";
    /// 501: a write carries a condition, which this server cannot check; nothing was done.
    CONDITION_NOT_SUPPORTED = "condition-not-supported";
    /// 501: a body has a transfer coding beside `chunked`; nothing was done.
    CODING_NOT_SUPPORTED = "coding-not-supported";
    /// 502: the address could not be reached; nothing was changed.
    UNREACHABLE = "unreachable";
    /// 503: no leader is known.
    NO_LEADER = "no-leader";
    /// 503: this member belongs to no cluster.
    NOT_IN_CLUSTER = "not-in-cluster";
    /// 503: a linearizable read met its `barrier_timeout`.
    BARRIER_TIMEOUT = "barrier-timeout";
    /// 503: too much waits already.
    BUSY = "busy";
    /// 507: the leader's disk is nearly full; reads and deletes go on.
    DISK_NEARLY_FULL = "disk-nearly-full";
    /// 503: the member stops.
    STOPPING = "stopping";
    /// 503: the member is not ready; the text says why.
    NOT_READY = "not-ready";
    /// 504: whether the change was or will be made is unknown.
    UNKNOWN_OUTCOME = "unknown-outcome";
    /// 503: the storage failed, a read was not served and the process is about to end. A change is 504 then.
    STORAGE = "storage";
    /// 503: a task of the member has ended; its process is about to end. Only `/livez` answers this.
    TASK_ENDED = "task-ended";
    /// 500: the server did not do what it should.
    INTERNAL = "internal";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_api_page_lists_every_type_and_no_other() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http-api.md");
        let page = std::fs::read_to_string(page).unwrap();
        let section = page.split("\n## Errors\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
        let listed: BTreeSet<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let names = ALL.iter().map(|kind| kind.strip_prefix(PREFIX).unwrap());
        assert_eq!(listed, names.collect::<BTreeSet<&str>>());
    }
}
