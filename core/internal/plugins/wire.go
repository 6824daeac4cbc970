package plugins

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-rollouts/sluice/core/internal/rollout"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

// Bounds of an answer, generous for honest plugins. A message is at most 4 MiB
// in all; these keep a rollout's memory and status small.
const (
	maxNeeds     = 256
	maxWrites    = 64
	maxObserved  = 256
	maxTargets   = 64 // destinations, managed routes of one place
	maxClaims    = 1024
	maxName      = 512
	maxWait      = 24 * time.Hour
	minRecheck   = time.Second
	maxState     = 1 << 10
	maxMetadata  = 4 << 10
	maxValueText = 64 << 10
)

func targetTo(t rollout.Target) *typesv1.Target {
	return &typesv1.Target{
		Namespace: t.Namespace, Name: t.Name, Uid: t.UID, Generation: t.Generation, Labels: t.Labels,
		Services: &typesv1.ServiceNames{Stable: t.StableService, Canary: t.CanaryService},
	}
}

func configTo(raw json.RawMessage) *typesv1.RawConfig { return &typesv1.RawConfig{Json: raw} }

func inputsTo(results []rollout.NeedResult) []*typesv1.NeedResult {
	out := make([]*typesv1.NeedResult, 0, len(results))
	for _, r := range results {
		w := &typesv1.NeedResult{
			Need: needTo(r.Need), State: stateTo(r.State), ApiVersion: r.APIVersion, Message: r.Message,
		}
		for _, o := range r.Objects {
			w.Objects = append(w.Objects, &typesv1.Object{
				ApiVersion: o.APIVersion, ResourceVersion: o.ResourceVersion, Json: o.JSON, Held: o.Held,
			})
		}
		out = append(out, w)
	}
	return out
}

func needTo(n rollout.Need) *typesv1.Need {
	w := &typesv1.Need{Group: n.Group, Kind: n.Kind, Versions: n.Versions, Namespace: n.Namespace}
	if n.Name != "" {
		w.Selection = &typesv1.Need_Name{Name: n.Name}
		return w
	}
	text := n.SelectorText
	if text == "" && n.Selector != nil && (len(n.Selector.MatchLabels) > 0 || len(n.Selector.MatchExpressions) > 0) {
		text = metav1.FormatLabelSelector(n.Selector)
	}
	w.Selection = &typesv1.Need_LabelSelector{LabelSelector: text}
	return w
}

func stateTo(s rollout.NeedState) typesv1.NeedResult_State {
	switch s {
	case rollout.NeedSynced:
		return typesv1.NeedResult_STATE_SYNCED
	case rollout.NeedForbidden:
		return typesv1.NeedResult_STATE_FORBIDDEN
	case rollout.NeedNotServed:
		return typesv1.NeedResult_STATE_NOT_SERVED
	case rollout.NeedDenied:
		return typesv1.NeedResult_STATE_DENIED
	case rollout.NeedSyncing:
	}
	return typesv1.NeedResult_STATE_SYNCING
}

func needsFrom(needs []*typesv1.Need) ([]rollout.Need, error) {
	if len(needs) > maxNeeds {
		return nil, broken("it lists %d needs, more than %d", len(needs), maxNeeds)
	}
	var out []rollout.Need
	for i, n := range needs {
		need, err := needFrom(n)
		if err != nil {
			return nil, broken("needs[%d]: %v", i, err)
		}
		out = append(out, need)
	}
	return out, nil
}

func needFrom(n *typesv1.Need) (rollout.Need, error) {
	need := rollout.Need{
		Group: n.GetGroup(), Kind: n.GetKind(), Versions: n.GetVersions(), Namespace: n.GetNamespace(),
	}
	if need.Kind == "" || len(need.Versions) == 0 || len(need.Versions) > 16 {
		return need, broken("kind and 1 to 16 versions are required")
	}
	if len(need.Group)+len(need.Kind)+len(need.Namespace) > maxName {
		return need, broken("names are too long")
	}
	switch s := n.GetSelection().(type) {
	case *typesv1.Need_Name:
		if s.Name == "" || len(s.Name) > maxName {
			return need, broken("name is empty or too long")
		}
		need.Name = s.Name
	case *typesv1.Need_LabelSelector:
		if len(s.LabelSelector) > 8*maxName {
			return need, broken("label_selector is too long")
		}
		selector, err := metav1.ParseToLabelSelector(s.LabelSelector)
		if err != nil {
			return need, broken("label_selector: %v", err)
		}
		need.Selector, need.SelectorText = selector, s.LabelSelector
	default:
		return need, broken("neither name nor label_selector is set")
	}
	return need, nil
}

func writesFrom(writes []*typesv1.Write) ([]rollout.Write, error) {
	if len(writes) > maxWrites {
		return nil, broken("it asks for %d writes, more than %d", len(writes), maxWrites)
	}
	var out []rollout.Write
	for i, w := range writes {
		write := rollout.Write{JSON: w.GetJson()}
		switch w.GetOperation() {
		case typesv1.Write_OPERATION_CREATE:
			write.Verb = rollout.WriteCreate
		case typesv1.Write_OPERATION_UPDATE:
			write.Verb = rollout.WriteUpdate
		case typesv1.Write_OPERATION_DELETE:
			write.Verb = rollout.WriteDelete
		case typesv1.Write_OPERATION_UNSPECIFIED:
			fallthrough
		default:
			return nil, broken("writes[%d].operation is %d", i, w.GetOperation())
		}
		var object struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(write.JSON, &object); err != nil {
			return nil, broken("writes[%d].json is no object: %v", i, err)
		}
		if object.APIVersion == "" || object.Kind == "" || object.Metadata.Name == "" {
			return nil, broken("writes[%d].json lacks apiVersion, kind or metadata.name", i)
		}
		out = append(out, write)
	}
	return out, nil
}

// durationFrom reads an optional duration; absent is 0.
func durationFrom(field string, d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, broken("%s: %v", field, err)
	}
	if v := d.AsDuration(); v >= 0 && v <= maxWait {
		return v, nil
	}
	return 0, broken("%s is %v, not between 0 and %v", field, d.AsDuration(), maxWait)
}
