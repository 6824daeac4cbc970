package rollout

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// TemplateHash identifies a pod template: FNV-1a over its JSON, followed, when
// collisions were counted, by eight bytes of which the first four are the
// counter in little-endian order. The decimal sum is encoded with the safe
// alphabet of Kubernetes, so names equal those Argo Rollouts gives.
func TemplateHash(template corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	// Encoding a typed pod template cannot fail: it has no channels, functions
	// or cycles, and its custom marshallers return no errors.
	raw, _ := json.Marshal(template)
	_, _ = h.Write(raw)
	if collisions != nil {
		var salt [8]byte
		binary.LittleEndian.PutUint32(salt[:], uint32(*collisions))
		_, _ = h.Write(salt[:])
	}
	return encode(h.Sum32())
}

// StepsHash identifies the canary steps; "" without a canary strategy.
func StepsHash(ro *v1alpha1.Rollout) string {
	if ro.Spec.Strategy.Canary == nil {
		return ""
	}
	h := fnv.New32a()
	raw, _ := json.Marshal(ro.Spec.Strategy.Canary.Steps)
	_, _ = h.Write(raw)
	return encode(h.Sum32())
}

// Hashes are both of a Rollout: two fifths of what deciding costs, and the same until
// the spec changes.
type Hashes struct{ Template, Steps string }

// HashesOf computes them.
func HashesOf(ro *v1alpha1.Rollout) Hashes {
	return Hashes{Template: TemplateHash(ro.Spec.Template, ro.Status.CollisionCount), Steps: StepsHash(ro)}
}

func encode(sum uint32) string {
	return rand.SafeEncodeString(strconv.FormatUint(uint64(sum), 10))
}
