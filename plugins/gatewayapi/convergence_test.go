package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

const (
	public  = `{"name":"public"}`
	private = `{"name":"private","namespace":"infra","sectionName":"https","port":443}`
)

// report is a status entry of a parent, with conditions written `Type=Status@generation`.
func report(parent string, conditions ...string) string {
	var all []string
	for _, c := range conditions {
		kind, rest, _ := strings.Cut(c, "=")
		status, generation, _ := strings.Cut(rest, "@")
		all = append(all, fmt.Sprintf(`{"type":%q,"status":%q,"observedGeneration":%s,"reason":"Because","message":"the gateway\n says so"}`,
			kind, status, generation))
	}

	return fmt.Sprintf(`{"parentRef":%s,"controllerName":"c","conditions":[%s]}`, parent, strings.Join(all, ","))
}

func good(parent string) string { return report(parent, "Accepted=True@7", "ResolvedRefs=True@7") }

func TestConverged(t *testing.T) {
	type list = []string
	for name, tc := range map[string]struct {
		parents, reports list
		want             trafficrouter.Convergence
		message          string
	}{
		"accepted and resolved": {list{public}, list{good(public)}, trafficrouter.Done, ""},
		"a newer generation": {
			list{public}, list{report(public, "Accepted=True@8", "ResolvedRefs=True@8")}, trafficrouter.Done, "",
		},
		"defaults spelled out": {
			list{public}, list{good(`{"group":"gateway.networking.k8s.io","kind":"Gateway","namespace":"shop","name":"public"}`)},
			trafficrouter.Done, "",
		},
		"all of several": {list{public, private}, list{good(private), good(public)}, trafficrouter.Done, ""},
		"a parent the spec no longer names": {
			list{public}, list{good(public), report(`{"name":"old"}`, "Accepted=False@3")}, trafficrouter.Done, "",
		},
		"nobody reports": {list{public}, nil, trafficrouter.Unknown, `no gateway reports on HTTPRoute "shop/web"`},
		"nobody could": {
			nil, nil, trafficrouter.Unknown, `HTTPRoute "shop/web" has no parentRefs: no gateway reports on it`,
		},
		"one does not report": {
			list{public, private}, list{good(public)}, trafficrouter.Pending,
			`Gateway "infra/private" section "https" port 443 has not reported on HTTPRoute "shop/web" yet`,
		},
		"an older generation": {
			list{public}, list{report(public, "Accepted=True@6", "ResolvedRefs=True@6")}, trafficrouter.Pending,
			`Gateway "shop/public" has seen generation 6 of HTTPRoute "shop/web", not yet 7`,
		},
		"one condition older": {
			list{public}, list{report(public, "Accepted=True@7", "ResolvedRefs=True@6")}, trafficrouter.Pending,
			`Gateway "shop/public" has seen generation 6 of HTTPRoute "shop/web", not yet 7`,
		},
		"refused by an older generation": {
			list{public}, list{report(public, "Accepted=False@6", "ResolvedRefs=True@6")}, trafficrouter.Pending,
			`Gateway "shop/public" has seen generation 6 of HTTPRoute "shop/web", not yet 7`,
		},
		"refused": {
			list{public}, list{report(public, "Accepted=False@7", "ResolvedRefs=True@7")}, trafficrouter.Pending,
			`Gateway "shop/public" reports on HTTPRoute "shop/web": Accepted is False: Because: the gateway says so`,
		},
		"unresolved": {
			list{public}, list{report(public, "Accepted=True@7", "ResolvedRefs=False@7")}, trafficrouter.Pending,
			`Gateway "shop/public" reports on HTTPRoute "shop/web": ResolvedRefs is False: Because: the gateway says so`,
		},
		"a condition is missing": {
			list{public}, list{report(public, "Accepted=True@7")}, trafficrouter.Pending,
			`Gateway "shop/public" has not said of HTTPRoute "shop/web" yet whether it is ResolvedRefs`,
		},
		"a gateway without generations": {
			list{public}, list{report(public, "Accepted=True@0", "ResolvedRefs=True@0")}, trafficrouter.Unknown,
			`Gateway "shop/public" does not say which generation of HTTPRoute "shop/web" it has seen`,
		},
		"pending outweighs unknown": {
			list{public, private}, list{report(public, "Accepted=True@0", "ResolvedRefs=True@0"), report(private)}, trafficrouter.Pending,
			`Gateway "infra/private" section "https" port 443 has not said of HTTPRoute "shop/web" yet whether it is Accepted`,
		},
		"two controllers on one parent": {
			list{public}, list{good(public), report(public, "Accepted=True@5", "ResolvedRefs=True@7")}, trafficrouter.Pending,
			`Gateway "shop/public" has seen generation 5 of HTTPRoute "shop/web", not yet 7`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := withRules(t, "HTTPRoute", `[]`)
			require.NoError(t, json.Unmarshal(fmt.Appendf(nil,
				`{"metadata":{"generation":7},"spec":{"parentRefs":[%s]},"status":{"parents":[%s]}}`,
				strings.Join(tc.parents, ","), strings.Join(tc.reports, ",")), &o.View))

			assert.Equal(t, progress{tc.want, tc.message}, converged(o))
		})
	}
}

func TestSentenceIsBounded(t *testing.T) {
	o := withRules(t, "HTTPRoute", `[]`)
	require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `{"metadata":{"generation":1},"spec":{"parentRefs":[%s]},"status":{"parents":[
		{"parentRef":%s,"conditions":[{"type":"Accepted","status":"False","observedGeneration":1,"reason":"R","message":%q}]}]}}`,
		public, public, strings.Repeat("é", 10_000)), &o.View))

	assert.Less(t, len(converged(o).message), maxSentence+200)
}
