package objects_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
)

const route = `{"apiVersion":"example.io/v1","kind":"Route","metadata":{"name":"web","namespace":"shop","resourceVersion":"7",` +
	`"annotations":{"a.b/c":"<x> & y"}},"spec":{"big":9007199254740993,"float":1.10,"rules":[{"weight":1},{"weight":2,"foreign":{"z":1,"a":null}}]}}`

type view struct {
	Spec struct {
		Rules []struct {
			Weight int32 `json:"weight"`
		} `json:"rules"`
	} `json:"spec"`
}

func need(name string) objects.Need {
	return objects.Need{Group: "example.io", Kind: "Route", Versions: []string{"v1"}, Namespace: "shop", Name: name}
}

func synced(n objects.Need, raws ...string) *typesv1.NeedResult {
	r := &typesv1.NeedResult{Need: n.Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: "example.io/v1"}
	for _, raw := range raws {
		r.Objects = append(r.Objects, &typesv1.Object{Json: []byte(raw)})
	}

	return r
}

func inputs(t *testing.T, results ...*typesv1.NeedResult) *objects.Inputs {
	t.Helper()
	in, err := objects.NewInputs(results)
	require.NoError(t, err)

	return in
}

func TestEditsKeepWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()

	got, err := objects.Get[*view](inputs(t, synced(need("web"), route)), need("web"))
	require.NoError(t, err)
	require.Len(t, got.View.Spec.Rules, 2)
	assert.Equal(t, int32(2), got.View.Spec.Rules[1].Weight)
	assert.Equal(t, "7", got.ResourceVersion)

	got.Set(50, "spec", "rules", 1, "weight")
	got.Set("mine", "metadata", "annotations", "sluice.dev/x")
	got.Insert(0, map[string]any{"weight": 0}, "spec", "rules")
	got.Delete("spec", "rules", 1, "weight")
	got.Delete("spec", "nothing", 4, "here")
	got.Set(map[string]any{"new": true}, "spec", "made", "on", "the", "way")
	got.Set("appended", "spec", "list", 0)

	writes, err := objects.Changed(got.Object, got.Object)
	require.NoError(t, err)
	require.Len(t, writes, 1)
	assert.Equal(t, `{"apiVersion":"example.io/v1","kind":"Route",`+
		`"metadata":{"annotations":{"a.b/c":"<x> & y","sluice.dev/x":"mine"},"name":"web","namespace":"shop","resourceVersion":"7"},`+
		`"spec":{"big":9007199254740993,"float":1.10,"list":["appended"],"made":{"on":{"the":{"way":{"new":true}}}},`+
		`"rules":[{"weight":0},{},{"foreign":{"a":null,"z":1},"weight":50}]}}`, string(writes[0].JSON))
	assert.Equal(t, int32(2), got.View.Spec.Rules[1].Weight, "the view stays what was shown")
}

func TestNothingChangedIsNoWrite(t *testing.T) {
	t.Parallel()

	got, err := objects.Get[view](inputs(t, synced(need("web"), route)), need("web"))
	require.NoError(t, err)
	got.Set(int32(2), "spec", "rules", 1, "weight")
	got.Set(3, "spec", "rules", 0, "weight")
	got.Set(1, "spec", "rules", 0, "weight")
	writes, err := objects.Changed(got.Object)
	require.NoError(t, err)
	assert.Empty(t, writes)
}

func TestTheFirstBadEditIsKept(t *testing.T) {
	t.Parallel()

	tests := map[string]func(o *objects.Object){
		"an index past the end":     func(o *objects.Object) { o.Set(1, "spec", "rules", 3) },
		"a key in a list":           func(o *objects.Object) { o.Set(1, "spec", "rules", "x") },
		"an index in an object":     func(o *objects.Object) { o.Set(1, "spec", 0) },
		"an index on the way":       func(o *objects.Object) { o.Set(1, "spec", 0, "x") },
		"an index at the root":      func(o *objects.Object) { o.Set(1, 0) },
		"a field of a number":       func(o *objects.Object) { o.Set(1, "spec", "big", "x") },
		"a field below a number":    func(o *objects.Object) { o.Set(1, "spec", "big", "x", "y") },
		"a value that is no JSON":   func(o *objects.Object) { o.Set(func() {}, "spec", "x") },
		"no path":                   func(o *objects.Object) { o.Set(1) },
		"an insert past the end":    func(o *objects.Object) { o.Insert(9, 1, "spec", "rules") },
		"an element of no type":     func(o *objects.Object) { o.Set(1, "spec", 1.5) },
		"an insert into a number":   func(o *objects.Object) { o.Insert(0, 1, "spec", "big") },
		"later edits do not cover:": func(o *objects.Object) { o.Set(1); o.Set(1, "spec", "ok") },
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object, err := objects.Parse([]byte(route))
			require.NoError(t, err)
			edit(object)
			_, err = objects.Changed(object)
			require.ErrorContains(t, err, `editing Route "shop/web"`)
		})
	}
}

