//! A member whose process ended because its data is damaged.

use conure_client::exit::{DATA_DAMAGED, DATA_DAMAGED_LINE};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::super::build::SERVER;

/// What the process said of it, where the pod's server ended so since the pod began: also where it was started again, as
/// damage inside the data is found only when that is read. Code and words both: an image without the server in it may
/// end with any code.
pub fn damage(pod: &Pod) -> Option<String> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let server = containers.iter().find(|container| container.name == SERVER)?;
    said(server)
}

fn said(server: &ContainerStatus) -> Option<String> {
    let ended = [server.state.as_ref(), server.last_state.as_ref()];
    ended.into_iter().flatten().filter_map(|state| state.terminated.as_ref()).find_map(|ended| {
        // Whatever still ran may have logged after it.
        let mut lines = ended.message.as_deref()?.lines().rev();
        let what = lines.find_map(|line| line.strip_prefix(DATA_DAMAGED_LINE))?;
        (ended.exit_code == i32::from(DATA_DAMAGED)).then(|| what.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ended(code: i32, message: &str) -> Value {
        json!({"terminated": {"exitCode": code, "message": message}})
    }

    fn found(name: &str, state: &Value, last: &Value) -> Option<String> {
        let container = json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1,
            "state": state, "lastState": last});
        let status = json!({"containerStatuses": [container]});
        damage(&serde_json::from_value(json!({"metadata": {"name": "conure-0"}, "status": status})).unwrap())
    }

    const LINE: &str = "it starts\nconure-db: data damaged: page 7 is not what was written\nRaft has ended\n";

    #[test]
    fn damage_is_seen_while_the_server_is_down_and_after_it_was_started_again() {
        let expected = Some("page 7 is not what was written".to_owned());
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(found("conure-db", &ended(3, LINE), &json!({})), expected);
        assert_eq!(found("conure-db", &waits, &ended(3, LINE)), expected);
        assert_eq!(found("conure-db", &json!({"running": {}}), &ended(3, LINE)), expected);
    }

    #[test]
    fn nothing_else_is_taken_for_damage() {
        let none = json!({});
        for code in [0, 1, 2, 101, 137, 139] {
            assert_eq!(found("conure-db", &ended(code, LINE), &none), None, "{code}");
        }
        for message in ["", "nginx: data damaged: x", "conure-db: the storage failed: no room"] {
            assert_eq!(found("conure-db", &ended(3, message), &none), None, "{message}");
        }
        assert_eq!(found("sidecar", &ended(3, LINE), &none), None);
        let untold = json!({"terminated": {"exitCode": 3}});
        assert_eq!(found("conure-db", &untold, &none), None);
        assert_eq!(damage(&Pod::default()), None);
    }
}
