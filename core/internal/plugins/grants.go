package plugins

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// readVerbs is what "read" stands for: an informer needs all three.
var readVerbs = []string{"get", "list", "watch"}

// expandVerbs checks the verbs and replaces "read". The result is sorted and
// without repetitions.
func expandVerbs(verbs []string) ([]string, error) {
	var out []string
	for _, v := range verbs {
		switch v {
		case "read":
			out = append(out, readVerbs...)
		case "get", "list", "watch", "create", "update", "delete":
			out = append(out, v)
		default:
			return nil, fmt.Errorf("verb %q is not one of read, get, list, watch, create, update, delete", v)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("verbs are missing")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// want is one kind a plugin asked for in Describe.
type want struct {
	kind  schema.GroupKind
	verbs []string
	// selector is nil when the plugin needs every object of the kind.
	selector *metav1.LabelSelector
}

// wantsFrom reads Describe's kinds. Verbs the host does not know are not
// granted.
func wantsFrom(kinds []*lifecyclev1.WantedKind) ([]want, error) {
	wants := make([]want, 0, len(kinds))
	for i, k := range kinds {
		if k.GetKind() == "" {
			return nil, fmt.Errorf("kinds[%d].kind is empty", i)
		}
		w := want{kind: schema.GroupKind{Group: k.GetGroup(), Kind: k.GetKind()}}
		for _, v := range k.GetVerbs() {
			switch v {
			case lifecyclev1.Verb_VERB_READ:
				w.verbs = append(w.verbs, readVerbs...)
			case lifecyclev1.Verb_VERB_CREATE:
				w.verbs = append(w.verbs, "create")
			case lifecyclev1.Verb_VERB_UPDATE:
				w.verbs = append(w.verbs, "update")
			case lifecyclev1.Verb_VERB_DELETE:
				w.verbs = append(w.verbs, "delete")
			case lifecyclev1.Verb_VERB_UNSPECIFIED:
			}
		}
		slices.Sort(w.verbs)
		w.verbs = slices.Compact(w.verbs)
		if text := k.GetLabelSelector(); text != "" {
			selector, err := metav1.ParseToLabelSelector(text)
			if err != nil {
				return nil, fmt.Errorf("kinds[%d].label_selector: %w", i, err)
			}
			w.selector = selector
		}
		wants = append(wants, w)
	}
	return wants, nil
}

// effectiveGrant is what the plugin wants and the entry grants. A bundled
// plugin whose entry says nothing gets what it wants; any other gets nothing.
// What is never grantable is left out in any case.
func effectiveGrant(e *entry, wants []want) rollout.Grant {
	grant := rollout.Grant{AllowNamespaces: e.allowNamespaces}
	for _, w := range wants {
		if rollout.NeverGrantable(w.kind) {
			continue
		}
		verbs := w.verbs
		if e.grants != nil {
			given := rollout.Grant{Rules: *e.grants}
			verbs = slices.DeleteFunc(slices.Clone(w.verbs), func(v string) bool { return !given.Allows(v, w.kind) })
		} else if !e.bundled {
			verbs = nil
		}
		if len(verbs) > 0 {
			grant.Rules = append(grant.Rules, rollout.GrantRule{Group: w.kind.Group, Kind: w.kind.Kind, Verbs: verbs})
		}
	}
	return grant
}

// grantsToPaste is the block an administrator adds to the entry to give the
// plugin what it wants; "" when there is nothing to give.
func grantsToPaste(wants []want) string {
	var b strings.Builder
	for _, w := range wants {
		if rollout.NeverGrantable(w.kind) || len(w.verbs) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n- {group: %q, kind: %s, verbs: [%s]}", w.kind.Group, w.kind.Kind, strings.Join(w.verbs, ", "))
	}
	if b.Len() == 0 {
		return ""
	}
	return "grants:" + b.String()
}
