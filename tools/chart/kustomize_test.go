package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../../deploy/helm/sluice"
	deployDir = "../../deploy/"
)

// objects by kind, namespace and name.
type objects map[string]map[string]any

func parse(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	for document := range strings.SplitSeq("\n"+text, "\n---") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if o == nil {
			continue
		}
		meta := o["metadata"].(map[string]any)
		id := fmt.Sprint(o["apiVersion"], " ", o["kind"], " ", meta["namespace"], "/", meta["name"])
		if all[id] != nil {
			t.Errorf("%s is there twice", id)
		}
		all[id] = o
	}
	return all
}

// kustomized is `kubectl kustomize` of a folder, as objects.
func kustomized(t *testing.T, resources ...string) objects {
	t.Helper()
	all := objects{}
	for _, folder := range resources {
		options := krusty.MakeDefaultOptions()
		options.PluginConfig = types.DisabledPluginConfig()
		built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), deployDir+folder)
		if err != nil {
			t.Fatal(err)
		}
		text, err := built.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, parse(t, string(text)))
	}
	return all
}

func rendered(t *testing.T, namespace, values string) manifests {
	t.Helper()
	given, err := common.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	m, err := render(chartDir, namespace, given)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Each folder for kustomize is the chart under some values, and nothing else.
// Differences that are meant are taken away here, each with its reason.
func TestChartIsWhatKustomizeApplies(t *testing.T) {
	for _, variant := range []struct {
		name, namespace, values string
		folders                 []string
	}{
		{"the cluster", "sluice", "", []string{"."}},
		{"the cluster, monitored", "sluice", "serviceMonitor: {enabled: true}", []string{".", "components/monitoring"}},
		{"the cluster, with Secrets", "sluice", "secrets: {everywhere: true}", []string{".", "components/secrets"}},
		{"strict", "sluice", "strict: true", []string{"strict"}},
		{"one namespace", "sluice", "scope: namespaced", []string{"namespaced"}},
		{"what an administrator does for namespaces", "sluice", "controller: {install: false}", []string{"crds", "roles", "policies"}},
		{"in place of Argo Rollouts", "argo-rollouts", "{config: {create: false}, secrets: {everywhere: true}}", []string{"migration"}},
		{"definitions apart", "sluice", "crds: {install: false}", []string{"namespace", "roles", "bindings", "policies", "base"}},
	} {
		t.Run(variant.name, func(t *testing.T) {
			want := kustomized(t, variant.folders...)
			// Helm makes the namespace (--create-namespace); NOTES.txt says how to label it.
			delete(want, "v1 Namespace <nil>/sluice")
			got := parse(t, rendered(t, variant.namespace, variant.values).text())
			for id, o := range got {
				if strings.Contains(id, " CustomResourceDefinition ") {
					// kustomize has `kubectl delete -k`, which is told what to delete.
					unkept(t, id, o)
				}
			}
			for _, difference := range differences(want, got) {
				t.Error(difference)
			}
		})
	}
}

// unkept takes away what keeps a definition when its release is uninstalled.
func unkept(t *testing.T, id string, o map[string]any) {
	t.Helper()
	annotations := o["metadata"].(map[string]any)["annotations"].(map[string]any)
	if annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("%s would be deleted with the release, and every Rollout with it", id)
	}
	delete(annotations, "helm.sh/resource-policy")
}

func differences(want, got objects) (all []string) {
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if got[id] == nil {
			all = append(all, id+" is not in the chart")
		} else if diff := cmp.Diff(want[id], got[id]); diff != "" {
			all = append(all, fmt.Sprintf("%s differs (- kustomize, + chart):\n%s", id, diff))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(got)) {
		if want[id] == nil {
			all = append(all, id+" is only in the chart")
		}
	}
	return all
}

// The comparison above would notice.
func TestDifferencesAreNoticed(t *testing.T) {
	want := kustomized(t, "roles", "bindings", "policies", "base")
	for values, difference := range map[string]string{
		"replicas: 3":                           "apps/v1 Deployment sluice/sluice-controller differs",
		"podDisruptionBudget: {enabled: false}": "policy/v1 PodDisruptionBudget sluice/sluice-controller is not in the chart",
		"secrets: {everywhere: true}":           "/sluice-controller-secrets is only in the chart",
	} {
		got := parse(t, rendered(t, "sluice", "{crds: {install: false}, "+values+"}").text())
		if all := differences(want, got); len(all) != 1 || !strings.Contains(all[0], difference) {
			t.Errorf("%s: %q, want %s", values, all, difference)
		}
	}
}
