package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// manifestEndings are those of the files that are read of a folder, the same as
// kubectl reads.
var manifestEndings = []string{".json", ".yaml", ".yml"}

// expand replaces folders by the manifests in them, in the order of their names;
// folders within are left alone, as kubectl does without --recursive.
func expand(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		if info, err := os.Stat(name); name == "-" || err != nil || !info.IsDir() {
			out = append(out, name) // a file that is not there is told when it is opened
			continue
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return nil, err
		}
		before := len(out)
		for _, e := range entries {
			if !e.IsDir() && slices.Contains(manifestEndings, filepath.Ext(e.Name())) {
				out = append(out, filepath.Join(name, e.Name()))
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("%s: no file in this folder ends in .yaml, .yml or .json", name)
		}
	}
	return out, nil
}
