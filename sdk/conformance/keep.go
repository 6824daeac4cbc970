package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Built builds the Go program in a folder, such as `.`, and runs it as Binary does. The executable goes with the test; a
// program that does not compile ends the test.
func Built(t *testing.T, folder string) Launcher {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "plugin")
	// The folder is the test's own, not anybody's input.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".") //nolint:gosec
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the plugin in %s: %v\n%s", folder, err, out)
	}

	return Binary(binary)
}

// TestKept compares a report with the file that holds it beside the plugin's source, where it says what a version promises
// without anybody running the suite. A failed case fails the test. With renew, which is usually a flag of the test, the
// file is written instead.
func TestKept(t *testing.T, file string, renew bool, report Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("running the suite: %v", err)
	}
	for _, failure := range report.Failures() {
		t.Errorf("%s: %s\ncure: %s", failure.Case, failure.Detail, failure.Cure)
	}
	raw, err := report.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if renew {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}

		return
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("reading the report that is kept (renewing writes it): %v", err)
	}
	if string(kept) != string(raw) {
		t.Errorf("the report is another one than in %s; renewed, it says\n%s", file, raw)
	}
}
