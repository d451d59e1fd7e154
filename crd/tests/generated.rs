//! The committed files are what the crate makes.

use std::path::Path;

use conure_crd::generated;

#[test]
fn committed_files_are_what_crdgen_writes() {
    for (path, content) in generated::files().unwrap() {
        let committed =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap();
        assert!(committed == content, "{path} is out of date: run `cargo run -p conure-crd --bin crdgen`");
    }
}

#[test]
fn charts_copy_outlives_the_chart() {
    let [(_, manifest), (_, copy)] = generated::files().unwrap();
    assert!(copy.contains("helm.sh/resource-policy: keep"));
    assert!(!manifest.contains("helm.sh"), "a plain manifest knows nothing of helm");
    assert!(!copy.contains("{{"), "a chart would read this as a template");
}

#[test]
fn definition_fits_the_annotation_of_kubectl_apply() {
    let [(_, manifest), _] = generated::files().unwrap();
    assert!(
        manifest.len() < 128 * 1024,
        "{} bytes; kubectl apply keeps a copy in an annotation of 256 KiB",
        manifest.len()
    );
}
