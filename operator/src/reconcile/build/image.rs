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
    fn the_version_is_the_tag() {
        assert_eq!(version(DEFAULT).as_deref(), Some("1.2.3"));
        assert_eq!(version("a:1@sha256:b").as_deref(), Some("1"));
        assert_eq!(version("host:5000/a"), None);
    }
}
