//! The stable `type` of every problem that the API answers.

/// What every type begins with.
pub const PREFIX: &str = "urn:conuredb:problem:";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = concat!("urn:conuredb:problem:", $text);)*
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
    /// 400: the body is not what the path takes, or could not be read.
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
    /// 307: another member serves this.
    NOT_LEADER = "not-leader";
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
    /// 503: the member stops.
    STOPPING = "stopping";
    /// 503: the member is not ready; the text says why.
    NOT_READY = "not-ready";
    /// 504: whether the change was or will be made is unknown.
    UNKNOWN_OUTCOME = "unknown-outcome";
    /// 500: the storage failed; the process is about to end.
    STORAGE = "storage";
    /// 500: the server did not do what it should.
    INTERNAL = "internal";
}
