package devcluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

//go:embed stages.yaml
var stages []byte

// podCIDR of every node is a range that no pod gets an address of. KWOK takes
// addresses from PodCIDR but returns those of deleted pods to the pool of the
// node's range, which refuses them. So no address is ever used again, and a
// gateway that has not heard of a deletion yet cannot hit another pod by it.
const podCIDR = "10.245.%d.0/24"

// labelSimulated tells the nodes that KWOK plays from real ones.
const labelSimulated = "devcluster.sluice.dev/simulated"

// startNodes starts KWOK, creates the nodes and waits until pods can be created
// and scheduled.
func (c *Cluster) startNodes(ctx context.Context) error {
	config := c.path("stages.yaml")
	if err := os.WriteFile(config, stages, 0o600); err != nil {
		return err
	}
	kwok, err := c.startComponent(ctx, "kwok",
		"--kubeconfig="+c.KubeconfigPath(),
		"--config="+config,
		// Not the real ones.
		"--manage-nodes-with-label-selector="+labelSimulated+"=true",
		"--cidr="+PodCIDR,
		"--node-ip=10.244.254.1",
		// Renewed well before: without leases the nodes count as lost.
		"--node-lease-duration-seconds=40",
	)
	if err != nil {
		return err
	}
	clients, err := c.clients()
	if err != nil {
		return err
	}
	for i := range c.opts.Nodes {
		if err := createNode(ctx, clients.kubernetes, i); err != nil {
			return err
		}
	}
	return kwok.await(ctx, "the nodes to be ready", func(ctx context.Context) error {
		return usable(ctx, clients.kubernetes)
	})
}

func createNode(ctx context.Context, client kubernetes.Interface, i int) error {
	name := fmt.Sprintf("node-%d", i)
	cidr := fmt.Sprintf(podCIDR, i%256)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				labelSimulated:           "true",
				corev1.LabelHostname:     name,
				corev1.LabelOSStable:     "linux",
				corev1.LabelArchStable:   "amd64",
				corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%3),
			},
		},
		Spec: corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}},
	}
	_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating node %s: %w", name, err)
	}
	return nil
}

// usable fails unless a pod created now in namespace default would be accepted
// and scheduled.
func usable(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		if err := nodeReady(&nodes.Items[i]); err != nil {
			return err
		}
	}
	_, err = client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}

func nodeReady(node *corev1.Node) error {
	for _, taint := range node.Spec.Taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule {
			return fmt.Errorf("node %s has taint %s", node.Name, taint.Key)
		}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("node " + node.Name + " is not ready")
}
