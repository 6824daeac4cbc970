package devcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
)

// fieldManager owns the fields that Apply sets.
const fieldManager = "devcluster"

// clients are made once, on first use: they need a server.
type clients struct {
	kubernetes kubernetes.Interface
	dynamic    dynamic.Interface
	mapper     *restmapper.DeferredDiscoveryRESTMapper
}

func (c *Cluster) newClients() (*clients, error) {
	typed, err := kubernetes.NewForConfig(c.admin)
	if err != nil {
		return nil, err
	}
	untyped, err := dynamic.NewForConfig(c.admin)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(c.admin)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	return &clients{kubernetes: typed, dynamic: untyped, mapper: mapper}, nil
}

// Apply applies manifests, YAML or JSON, server-side and as an administrator,
// taking over fields others own. Custom resource definitions and namespaces go
// first, and Apply goes on when the definitions are served; the rest keeps its
// order. Objects without a namespace that need one go to "default". An error
// names the object.
func (c *Cluster) Apply(ctx context.Context, manifests ...string) error {
	var objects []*unstructured.Unstructured
	for _, manifest := range manifests {
		found, err := decode(strings.NewReader(manifest))
		if err != nil {
			return err
		}
		objects = append(objects, found...)
	}
	return c.ApplyObjects(ctx, objects...)
}

// ApplyFiles is Apply for files; of a folder it takes the *.yaml, *.yml and
// *.json in it, in the order of their names, but no kustomization files.
func (c *Cluster) ApplyFiles(ctx context.Context, paths ...string) error {
	var objects []*unstructured.Unstructured
	for _, path := range paths {
		files, err := manifestFiles(path)
		if err != nil {
			return err
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			found, err := decode(bytes.NewReader(data))
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			objects = append(objects, found...)
		}
	}
	return c.ApplyObjects(ctx, objects...)
}

// ApplyObjects is Apply for objects.
func (c *Cluster) ApplyObjects(ctx context.Context, objects ...*unstructured.Unstructured) error {
	clients, err := c.clients()
	if err != nil {
		return err
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	var definitions []*unstructured.Unstructured
	for i, object := range objects {
		applied, err := clients.apply(ctx, object)
		if err != nil {
			return fmt.Errorf("applying %s: %w", title(object), err)
		}
		if rank(object) != rankDefinition {
			continue
		}
		definitions = append(definitions, applied)
		if i+1 == len(objects) || rank(objects[i+1]) != rankDefinition {
			if err := clients.awaitEstablished(ctx, definitions); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	rankDefinition = iota
	rankNamespace
	rankOther
)

func rank(o *unstructured.Unstructured) int {
	switch o.GetKind() {
	case "CustomResourceDefinition":
		return rankDefinition
	case "Namespace":
		return rankNamespace
	default:
		return rankOther
	}
}

func title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

func (c *clients) apply(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := c.resourceFor(o)
	if err != nil {
		return nil, err
	}
	return resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
}

func (c *clients) resourceFor(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if apimeta.IsNoMatchError(err) {
		c.mapper.Reset() // the kind may be newer than the cache
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == apimeta.RESTScopeNameRoot {
		return c.dynamic.Resource(mapping.Resource), nil
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return c.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()), nil
}

// awaitEstablished waits until the API server serves the definitions' kinds.
func (c *clients) awaitEstablished(ctx context.Context, definitions []*unstructured.Unstructured) error {
	resource := c.dynamic.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
	for _, definition := range definitions {
		for !established(definition) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s to be served: %w", title(definition), ctx.Err())
			case <-time.After(pollEvery):
			}
			var err error
			definition, err = resource.Get(ctx, definition.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
		}
	}
	c.mapper.Reset()
	return nil
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if ok && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

func decode(r io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading manifest %d: %w", len(objects)+1, err)
		}
		if len(object.Object) > 0 { // not only comments
			objects = append(objects, object)
		}
	}
}

func manifestFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if slices.Contains([]string{".yaml", ".yml", ".json"}, ext) && strings.TrimSuffix(e.Name(), ext) != "kustomization" {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no manifests in %s", path)
	}
	return files, nil
}