func TestWhatIsAskedForIsWhatIsNeeded(t *testing.T) {
	t.Parallel()

	in := inputs(t, synced(need("gone")))
	_, err := objects.Get[view](in, need("gone"))
	assert.True(t, plugin.IsReferenceNotFound(err), "looked, and there is none: %v", err)

	_, err = objects.Get[view](in, need("later"))
	assert.True(t, objects.IsNotReady(err), "never given: %v", err)
	require.Error(t, in.Missing())

	all := need("")
	all.Selector = "app=shop"
	_, err = objects.List[view](in, all)
	assert.True(t, objects.IsNotReady(err))

	names := func(needs []*typesv1.Need) (names []string) {
		for _, n := range needs {
			names = append(names, n.GetName()+n.GetLabelSelector())
		}

		return names
	}
	assert.Equal(t, []string{"gone", "later", "app=shop"}, names(in.Needs(false)))
}

func TestAnEarlyEndKeepsTheNeedsItDidNotComeTo(t *testing.T) {
	t.Parallel()

	in := inputs(t,
		&typesv1.NeedResult{Need: need("a").Proto(), State: typesv1.NeedResult_STATE_SYNCING},
		synced(need("b"), route))
	_, err := objects.Get[view](in, need("a"))
	require.Error(t, err)
	assert.Len(t, in.Needs(false), 1)
	assert.Len(t, in.Needs(true), 2, "else the host would stop watching b, and start again a moment later")
}

func TestStatesOfNeeds(t *testing.T) {
	t.Parallel()

	for state, want := range map[typesv1.NeedResult_State]objects.State{
		typesv1.NeedResult_STATE_UNSPECIFIED: objects.Syncing,
		typesv1.NeedResult_STATE_SYNCING:     objects.Syncing,
		typesv1.NeedResult_STATE_FORBIDDEN:   objects.Forbidden,
		typesv1.NeedResult_STATE_NOT_SERVED:  objects.NotServed,
		typesv1.NeedResult_STATE_DENIED:      objects.Denied,
		99:                                   objects.Syncing,
	} {
		_, err := objects.Get[view](inputs(t, &typesv1.NeedResult{Need: need("a").Proto(), State: state, Message: "why"}), need("a"))
		var notReady *objects.NotReadyError
		require.ErrorAs(t, err, &notReady)
		assert.Equal(t, want, notReady.State)
		assert.ErrorContains(t, err, "why")
	}
}

func TestOneObjectInTwoNeedsIsOneObject(t *testing.T) {
	t.Parallel()

	held := synced(need("web"), route)
	held.Objects[0].Held = true
	all := need("")
	in := inputs(t, synced(all, route), held)

	listed, err := objects.List[view](in, all)
	require.NoError(t, err)
	got, err := objects.Get[view](in, need("web"))
	require.NoError(t, err)
	fromHeld, err := objects.Held[view](in, "example.io", "Route")
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.Len(t, fromHeld, 1)
	assert.Same(t, listed[0].Object, got.Object)
	assert.Same(t, fromHeld[0].Object, got.Object)
	assert.True(t, listed[0].Held)
}

func TestWritesNameTheirObject(t *testing.T) {
	t.Parallel()

	object, err := objects.Parse([]byte(route))
	require.NoError(t, err)
	remove, err := objects.NewDelete(object)
	require.NoError(t, err)
	assert.JSONEq(t, `{"apiVersion":"example.io/v1","kind":"Route","metadata":{"namespace":"shop","name":"web","resourceVersion":"7"}}`, string(remove.JSON))

	create, err := objects.NewCreate(json.RawMessage(route))
	require.NoError(t, err)
	protos := objects.Protos([]objects.Write{create, remove})
	assert.Equal(t, typesv1.Write_OPERATION_CREATE, protos[0].GetOperation())
	assert.Equal(t, typesv1.Write_OPERATION_DELETE, protos[1].GetOperation())

	_, err = objects.NewCreate(map[string]any{"kind": "Route"})
	require.Error(t, err)
	_, err = objects.Parse([]byte(`[]`))
	require.Error(t, err)
}
