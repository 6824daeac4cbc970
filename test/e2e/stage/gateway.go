package stage

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

var httpRoutes = schema.GroupVersionResource{Group: gatewayv1.GroupName, Version: "v1", Resource: "httproutes"}

// GatewayStandIn does what is visible of a gateway in the API, and nothing
// else: it reports on HTTPRoutes in status.parents. It moves no traffic.
type GatewayStandIn struct {
	client   dynamic.Interface
	informer cache.SharedIndexInformer
	stopped  chan struct{}

	mu      sync.Mutex
	refuses map[string]string // by namespace: why routes are refused
	paused  map[string]bool   // by namespace: nothing is reported
}

func startGatewayStandIn(c dynamic.Interface) (*GatewayStandIn, error) {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(c, 0)
	g := &GatewayStandIn{
		client: c, informer: factory.ForResource(httpRoutes).Informer(), stopped: make(chan struct{}),
		refuses: map[string]string{}, paused: map[string]bool{},
	}
	_, err := g.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    g.report,
		UpdateFunc: func(_, now any) { g.report(now) },
	})
	if err != nil {
		return nil, err
	}
	factory.Start(g.stopped)
	factory.WaitForCacheSync(g.stopped)
	return g, nil
}

func (g *GatewayStandIn) stop() { close(g.stopped) }

// Refuse makes the gateway refuse the routes of a namespace with a sentence.
func (g *GatewayStandIn) Refuse(namespace, sentence string) {
	g.change(namespace, func() { g.refuses[namespace] = sentence })
}

// Accept ends Refuse and Pause.
func (g *GatewayStandIn) Accept(namespace string) {
	g.change(namespace, func() {
		delete(g.refuses, namespace)
		delete(g.paused, namespace)
	})
}

// Pause makes the gateway stop reporting on the routes of a namespace.
func (g *GatewayStandIn) Pause(namespace string) {
	g.change(namespace, func() { g.paused[namespace] = true })
}

// change reports again on every route of the namespace.
func (g *GatewayStandIn) change(namespace string, edit func()) {
	g.mu.Lock()
	edit()
	g.mu.Unlock()
	for _, obj := range g.informer.GetStore().List() {
		if obj.(*unstructured.Unstructured).GetNamespace() == namespace {
			g.report(obj)
		}
	}
}

// report writes what the gateway says about a route, if it says it not yet.
func (g *GatewayStandIn) report(obj any) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return
	}
	var route gatewayv1.HTTPRoute
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &route); err != nil {
		return
	}
	g.mu.Lock()
	sentence, paused := g.refuses[route.Namespace], g.paused[route.Namespace]
	g.mu.Unlock()
	if paused || said(&route, sentence) {
		return
	}
	status := gatewayv1.HTTPRouteStatus{}
	for _, parent := range route.Spec.ParentRefs {
		status.Parents = append(status.Parents, gatewayv1.RouteParentStatus{
			ParentRef: parent, ControllerName: "sluice.dev/gateway-stand-in", Conditions: conditions(&route, sentence),
		})
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// A failure is tried again by the event of whatever write came between.
	_, _ = g.client.Resource(httpRoutes).Namespace(route.Namespace).
		Patch(ctx, route.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "gateway-stand-in"}, "status")
}

func said(route *gatewayv1.HTTPRoute, sentence string) bool {
	if len(route.Status.Parents) != len(route.Spec.ParentRefs) {
		return false
	}
	for _, parent := range route.Status.Parents {
		for i, want := range conditions(route, sentence) {
			if i >= len(parent.Conditions) {
				return false
			}
			have := parent.Conditions[i]
			if have.ObservedGeneration != want.ObservedGeneration || have.Status != want.Status || have.Message != want.Message {
				return false
			}
		}
	}
	return true
}

func conditions(route *gatewayv1.HTTPRoute, refusal string) []metav1.Condition {
	accepted := metav1.Condition{
		Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonAccepted),
		ObservedGeneration: route.Generation, LastTransitionTime: metav1.Now(),
	}
	if refusal != "" {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, "UnsupportedValue", refusal
	}
	resolved := metav1.Condition{
		Type: string(gatewayv1.RouteConditionResolvedRefs), Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonResolvedRefs),
		ObservedGeneration: route.Generation, LastTransitionTime: metav1.Now(),
	}
	return []metav1.Condition{accepted, resolved}
}
