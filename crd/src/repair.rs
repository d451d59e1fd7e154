//! What the operator does by itself about members that will not come back.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, its visibility included"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::defaults;

/// What the operator does by itself about members that will not come back.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// Whether a member whose node is gone, or whose data was found damaged, starts over on a new volume, where the others
    /// can spare it.
    #[serde(default = "crate::defaults::enabled")]
    pub automatic: bool,

    /// How long a pod may be ending on a node that does not answer, or find no node that has its volume, like `30m`.
    #[serde(default = "crate::defaults::replace_after")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = crate::rules::replace_after_is_in_range())]
    pub replace_after: String,
}

impl Repair {
    /// `replace_after` in seconds; what the schema would not let through is for ever.
    pub fn replace_after_seconds(&self) -> i64 {
        let number =
            |unit: char| self.replace_after.strip_suffix(unit).and_then(|text| text.parse::<i64>().ok());
        let seconds = number('s').or_else(|| number('m').and_then(|minutes| minutes.checked_mul(60)));
        seconds.or_else(|| number('h').and_then(|hours| hours.checked_mul(3_600))).unwrap_or(i64::MAX)
    }
}

impl Default for Repair {
    fn default() -> Self {
        Self { automatic: defaults::enabled(), replace_after: defaults::replace_after() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_in_each_unit() {
        let seconds =
            |text: &str| Repair { replace_after: text.into(), ..Repair::default() }.replace_after_seconds();
        assert_eq!(["90s", "30m", "2h"].map(seconds), [90, 1_800, 7_200]);
        assert_eq!(["", "30", "m", "1d"].map(seconds), [i64::MAX; 4]);
    }
}
