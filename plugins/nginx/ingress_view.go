package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

// ingress is a view for reading: edits go to the object itself, so that what is not in here stays.
type ingress struct {
	Metadata struct {
		Annotations     map[string]string `json:"annotations"`
		OwnerReferences []struct {
			UID        string `json:"uid"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		DefaultBackend backend `json:"defaultBackend"`
		Rules          []struct {
			HTTP struct {
				Paths []struct {
					Backend backend `json:"backend"`
				} `json:"paths"`
			} `json:"http"`
		} `json:"rules"`
	} `json:"spec"`
}

type backend struct {
	Service struct {
		Name string `json:"name"`
	} `json:"service"`
}

// controlledBy says whether an object with this UID controls the Ingress.
func (i ingress) controlledBy(uid string) bool {
	for _, owner := range i.Metadata.OwnerReferences {
		if owner.Controller {
			return owner.UID == uid
		}
	}

	return false
}

// sendsTo says whether a path of the Ingress, or its default, leads to a Service.
func (i ingress) sendsTo(service string) bool {
	if i.Spec.DefaultBackend.Service.Name == service {
		return true
	}
	for _, rule := range i.Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			if path.Backend.Service.Name == service {
				return true
			}
		}
	}

	return false
}

// maxName is how long the name of an object may be.
const maxName = 253

// canaryName is the name of a stable Ingress's canary Ingress, as with Argo.
func canaryName(rollout, stable string) string {
	const suffix = "-canary"
	name := rollout + "-" + stable
	if len(name) > maxName-len(suffix) {
		name = strings.TrimRight(name[:maxName-len(suffix)], ".-")
	}

	return name + suffix
}

// recordKey is the annotation in which a canary Ingress says what the plugin has put there that does not explain itself.
const recordKey = "nginx.sluice.dev/owned"

// record is what the plugin has put into a canary Ingress.
type record struct {
	// Annotations are the keys of those that the block or the stable Ingress asked for.
	Annotations []string `json:"annotations,omitempty"`
	// Route is the header route as it was asked for.
	Route *trafficrouter.ManagedRoute `json:"route,omitempty"`
}

// recorded reads the record of a canary Ingress; one that does not decode is none, and so is that of Argo's.
func (i ingress) recorded() record {
	var r record
	if json.Unmarshal([]byte(i.Metadata.Annotations[recordKey]), &r) != nil {
		return record{}
	}

	return r
}

// weights are the canary's and the total as ingress-nginx reads them: a weight that is no number is none, and a total below
// 100 is 100.
func (i ingress) weights(prefix string) (canary, total int32) {
	total = 100
	if n, err := strconv.ParseInt(i.Metadata.Annotations[prefix+"/"+weightTotalOf], 10, 32); err == nil && n > 100 {
		total = int32(n)
	}
	if n, err := strconv.ParseInt(i.Metadata.Annotations[prefix+"/"+weightOf], 10, 32); err == nil {
		canary = int32(min(max(n, 0), int64(total)))
	}

	return canary, total
}

// scaled are the weight and the total to write: ingress-nginx takes every total below 100 for 100, so both are multiplied.
func scaled(canary, total int32) (int32, int32) {
	k := (100 + total - 1) / total

	return canary * max(k, 1), total * max(k, 1)
}

// canaryIngress is what a canary Ingress has to say.
type canaryIngress struct {
	canary, total int32
	route         *trafficrouter.ManagedRoute
}

// idle: nothing leads to the canary.
func (c canaryIngress) idle() bool { return c.canary == 0 && c.route == nil }

// annotationsOf are all annotations of a canary Ingress that are not somebody else's, without the record.
func (s settings) annotationsOf(stable ingress, want canaryIngress) (map[string]string, error) {
	const class = "kubernetes.io/ingress.class"
	all := map[string]string{}
	if value, ok := stable.Metadata.Annotations[class]; ok {
		all[class] = value
	}
	for key, value := range s.annotations {
		all[key] = value
	}
	if want.route != nil {
		extra, err := headerAnnotations(*want.route)
		if err != nil {
			return nil, err
		}
		for name, value := range extra {
			all[s.prefix+"/"+name] = value
		}
	}
	weight, total := scaled(want.canary, want.total)
	all[s.prefix+"/"+isCanary] = "true"
	all[s.prefix+"/"+weightOf] = strconv.Itoa(int(weight))
	if total != 100 {
		all[s.prefix+"/"+weightTotalOf] = strconv.Itoa(int(total))
	}

	return all, nil
}

// specOf is the spec of a canary Ingress: what of the stable one leads to the stable Service, leading to the canary's.
// Paths of others stay out; a canary Ingress changes nothing about them anyway. Nil: nothing leads there.
func specOf(stable *objects.Object, from, to string) map[string]any {
	spec := map[string]any{}
	for _, field := range []string{"ingressClassName", "tls"} {
		if value, ok := stable.Value("spec", field); ok {
			spec[field] = objects.Clone(value)
		}
	}
	found := false
	if value, ok := stable.Value("spec", "defaultBackend"); ok && leadsTo(value, from) {
		spec["defaultBackend"], found = redirected(value, to), true
	}
	rules, _ := stable.Value("spec", "rules")
	var kept []any
	list, _ := rules.([]any)
	for _, raw := range list {
		rule, _ := objects.Clone(raw).(map[string]any)
		http, _ := rule["http"].(map[string]any)
		paths, _ := http["paths"].([]any)
		var ours []any
		for _, p := range paths {
			if path, ok := p.(map[string]any); ok && leadsTo(path["backend"], from) {
				path["backend"] = redirected(path["backend"], to)
				ours = append(ours, path)
			}
		}
		if len(ours) > 0 {
			http["paths"] = ours
			kept = append(kept, rule)
		}
	}
	if len(kept) > 0 {
		spec["rules"], found = kept, true
	}
	if !found {
		return nil
	}

	return spec
}

func leadsTo(backend any, service string) bool {
	b, _ := backend.(map[string]any)
	to, _ := b["service"].(map[string]any)

	return to["name"] == service
}

// redirected is a backend with another Service, the port as it is.
func redirected(backend any, service string) any {
	b, _ := objects.Clone(backend).(map[string]any)
	to, _ := b["service"].(map[string]any)
	to["name"] = service

	return b
}

// ownKeys are the annotations that the plugin puts into a canary Ingress and takes out of it again.
func (s settings) ownKeys(have ingress) []string {
	keys := have.recorded().Annotations
	for _, name := range []string{isCanary, weightOf, weightTotalOf, byHeader, byHeaderValue, byHeaderPattern, byCookie} {
		if key := s.prefix + "/" + name; !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}

	return keys
}

// encoded is the record's annotation.
func (r record) encoded() (string, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("recording what is owned: %w", err)
	}

	return string(raw), nil
}
