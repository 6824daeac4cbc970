package stage

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sluice-rollouts/sluice/test/devcluster"
)

// unasked are rights that the stories need not have used, with the code or the suite
// that does.
var unasked = map[string]string{}

func init() {
	for reason, rights := range map[string][]string{
		"checked for the owners of new objects where OwnerReferencesPermissionEnforcement is on": {
			"argoproj.io rollouts/finalizers update", "argoproj.io experiments/finalizers update",
		},
		"act reads what a create finds to exist already: a pass was interrupted between the create and what remembers it": {
			"apps replicasets get", "argoproj.io analysisruns get", "argoproj.io experiments get", "core services get",
		},
		"observe reads templates that the cache does not have yet": {
			"argoproj.io analysistemplates get", "argoproj.io clusteranalysistemplates get",
		},
		"clean-up beyond revisionHistoryLimit and the history of runs, told by the simulator's stories": {
			"apps replicasets delete", "argoproj.io analysisruns delete", "argoproj.io experiments delete",
		},
		"test/e2e/dataplane routes these kinds, and across namespaces": {
			"gateway.networking.k8s.io grpcroutes watch", "gateway.networking.k8s.io grpcroutes patch",
			"gateway.networking.k8s.io tcproutes watch", "gateway.networking.k8s.io tcproutes patch",
			"gateway.networking.k8s.io tlsroutes watch", "gateway.networking.k8s.io tlsroutes patch",
			"gateway.networking.k8s.io referencegrants watch",
		},
		"workloadRef to a PodTemplate, which the simulator tells": {"core podtemplates watch"},
	} {
		for _, r := range rights {
			unasked[r] = reason
		}
	}
}

// anybodys are requests that every account may make.
var anybodys = []string{"authorization.k8s.io selfsubjectaccessreviews create"}

const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:` + controllerNamespace + `:` + controllerAccount + `"]
  - level: None
`

// auditFlags make the API server write down what the controllers ask for.
func (s *Stage) auditFlags() ([]string, error) {
	policy := filepath.Join(s.bin, "audit-policy.yaml")
	err := os.WriteFile(policy, []byte(auditPolicy), 0o600)
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + s.auditLog()}, err
}

func (s *Stage) auditLog() string { return filepath.Join(s.bin, "audit.log") }

// CheckRights compares what deploy/ lets the controller do with what the stories
// have made it do: it fails for a request that was refused, and for a right that no
// story has used. Only roles of plugins that are on this stage are looked at.
func (s *Stage) CheckRights() error {
	used, refused, err := readAudit(s.auditLog())
	if err != nil {
		return err
	}
	here := []string{controllerAccount, controllerAccount + "-secrets"}
	for _, plugin := range bundled {
		here = append(here, "sluice-plugin-"+plugin)
	}
	granted, err := s.granted(func(role string) bool { return slices.Contains(here, role) })
	if err != nil {
		return err
	}
	anywhere, err := s.granted(func(role string) bool {
		return slices.Contains(here, role) || strings.HasPrefix(role, "sluice-plugin-")
	})
	if err != nil {
		return err
	}
	var problems []string
	for _, r := range slices.Sorted(maps.Keys(refused)) {
		problems = append(problems, "refused, so a role of deploy/ lacks it: "+r)
	}
	for _, r := range slices.Sorted(maps.Keys(granted)) {
		// Informers list only where the API server cannot stream lists.
		watched, list := strings.CutSuffix(r, " list")
		streamed := list && (used[watched+" watch"] || unasked[watched+" watch"] != "")
		if !used[r] && !streamed && unasked[r] == "" {
			problems = append(problems, "granted by "+granted[r]+" and never used: "+r)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(used)) {
		ofAReader := strings.Contains(r, ".example.com ") // a story's own plugin, with a role of its own
		if anywhere[r] == "" && !slices.Contains(anybodys, r) && !ofAReader {
			problems = append(problems, "used without a right that deploy/ gives: "+r)
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("rights of the controller:\n  %s", strings.Join(problems, "\n  "))
	}
	if len(used) == 0 {
		return fmt.Errorf("rights of the controller: the audit log shows no request")
	}
	return nil
}

// readAudit are the rights, as group, resource and verb, that were used and those
// that were refused.
func readAudit(path string) (used, refused map[string]bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	used, refused = map[string]bool{}, map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct {
			Verb           string
			ObjectRef      *struct{ APIGroup, Resource, Subresource string }
			ResponseStatus struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		ref := event.ObjectRef
		if ref == nil || ref.Resource == "" {
			continue // discovery and the like
		}
		resource := ref.Resource
		if ref.Subresource != "" {
			resource += "/" + ref.Subresource
		}
		r := right(ref.APIGroup, resource, event.Verb)
		used[r] = true
		if event.ResponseStatus.Code == 403 {
			refused[r] = true
		}
	}
	return used, refused, lines.Err()
}

func right(group, resource, verb string) string {
	if group == "" {
		group = "core"
	}
	return group + " " + resource + " " + verb
}

// granted are the rights that some roles of deploy/ give, with the role that does.
func (s *Stage) granted(roles func(name string) bool) (map[string]string, error) {
	out := map[string]string{}
	for _, path := range devcluster.Permissions {
		files, err := filepath.Glob(s.path(path))
		if info, statErr := os.Stat(s.path(path)); statErr == nil && info.IsDir() {
			files, err = filepath.Glob(filepath.Join(s.path(path), "*.yaml"))
		}
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := addRights(out, file, roles); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func addRights(out map[string]string, path string, roles func(name string) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var role rbacv1.ClusterRole // a Role has the same shape
		if decoder.Decode(&role) != nil {
			return nil
		}
		if role.Kind != "ClusterRole" && role.Kind != "Role" || !roles(role.Name) {
			continue
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						out[right(group, resource, verb)] = role.Kind + " " + role.Name
					}
				}
			}
		}
	}
}
