package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Discovery is what the broker asks the API server about kinds.
// *discovery.DiscoveryClient has it.
type Discovery interface {
	ServerGroupsWithContext(ctx context.Context) (*metav1.APIGroupList, error)
	ServerResourcesForGroupVersionWithContext(ctx context.Context, groupVersion string) (*metav1.APIResourceList, error)
}

// kind is a kind as the API server serves it.
type kind struct {
	Group      string
	Version    string
	Kind       string
	Resource   string
	Namespaced bool
}

func (k kind) apiVersion() string {
	return schema.GroupVersion{Group: k.Group, Version: k.Version}.String()
}

func (k kind) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Resource}
}

// kinds remembers which kinds a group version has. Only successes are
// remembered: what is missing is asked for again, so that a CRD is noticed when
// it appears.
type kinds struct {
	discovery Discovery

	mu    sync.Mutex
	known map[schema.GroupVersionKind]kind
}

func newKinds(d Discovery) *kinds {
	return &kinds{discovery: d, known: map[schema.GroupVersionKind]kind{}}
}

// notServedError says that none of the versions has the kind.
type notServedError struct {
	gk       schema.GroupKind
	versions []string
}

func (e *notServedError) Error() string {
	return fmt.Sprintf("the cluster does not serve %s in version %s; install the CRD, it is noticed within 20 s",
		e.gk, strings.Join(e.versions, " or "))
}

// find returns the kind in the first of the versions that is served. No
// versions means those of the API server, its preferred one first. The error is
// *notServedError when there is none; any other error means that nothing is
// known.
func (k *kinds) find(ctx context.Context, gk schema.GroupKind, versions []string) (kind, error) {
	if len(versions) == 0 {
		served, err := k.versions(ctx, gk.Group)
		if err != nil {
			return kind{}, err
		}
		versions = served
	}
	for _, v := range versions {
		found, ok, err := k.load(ctx, gk.WithVersion(v))
		if err != nil || ok {
			return found, err
		}
	}
	return kind{}, &notServedError{gk: gk, versions: versions}
}

// forget drops what is known about a kind, after the API server said that it is
// gone.
func (k *kinds) forget(old kind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, schema.GroupVersionKind{Group: old.Group, Version: old.Version, Kind: old.Kind})
}

func (k *kinds) load(ctx context.Context, gvk schema.GroupVersionKind) (kind, bool, error) {
	k.mu.Lock()
	found, ok := k.known[gvk]
	k.mu.Unlock()
	if ok {
		return found, true, nil
	}
	list, err := k.discovery.ServerResourcesForGroupVersionWithContext(ctx, gvk.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return kind{}, false, nil
	}
	if err != nil {
		return kind{}, false, fmt.Errorf("discovering %s: %w", gvk.GroupVersion(), err)
	}
	for _, r := range list.APIResources {
		if r.Kind != gvk.Kind || strings.Contains(r.Name, "/") {
			continue
		}
		found = kind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Resource: r.Name, Namespaced: r.Namespaced}
		k.mu.Lock()
		k.known[gvk] = found
		k.mu.Unlock()
		return found, true, nil
	}
	return kind{}, false, nil
}

func (k *kinds) versions(ctx context.Context, group string) ([]string, error) {
	if group == "" {
		return []string{"v1"}, nil
	}
	groups, err := k.discovery.ServerGroupsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("discovering API groups: %w", err)
	}
	for _, g := range groups.Groups {
		if g.Name != group {
			continue
		}
		versions := []string{g.PreferredVersion.Version}
		for _, v := range g.Versions {
			if v.Version != g.PreferredVersion.Version {
				versions = append(versions, v.Version)
			}
		}
		return versions, nil
	}
	return nil, nil
}
