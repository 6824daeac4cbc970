package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

func TestMain(m *testing.M) {
	slog.SetLogLoggerLevel(slog.LevelWarn) // each symbolic link is told at level info
	os.Exit(m.Run())
}

func TestLint(t *testing.T) {
	for _, values := range []string{"{}", "scope: namespaced", "strict: true", "{controller: {install: false}, crds: {install: false}}"} {
		given, err := common.ReadValues([]byte(values))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := check(chartDir, given, &out); err != nil {
			t.Errorf("%s: %v\n%s", values, err, out.String())
		}
	}
}

// Values that would be ignored, or break the installation, are refused with the place.
func TestValuesThatAreRefused(t *testing.T) {
	for values, why := range map[string]string{
		"replica: 3":                                              "additional properties 'replica' not allowed",
		"scope: everything":                                       "scope",
		"policies: {routes: warn}":                                "policies/routes",
		"roles: {plugins: [nginx, acme]}":                         `no bundled plugin "acme" has a role`,
		"{scope: namespaced, secrets: {everywhere: true}}":        "secrets: with scope namespaced",
		"{scope: namespaced, secrets: {namespaces: [shop]}}":      "secrets: with scope namespaced",
		"image: {digest: latest}":                                 "image/digest",
		"config: {stepPlugins: [{name: a/b, path: /x}]}":          "stepPlugins",
		"config: {stepPlugins: [{name: a/b, sha256: 12}]}":        "sha256",
		"config: {trafficRouterPlugins: [{location: file:///x}]}": "missing property 'name'",
	} {
		given, err := common.ReadValues([]byte(values))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render(chartDir, "sluice", given); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %s", values, err, why)
		}
	}
}

// Every value does what its comment says.
func TestValuesThatChangeSomething(t *testing.T) {
	for _, one := range []struct {
		values, id string
		want       string // in the object, as JSON; "" if it is to be gone
	}{
		{"replicas: 3", "apps/v1 Deployment sluice/sluice-controller", `"replicas":3`},
		{"image: {tag: v1}", "apps/v1 Deployment sluice/sluice-controller", `"image":"ghcr.io/sluice-rollouts/sluice:v1"`},
		{"image: {repository: r/s, digest: \"sha256:" + strings.Repeat("a", 64) + "\"}", "apps/v1 Deployment sluice/sluice-controller", `"image":"r/s@sha256:aaa`},
		{"image: {pullPolicy: Always}", "apps/v1 Deployment sluice/sluice-controller", `"imagePullPolicy":"Always"`},
		{"imagePullSecrets: [{name: key}]", "v1 ServiceAccount sluice/sluice-controller", `"imagePullSecrets":[{"name":"key"}]`},
		{"extraArgs: [--loglevel=debug]", "apps/v1 Deployment sluice/sluice-controller", `"--plugin-cache=/tmp/plugin-cache","--loglevel=debug"]`},
		{"resources: {limits: {memory: 2Gi}}", "apps/v1 Deployment sluice/sluice-controller", `"limits":{"memory":"2Gi"}`},
		{"podAnnotations: {a: b}", "apps/v1 Deployment sluice/sluice-controller", `"annotations":{"a":"b"}`},
		{"podLabels: {a: b}", "apps/v1 Deployment sluice/sluice-controller", `"labels":{"a":"b","app.kubernetes.io/component"`},
		{"nodeSelector: {disk: ssd}", "apps/v1 Deployment sluice/sluice-controller", `"nodeSelector":{"disk":"ssd"}`},
		{"tolerations: [{operator: Exists}]", "apps/v1 Deployment sluice/sluice-controller", `"tolerations":[{"operator":"Exists"}]`},
		{"priorityClassName: high", "apps/v1 Deployment sluice/sluice-controller", `"priorityClassName":"high"`},
		{"{extraVolumes: [{name: v, emptyDir: {}}], extraVolumeMounts: [{name: v, mountPath: /v}]}", "apps/v1 Deployment sluice/sluice-controller", `{"mountPath":"/v","name":"v"}]`},
		{"crds: {install: false}", "apiextensions.k8s.io/v1 CustomResourceDefinition <nil>/rollouts.argoproj.io", ""},
		{"roles: {install: false}", "rbac.authorization.k8s.io/v1 ClusterRole <nil>/sluice-controller", ""},
		{"roles: {plugins: [istio]}", "rbac.authorization.k8s.io/v1 ClusterRole <nil>/sluice-plugin-istio", `"virtualservices"`},
		{"roles: {plugins: [istio]}", "rbac.authorization.k8s.io/v1 ClusterRole <nil>/sluice-plugin-nginx", ""},
		{"secrets: {namespaces: [shop]}", "rbac.authorization.k8s.io/v1 RoleBinding shop/sluice-controller-secrets", `"namespace":"sluice"`},
		{"policies: {rollouts: Deny}", "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding <nil>/sluice-rollouts", `"validationActions":["Deny"]`},
		{"policies: {plugins: Warn}", "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding <nil>/sluice-plugins", `"validationActions":["Warn"]`},
		{"policies: {routes: off}", "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy <nil>/sluice-routes", ""},
		{`policies: {routes: "Off"}`, "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding <nil>/sluice-routes", ""},
		{`{strict: true, policies: {routes: "Off"}}`, "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy <nil>/sluice-routes", ""},
		{"podDisruptionBudget: {enabled: false}", "policy/v1 PodDisruptionBudget sluice/sluice-controller", ""},
		{"networkPolicy: {enabled: false}", "networking.k8s.io/v1 NetworkPolicy sluice/sluice-controller", ""},
		{"networkPolicy: {egress: [{ports: [{port: 443}]}]}", "networking.k8s.io/v1 NetworkPolicy sluice/sluice-controller", `"egress":[{"ports":[{"port":443}]}]`},
		{"serviceMonitor: {enabled: true, interval: 15s, labels: {release: prom}}", "monitoring.coreos.com/v1 ServiceMonitor sluice/sluice-controller", `"interval":"15s"`},
		{"config: {create: false}", "v1 ConfigMap sluice/argo-rollouts-config", ""},
		{"config: {egress: {allow: [10.20.0.0/16, a:90], refuse: [192.0.2.0/24]}}", "v1 ConfigMap sluice/argo-rollouts-config", `"egress.allow":"10.20.0.0/16\na:90","egress.refuse":"192.0.2.0/24"`},
		{"config: {stepPlugins: [{name: acme/x, location: file:///plugins/x}]}", "v1 ConfigMap sluice/argo-rollouts-config", `"stepPlugins":"- location: file:///plugins/x\n  name: acme/x"`},
		{"config: {extra: {other: text}}", "v1 ConfigMap sluice/argo-rollouts-config", `"other":"text"`},
	} {
		all := parse(t, rendered(t, "sluice", one.values).text())
		text, err := json.Marshal(all[one.id])
		if err != nil {
			t.Fatal(err)
		}
		known(t, one.values, all)
		if one.want == "" && all[one.id] != nil {
			t.Errorf("%s: there is %s", one.values, one.id)
		}
		if !strings.Contains(string(text), one.want) {
			t.Errorf("%s: %s is %s, without %s", one.values, one.id, text, one.want)
		}
	}
}

