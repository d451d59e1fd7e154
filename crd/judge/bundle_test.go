// Package judge lets the Operator Framework's own validators look at the bundle: those that `operator-sdk bundle validate` runs by default,
// and those for OperatorHub. It is a test, so that what they find fails it, and so that it is seen to find things.
package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
)

const bundle = "../../bundle"

// The two that are left out: one is of no use to anybody any more, by its own word, and one pulls the images.
var validators = validation.DefaultBundleValidators.WithValidators(
	validation.OperatorHubV2Validator,
	validation.StandardCapabilitiesValidator,
	validation.StandardCategoriesValidator,
	validation.ObjectValidator,
	validation.OperatorGroupValidator,
	validation.AlphaDeprecatedAPIsValidator,
	validation.GoodPracticesValidator,
)

// judged says what is wrong with the bundle in a folder, warnings too.
func judged(t *testing.T, folder string) []string {
	t.Helper()
	read, err := manifests.GetBundleFromDir(folder)
	if err != nil {
		return []string{err.Error()}
	}
	objects := append(read.ObjectsToValidate(), map[string]string{"k8s-version": "1.34"})
	var found []string
	for _, result := range validators.Validate(objects...) {
		for _, wrong := range append(result.Errors, result.Warnings...) {
			// A right to events names no version, and that of 1.25 is not meant: the operator uses events.k8s.io/v1.
			if text := wrong.Error(); !strings.Contains(text, "Migrate the API(s) for events: ") {
				found = append(found, text)
			}
		}
	}
	return found
}

func TestBundle(t *testing.T) {
	if found := judged(t, bundle); len(found) > 0 {
		t.Error(strings.Join(found, "\n"))
	}
}

// A bundle with something wrong in it is found out.
func TestBrokenBundles(t *testing.T) {
	const version, definition = "manifests/conuredb-operator.clusterserviceversion.yaml", "manifests/conureclusters.conuredb.dev.crd.yaml"
	for name, c := range map[string]struct{ file, old, new, want string }{
		"a definition that nobody owns":     {version, "kind: ConureCluster\n      name: conureclusters.conuredb.dev", "kind: Other\n      name: others.conuredb.dev", "not found in bundle"},
		"a definition that is none":         {definition, "singular: conurecluster", "singular: Conure_Cluster", "singular"},
		"an example of something else":      {version, `"kind": "ConureCluster"`, `"kind": "Other"`, "example"},
		"no way to install it":              {version, "supported: true", "supported: false", "none of InstallModeTypes are supported"},
		"a level that does not exist":       {version, "capabilities: Seamless Upgrades", "capabilities: Perfect", "capabilities"},
		"a category that does not exist":    {version, "categories: Database", "categories: Databases", "categories"},
		"a name without its version":        {version, "name: conuredb-operator.v0.", "name: conuredb-operator-0.", "naming convention"},
		"a channel of another sort":         {"metadata/annotations.yaml", "candidate", "newest", "channel"},
		"an operator that asks for nothing": {version, "requests:", "wishes:", "resource requests"},
	} {
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS(bundle)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, c.file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), c.old) {
			t.Errorf("%s: %s has no %q", name, c.file, c.old)
			continue
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), c.old, c.new)), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := strings.Join(judged(t, folder), "\n"); !strings.Contains(found, c.want) {
			t.Errorf("%s: %q, and not %q", name, found, c.want)
		}
	}
}
