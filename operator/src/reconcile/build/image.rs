//! Which image the members run.

use conure_crd::ConureCluster;

/// The image: as the spec says; where it names neither tag nor digest, the tag that the cluster has already, and at
/// creation the operator's default. So an operator's upgrade never rolls databases.
pub fn choose(cluster: &ConureCluster, running: Option<&str>, default: &str) -> String {
    let wanted = &cluster.spec.image;
    if let Some(reference) = wanted.reference() {
        return reference;
    }
    let suffix = running.and_then(suffix).or_else(|| suffix(default)).unwrap_or(":latest");
    let repository = if running.is_none() && wanted.repository == conure_crd::defaults::IMAGE_REPOSITORY {
        // Whoever configured the operator's default may have mirrored the repository too.
        default.strip_suffix(suffix).unwrap_or(default)
    } else if wanted.repository == conure_crd::defaults::IMAGE_REPOSITORY {
        return running.unwrap_or(default).to_owned();
    } else {
        &wanted.repository
    };
    format!("{repository}{suffix}")
}

/// Why members of these versions cannot roll from the image that they have to this one; `None` where they can, or where
/// tags say nothing of versions. While a rollout is under way both work together, and versions do that only beside each other.
pub fn too_far(image: &str, running: Option<&str>, versions: &[&str]) -> Option<String> {
    let running = running.filter(|running| *running != image)?;
    // Whoever tags images otherwise, by date say, is taken at his word.
    let told = release(&version(running)?);
    if !versions.iter().any(|version| release(version) == told) {
        return None;
    }
    let wanted = version(image)?;
    let (major, minor) = release(&wanted)?;
    let far = versions.iter().filter(|version| {
        release(version).is_some_and(|(own, ours)| own != major || ours.abs_diff(minor) > 1)
    });
    let version = far.min()?;
    Some(format!(
        "members of version {version} do not work together with {wanted}: go up or down one minor version at a time, and let each \
         be Ready before the next; set spec.image.tag to one beside {version}, or restore a backup into a new ConureCluster"
    ))
}

/// Major and minor version.
fn release(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.strip_prefix('v').unwrap_or(version).split('.');
    let (major, minor, _patch) = (parts.next()?, parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The tag of an image, for the version label; `None` where it has none.
pub(super) fn version(image: &str) -> Option<String> {
    let tagged = image.split('@').next().unwrap_or(image);
    let (_, tag) = tagged.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    Some(tag.to_owned())
}

/// `:TAG`, `@DIGEST` or both.
fn suffix(image: &str) -> Option<&str> {
    let path = image.rfind('/').map_or(0, |at| at + 1);
    let at = image.get(path..)?.find([':', '@'])?;
    image.get(path + at..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conure_crd::ConureClusterSpec;

    const DEFAULT: &str = "registry.example:5000/conuredb/conuredb:1.2.3";

    fn cluster(change: impl FnOnce(&mut ConureClusterSpec)) -> ConureCluster {
        let mut spec = ConureClusterSpec::default();
        change(&mut spec);
        ConureCluster::new("conure", spec)
    }

    #[test]
    fn unset_takes_the_default_at_creation_and_keeps_it() {
        let unset = cluster(|_| {});
        assert_eq!(choose(&unset, None, DEFAULT), DEFAULT);
        assert_eq!(choose(&unset, Some(DEFAULT), "conuredb/conuredb:9"), DEFAULT);
    }

    #[test]
    fn another_repository_keeps_the_tag() {
        let mirrored = cluster(|spec| spec.image.repository = "mirror/conure".into());
        assert_eq!(choose(&mirrored, None, DEFAULT), "mirror/conure:1.2.3");
        assert_eq!(
            choose(&mirrored, Some("mirror/conure:1.0@sha256:ab"), DEFAULT),
            "mirror/conure:1.0@sha256:ab"
        );
    }

    #[test]
    fn the_spec_wins() {
        let tagged = cluster(|spec| spec.image.tag = Some("v2".into()));
        assert_eq!(choose(&tagged, Some(DEFAULT), DEFAULT), "conuredb/conuredb:v2");
    }

    #[test]
    fn members_roll_up_or_down_one_minor_version_at_a_time() {
        let far = |image: &str, versions: &[&str]| too_far(image, Some("a/b:v1.4.0"), versions).is_some();
        for tag in ["v1.3.0", "v1.4.9", "1.5.0-rc.1", "v1.4.0+build"] {
            assert!(!far(&format!("a/b:{tag}"), &["1.4.0", "1.4.2"]), "{tag}");
        }
        for tag in ["v1.2.0", "v1.6.0", "v2.4.0", "0.4.0"] {
            assert!(far(&format!("a/b:{tag}"), &["1.4.0"]), "{tag}");
        }
        assert!(far("a/b:v1.5.0", &["1.3.0", "1.4.0"]), "a rollout is under way");
        assert!(
            !far("a/b:latest", &["1.4.0"]) && !far("a/b@sha256:00", &["1.4.0"]) && !far("a/b:v9.0.0", &[])
        );
    }

    #[test]
    fn tags_that_are_no_versions_of_the_server_are_taken_as_they_are() {
        assert_eq!(too_far("a/b:2026.2.0", Some("a/b:2026.1.0"), &["1.4.0"]), None);
        assert_eq!(too_far("a/b:v1.0.0", Some("a/b:v1.0.0"), &["0.1.0"]), None, "it is what they run");
        assert_eq!(too_far("a/b:v1.0.0", None, &["0.1.0"]), None, "there was none before it");
    }

    #[test]
    fn the_version_is_the_tag() {
        assert_eq!(version(DEFAULT).as_deref(), Some("1.2.3"));
        assert_eq!(version("a:1@sha256:b").as_deref(), Some("1"));
        assert_eq!(version("host:5000/a"), None);
    }
}