// known fails for a field that Kubernetes does not have, as of a template that is
// indented wrongly.
func known(t *testing.T, values string, all objects) {
	t.Helper()
	for id, o := range all {
		var typed any
		switch o["kind"] {
		case "Deployment":
			typed = &appsv1.Deployment{}
		case "ConfigMap":
			typed = &corev1.ConfigMap{}
		case "ServiceAccount":
			typed = &corev1.ServiceAccount{}
		case "NetworkPolicy":
			typed = &networkingv1.NetworkPolicy{}
		default:
			continue // without values, or compared with kustomize under all of them
		}
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, typed); err != nil {
			t.Errorf("%s: %s: %v", values, id, err)
		}
	}
}

// What an installation prints says what follows from its values.
func TestNotes(t *testing.T) {
	for values, want := range map[string]string{
		"":                             "No Secret can be read",
		"scope: namespaced":            "serves the namespace sluice",
		"controller: {install: false}": "scope=namespaced",
		"secrets: {everywhere: true}":  "serves every namespace",
		"crds: {keep: true}":           "deleting them deletes every",
	} {
		if notes := rendered(t, "sluice", values).notes(); !strings.Contains(notes, want) {
			t.Errorf("%s: %q is not in:\n%s", values, want, notes)
		}
	}
	if notes := rendered(t, "sluice", "secrets: {everywhere: true}").notes(); strings.Contains(notes, "No Secret") {
		t.Error(notes)
	}
}

// A packed chart stands alone: what are links in the repository are files in it, and
// it renders the same. A release of it fits into the Secret that Helm keeps it in.
func TestPackage(t *testing.T) {
	dir := t.TempDir()
	if err := run([]string{"package", chartDir, dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatal(packed, err)
	}
	fromPackage, err := render(packed[0], "sluice", common.Values{})
	if err != nil {
		t.Fatal(err)
	}
	fromFolder := rendered(t, "sluice", "")
	if fromPackage.text() != fromFolder.text() {
		t.Error("the packed chart renders something else than the folder")
	}
	chart, err := loader.Load(packed[0])
	if err != nil {
		t.Fatal(err)
	}
	release, err := json.Marshal(map[string]any{"chart": chart, "manifest": fromPackage.text()})
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(release); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := base64.StdEncoding.EncodedLen(zipped.Len()); n > 500<<10 {
		t.Errorf("a release takes %d KiB of the 1024 of a Secret; each revision has one", n>>10)
	}
}

// The schema knows every value of values.yaml, and values.yaml every key of the schema,
// with its default.
func TestSchemaAndDefaultsAgree(t *testing.T) {
	var schema, defaults map[string]any
	for file, into := range map[string]*map[string]any{"values.schema.json": &schema, "values.yaml": &defaults} {
		text, err := os.ReadFile(filepath.Join(chartDir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	agree(t, "", schema, defaults)
}

func agree(t *testing.T, at string, schema, defaults map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	for key, property := range properties {
		value, ok := defaults[key]
		if !ok && key != "global" { // Helm's own
			t.Errorf("values.yaml has no %s%s", at, key)
		}
		if inner, ok := value.(map[string]any); ok {
			agree(t, at+key+".", property.(map[string]any), inner)
		}
	}
}
