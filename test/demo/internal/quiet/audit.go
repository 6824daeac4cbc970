package quiet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// AuditPolicy makes the API server log one line per write that it has answered.
const AuditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
  - level: None
`

// reviews are asked of the API server with a create, and store nothing.
var reviews = []string{"tokenreviews", "subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}

// ReadAudit counts the writes in an audit log, other than of leases, by user and
// then by "verb resource".
func ReadAudit(r io.Reader) (map[string]Counts, error) {
	byUser := map[string]Counts{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb string `json:"verb"`
			User struct {
				Username string `json:"username"`
			} `json:"user"`
			ObjectRef struct {
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
			} `json:"objectRef"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		resource := event.ObjectRef.Resource
		if resource == leases || slices.Contains(reviews, resource) {
			continue
		}
		if event.ObjectRef.Subresource != "" {
			resource += "/" + event.ObjectRef.Subresource
		}
		user := event.User.Username
		if byUser[user] == nil {
			byUser[user] = Counts{}
		}
		byUser[user][event.Verb+" "+resource]++
	}
	return byUser, lines.Err()
}
