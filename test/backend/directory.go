package main

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// directory knows which pod answers on which address.
type directory struct {
	mu sync.Mutex
	// pods holds all pods, live or not, so that counters survive a pod that is
	// not ready for a while.
	pods map[types.UID]*pod
	// live holds the pods that answer.
	live map[netip.Addr]resident
	// arrival is closed and replaced whenever an address gets a pod.
	arrival chan struct{}
}

type resident struct {
	uid types.UID
	pod *pod
}

func newDirectory() *directory {
	return &directory{
		pods:    map[types.UID]*pod{},
		live:    map[netip.Addr]resident{},
		arrival: make(chan struct{}),
	}
}

// set takes over the state of a pod.
func (d *directory) set(from *corev1.Pod) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, known := d.pods[from.UID]
	if known {
		p.update(from)
	} else {
		p = newPod(from)
		d.pods[from.UID] = p
	}
	address, err := netip.ParseAddr(from.Status.PodIP)
	if err != nil {
		return // no address yet
	}
	holder, taken := d.live[address]
	switch {
	case answers(from):
		// Addresses are used again; the latest pod to become ready has it.
		d.live[address] = resident{uid: from.UID, pod: p}
		close(d.arrival)
		d.arrival = make(chan struct{})
	case taken && holder.uid == from.UID:
		delete(d.live, address)
	}
}

// remove forgets a deleted pod and resets its connections.
func (d *directory) remove(gone *corev1.Pod) {
	d.mu.Lock()
	p := d.pods[gone.UID]
	delete(d.pods, gone.UID)
	for address, holder := range d.live {
		if holder.uid == gone.UID {
			delete(d.live, address)
		}
	}
	d.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// find returns the pod that answers on an address, waiting for one until ctx
// ends. It returns nil when there is none.
func (d *directory) find(ctx context.Context, address netip.Addr) *pod {
	for {
		d.mu.Lock()
		holder, ok := d.live[address]
		arrival := d.arrival
		d.mu.Unlock()
		if ok {
			return holder.pod
		}
		select {
		case <-arrival:
		case <-ctx.Done():
			return nil
		}
	}
}

// answers reports whether the app of a pod would be reachable: from ready until
// deleted. A terminating pod still answers, because a real app that is asked to
// stop finishes what routers still send it; one that never became ready does
// not, so that traffic sent to it too early shows as failed requests.
func answers(p *corev1.Pod) bool {
	if p.Status.Phase != corev1.PodRunning {
		return false
	}
	if p.DeletionTimestamp != nil {
		return true
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// follow keeps pods up to date until ctx ends. It returns when all pods that
// exist are known.
func follow(ctx context.Context, client kubernetes.Interface, namespace string, pods *directory) error {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { pods.set(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { pods.set(o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			pods.remove(o.(*corev1.Pod))
		},
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return errors.New("stopped before the pods were listed")
	}
	return nil
}
