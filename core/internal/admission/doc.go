// Package admission holds no code: its tests keep the ValidatingAdmissionPolicies of
// deploy/policies and the controller's own validation (decide) from drifting apart.
package admission
