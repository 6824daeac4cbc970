package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/objects"
)

// action is the value of an actions annotation: JSON in which the AWS Load Balancer Controller takes keys in upper and lower
// case. Edits go to the tree, so that what is not about target groups stays.
type action struct {
	tree   map[string]any
	groups []targetGroup
}

// targetGroup is one receiver of a forward action.
type targetGroup struct {
	service string // empty for one that is named in another way
	port    string
	weight  int32
}

// parseAction reads a forward action. The error says what is wrong with it.
func parseAction(text string) (*action, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	a := &action{}
	if err := decoder.Decode(&a.tree); err != nil {
		return nil, fmt.Errorf("is no JSON object: %w", err)
	}
	if kind := fmt.Sprint(field(a.tree, "type")); !strings.EqualFold(kind, "forward") {
		return nil, fmt.Errorf("has type %s, which cannot be split", kind)
	}
	for _, one := range a.list() {
		tree, ok := one.(map[string]any)
		if !ok {
			return nil, errors.New("has a target group that is no object")
		}
		service, _ := field(tree, "serviceName").(string)
		g := targetGroup{service: service, port: fmt.Sprint(field(tree, "servicePort")), weight: 1}
		if number, ok := field(tree, "weight").(json.Number); ok {
			n, err := strconv.ParseInt(number.String(), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("has a target group with weight %s", number)
			}
			g.weight = int32(max(n, 0))
		}
		a.groups = append(a.groups, g)
	}
	if len(a.groups) == 0 {
		return nil, errors.New("has no forwardConfig.targetGroups")
	}

	return a, nil
}

// newAction forwards to nobody yet.
func newAction() *action {
	return &action{tree: map[string]any{"type": "forward", "forwardConfig": map[string]any{"targetGroups": []any{}}}}
}

func (a *action) list() []any {
	forward, _ := field(a.tree, "forwardConfig").(map[string]any)
	groups, _ := field(forward, "targetGroups").([]any)

	return groups
}

// text is the annotation's value.
func (a *action) text() (string, error) { return jsonText(a.tree) }

// set gives services a weight and a port each, in their order after what is there, and removes the target groups of others
// that are named.
func (a *action) set(want []targetGroup, remove []string) {
	all := a.list()
	var like map[string]any
	if len(all) > 0 {
		like, _ = all[0].(map[string]any)
	}
	var kept []any
	rest := slices.Clone(want)
	for i, one := range all {
		g := a.groups[i]
		at := slices.IndexFunc(rest, func(w targetGroup) bool { return g.service != "" && w.service == g.service })
		if at < 0 {
			if g.service == "" || !slices.Contains(remove, g.service) && !slices.ContainsFunc(want, func(w targetGroup) bool { return w.service == g.service }) {
				kept = append(kept, one)
			}

			continue
		}
		tree, _ := one.(map[string]any)
		if g.weight != rest[at].weight || field(tree, "weight") == nil {
			setField(tree, "weight", rest[at].weight)
		}
		if g.port != rest[at].port {
			setField(tree, "servicePort", rest[at].port)
		}
		kept = append(kept, tree)
		rest = slices.Delete(rest, at, at+1)
	}
	for _, w := range rest {
		tree := map[string]any{}
		for _, pair := range []struct {
			key   string
			value any
		}{{"serviceName", w.service}, {"servicePort", w.port}, {"weight", w.weight}} {
			tree[spelling(like, pair.key)] = pair.value
		}
		kept = append(kept, tree)
	}
	forward, ok := field(a.tree, "forwardConfig").(map[string]any)
	if !ok {
		forward = map[string]any{}
		setField(a.tree, "forwardConfig", forward)
	}
	setField(forward, "targetGroups", kept)
}

// stick sets the stickiness of the target groups, or removes it.
func (a *action) stick(to *stickinessConfig) {
	if to == nil {
		return
	}
	forward, _ := field(a.tree, "forwardConfig").(map[string]any)
	const key = "targetGroupStickinessConfig"
	if !to.Enabled {
		delete(forward, spelling(forward, key))

		return
	}
	have, ok := field(forward, key).(map[string]any)
	if !ok {
		have = map[string]any{}
		setField(forward, key, have)
	}
	setField(have, "enabled", true)
	setField(have, "durationSeconds", to.DurationSeconds)
}

// sticks says whether the stickiness is as configured.
func (a *action) sticks(to *stickinessConfig) bool {
	if to == nil {
		return true
	}
	forward, _ := field(a.tree, "forwardConfig").(map[string]any)
	have, ok := field(forward, "targetGroupStickinessConfig").(map[string]any)
	if !to.Enabled {
		return !ok
	}

	return field(have, "enabled") == true && fmt.Sprint(field(have, "durationSeconds")) == fmt.Sprint(to.DurationSeconds)
}

// spelling is a key as the object writes it; the usual one where it does not have it.
func spelling(tree map[string]any, key string) string {
	for have := range tree {
		if strings.EqualFold(have, key) {
			return have
		}
	}
	if _, upper := tree["ServiceName"]; upper { // As Argo Rollouts writes target groups.
		return strings.ToUpper(key[:1]) + key[1:]
	}

	return key
}

func field(tree map[string]any, key string) any { return tree[spelling(tree, key)] }

func setField(tree map[string]any, key string, value any) { tree[spelling(tree, key)] = value }

// jsonText does not escape <, > and &, which encoding/json does by default.
func jsonText(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", fmt.Errorf("encoding: %w", err)
	}

	return strings.TrimSuffix(b.String(), "\n"), nil
}

// clone is an action with a tree of its own.
func (a *action) clone() *action {
	tree, _ := objects.Clone(a.tree).(map[string]any)

	return &action{tree: tree, groups: a.groups}
}
