// Package devcluster starts real Kubernetes control planes on this machine for
// tests, benchmarks and the demo: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, and nodes whose kubelets KWOK plays. No Docker, no root.
//
// Start gives a cluster on 127.0.0.1 and free ports; most tests want this one.
// StartNet gives one in a network namespace of its own, in which every pod
// address answers, so that a gateway can send real traffic to simulated pods;
// see Traefik, Prometheus, Cluster.Dial and Cluster.Forward. The calling process
// itself stays outside. Any number of clusters can run at once.
//
// StartNode adds to the latter a node whose pods run; that one needs root.
//
// Nothing of a cluster outlives it: not after Stop, and not when the process
// that started it is killed, whatever the signal.
//
// # What the simulated kubelets do
//
// A pod starts and becomes ready after some hundred milliseconds. A pod of a Job
// ends by itself: it fails when its command holds "exit N" other than 0 or is
// "false", and runs for N seconds when it holds "sleep N". Annotations of a pod
// change that:
//
//	devcluster.sluice.dev/never-ready   "true": runs, but is not ready; may be set and removed while it runs
//	devcluster.sluice.dev/ready-delay   how long from running to ready, for example "3s"
//	devcluster.sluice.dev/delete-delay  how long a deleted pod stays terminating
//	devcluster.sluice.dev/run-for       how long a Job's pod runs
//	devcluster.sluice.dev/exit-code     what a Job's containers exit with; other than "0" the pod fails
//
// Each pod has an address of its own in PodCIDR, and no address is used twice in
// the life of a cluster. Nothing is pulled and nothing runs in the pods. RealNode says
// what differs on a real node.
package devcluster

// Annotations of pods that change what the simulated kubelets do; the package
// documentation says what each means.
const (
	AnnotationNeverReady  = "devcluster.sluice.dev/never-ready"
	AnnotationReadyDelay  = "devcluster.sluice.dev/ready-delay"
	AnnotationDeleteDelay = "devcluster.sluice.dev/delete-delay"
	AnnotationRunFor      = "devcluster.sluice.dev/run-for"
	AnnotationExitCode    = "devcluster.sluice.dev/exit-code"
)

const (
	// PodCIDR holds the addresses of all pods.
	PodCIDR = "10.244.0.0/16"
	// ServiceCIDR holds the cluster IPs of services. Nothing answers on them.
	ServiceCIDR = "10.96.0.0/16"
)
