// Package v1alpha1 holds the objects users write: Rollout, AnalysisTemplate,
// ClusterAnalysisTemplate, AnalysisRun and Experiment of the API group
// argoproj.io.
//
// The types are hand-written. Their JSON accepts every field of the group's
// published schema, and their Go field names are part of the contract too:
// Argo's own net/rpc plugins match struct fields by Go name.
//
// Two properties set these types apart from most API packages:
//
//   - Decoding is tolerant. The schema leaves pod templates unchecked, so the
//     API server stores objects a typed client cannot decode. Such an object
//     decodes as far as it goes and lists what it lost in Malformed; it never
//     fails the list it is part of. See malformed.go.
//   - Absent and zero are different where users tell them apart: most optional
//     scalars are pointers, and defaults.go says what absent means.
//
// Every write to these objects has to be a patch. Writing back a decoded object
// would drop whatever did not decode.
//
// +kubebuilder:object:generate=true
// +kubebuilder:validation:Optional
// +groupName=argoproj.io
package v1alpha1
