package controller

import (
	"net/http"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// mapper is the library's, with a memory: the owner of every ReplicaSet event
// and the target of every patch is looked up, and a look-up walks all groups of
// the server (a tenth of all memory an update allocated).
func mapper(cfg *rest.Config, over *http.Client) (meta.RESTMapper, error) {
	found, err := apiutil.NewDynamicRESTMapper(cfg, over)
	if err != nil {
		return nil, err
	}
	return &remembering{RESTMapper: found}, nil
}

// remembering keeps what was found. A kind that is served keeps its resource and
// scope for as long as it is served; one that is not is asked for again.
type remembering struct {
	meta.RESTMapper
	known sync.Map // kindAt → *meta.RESTMapping
}

type kindAt struct {
	kind    schema.GroupKind
	version string
}

// RESTMapping implements meta.RESTMapper.
func (r *remembering) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	if len(versions) != 1 {
		return r.RESTMapper.RESTMapping(kind, versions...)
	}
	at := kindAt{kind, versions[0]}
	if there, ok := r.known.Load(at); ok {
		if mapping, ok := there.(*meta.RESTMapping); ok {
			return mapping, nil
		}
	}
	mapping, err := r.RESTMapper.RESTMapping(kind, versions...)
	if err == nil {
		r.known.Store(at, mapping)
	}
	return mapping, err
}
