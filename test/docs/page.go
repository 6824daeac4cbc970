// Package docs reads the pages about writing plugins, so that tests can follow them. What a block is for is in a comment
// before it, which readers do not see:
//
//	<!-- file: NAME -->   the reader saves it under the name; where a template has the file, it is the same
//	<!-- run -->          the reader runs it; `run: fails` ends with a status other than 0
//	<!-- prints -->       what that prints: these lines in this order, with others between them where … is
//	<!-- from: PATH -->   a part of a file of the repository
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Block is a block of code in a page.
type Block struct {
	// Kind is file, run, prints or from; Name what follows it in the comment.
	Kind, Name string
	// Language is what the page says it is written in.
	Language string
	// Text of the block, with a newline at its end unless it is empty.
	Text string
	// Line of the page it begins in.
	Line int
}

var fence = regexp.MustCompile("(?ms)^(?:<!-- (\\w+)(?:: ([^\n]*?))? -->\n)?```(\\w*)\n(.*?)^```$")

// Root is the folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)

	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Read returns the blocks of a page of docs. Blocks of a language without a comment are an error: nothing would keep them
// right.
func Read(page string) ([]Block, error) {
	raw, err := os.ReadFile(filepath.Join(Root(), "docs", page))
	if err != nil {
		return nil, err
	}
	var blocks []Block
	for _, at := range fence.FindAllSubmatchIndex(raw, -1) {
		part := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}

			return string(raw[at[2*i]:at[2*i+1]])
		}
		b := Block{Kind: part(1), Name: part(2), Language: part(3), Text: part(4), Line: 1 + strings.Count(string(raw[:at[0]]), "\n")}
		if b.Kind == "" && b.Language != "" {
			return nil, fmt.Errorf("%s:%d: a block in %s without a comment that says what it is for", page, b.Line, b.Language)
		}
		if b.Kind != "" {
			blocks = append(blocks, b)
		}
	}

	return blocks, nil
}

// Files are the files a reader of the page has saved in the end, by name.
func Files(blocks []Block) map[string]string {
	files := map[string]string{}
	for _, b := range blocks {
		if b.Kind == "file" {
			files[b.Name] = b.Text
		}
	}

	return files
}
