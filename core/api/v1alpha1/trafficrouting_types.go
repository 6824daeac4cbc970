package v1alpha1

import "encoding/json"

// RolloutTrafficRouting names the routers that carry the weights. Several may
// be set; each gets the same weights.
type RolloutTrafficRouting struct {
	Istio      *IstioTrafficRouting      `json:"istio,omitempty"`
	Nginx      *NginxTrafficRouting      `json:"nginx,omitempty"`
	ALB        *ALBTrafficRouting        `json:"alb,omitempty"`
	SMI        *SMITrafficRouting        `json:"smi,omitempty"`
	Ambassador *AmbassadorTrafficRouting `json:"ambassador,omitempty"`
	AppMesh    *AppMeshTrafficRouting    `json:"appMesh,omitempty"`
	Traefik    *TraefikTrafficRouting    `json:"traefik,omitempty"`
	Apisix     *ApisixTrafficRouting     `json:"apisix,omitempty"`
	// ManagedRoutes lists the routes that header and mirror steps may create,
	// highest priority first.
	ManagedRoutes []ManagedRoute `json:"managedRoutes,omitempty"`
	// Plugins maps the name of a router plugin, "namespace/name", to its
	// configuration, which is passed on as it is.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Plugins map[string]json.RawMessage `json:"plugins,omitempty"`
	// MaxTrafficWeight is what the weights add up to. Nil means 100. Only
	// allowed with Nginx or Plugins.
	MaxTrafficWeight *int32 `json:"maxTrafficWeight,omitempty"`
}

// ManagedRoute is a route that belongs to the rollout.
type ManagedRoute struct {
	Name string `json:"name,omitempty"`
}

// IstioTrafficRouting routes through an Istio mesh. Exactly one of
// VirtualService and VirtualServices is set.
type IstioTrafficRouting struct {
	VirtualService  *IstioVirtualService  `json:"virtualService,omitempty"`
	VirtualServices []IstioVirtualService `json:"virtualServices,omitempty"`
	// DestinationRule switches from a split between Services to a split
	// between subsets of one Service.
	DestinationRule *IstioDestinationRule `json:"destinationRule,omitempty"`
}

// IstioVirtualService names routes of a VirtualService.
type IstioVirtualService struct {
	// Name is "name" or "name.namespace".
	Name string `json:"name,omitempty"`
	// Routes are names of HTTP routes. Empty means the only one.
	Routes    []string   `json:"routes,omitempty"`
	TLSRoutes []TLSRoute `json:"tlsRoutes,omitempty"`
	TCPRoutes []TCPRoute `json:"tcpRoutes,omitempty"`
}

// TLSRoute is the TLS route with this port and this set of SNI hosts.
type TLSRoute struct {
	Port     int64    `json:"port,omitempty"`
	SNIHosts []string `json:"sniHosts,omitempty"`
}

// TCPRoute is the TCP route with this port.
type TCPRoute struct {
	Port int64 `json:"port,omitempty"`
}

// IstioDestinationRule names a DestinationRule and its subsets.
type IstioDestinationRule struct {
	Name             string `json:"name,omitempty"`
	CanarySubsetName string `json:"canarySubsetName,omitempty"`
	StableSubsetName string `json:"stableSubsetName,omitempty"`
	// AdditionalSubsetNames are subsets of the user's own that keep their share.
	AdditionalSubsetNames []string `json:"additionalSubsetNames,omitempty"`
}

// NginxTrafficRouting routes through ingress-nginx canary Ingresses. Exactly
// one of StableIngress and StableIngresses is set.
type NginxTrafficRouting struct {
	// AnnotationPrefix is the controller's prefix. Empty means
	// "nginx.ingress.kubernetes.io".
	AnnotationPrefix string   `json:"annotationPrefix,omitempty"`
	StableIngress    string   `json:"stableIngress,omitempty"`
	StableIngresses  []string `json:"stableIngresses,omitempty"`
	// AdditionalIngressAnnotations are put on the canary Ingress with the
	// prefix in front, unless it is there already.
	AdditionalIngressAnnotations map[string]string `json:"additionalIngressAnnotations,omitempty"`
	// CanaryIngressAnnotations are put on the canary Ingress as they are.
	CanaryIngressAnnotations map[string]string `json:"canaryIngressAnnotations,omitempty"`
}

// ALBTrafficRouting routes through an AWS load balancer. Exactly one of Ingress
// and Ingresses is set.
type ALBTrafficRouting struct {
	Ingress   string   `json:"ingress,omitempty"`
	Ingresses []string `json:"ingresses,omitempty"`
	// ServicePort is the port of the Services in the forward action.
	ServicePort int32 `json:"servicePort,omitempty"`
	// RootService is the backend named in the Ingress. Empty means the stable
	// Service.
	RootService string `json:"rootService,omitempty"`
	// AnnotationPrefix is the controller's prefix. Empty means
	// "alb.ingress.kubernetes.io".
	AnnotationPrefix string            `json:"annotationPrefix,omitempty"`
	StickinessConfig *StickinessConfig `json:"stickinessConfig,omitempty"`
}

// StickinessConfig keeps a client on one target group.
type StickinessConfig struct {
	Enabled bool `json:"enabled,omitempty"`
	// DurationSeconds is how long.
	DurationSeconds int64 `json:"durationSeconds,omitempty"`
}

// SMITrafficRouting routes through an SMI TrafficSplit.
type SMITrafficRouting struct {
	// RootService is the Service clients use. Empty means the stable Service.
	RootService string `json:"rootService,omitempty"`
	// TrafficSplitName is the TrafficSplit's name. Empty means the rollout's.
	TrafficSplitName string `json:"trafficSplitName,omitempty"`
}

// AmbassadorTrafficRouting routes through Ambassador Mappings.
type AmbassadorTrafficRouting struct {
	// Mappings are the names of the stable Mappings, at least one.
	Mappings []string `json:"mappings,omitempty"`
}

// AppMeshTrafficRouting routes through AWS App Mesh.
type AppMeshTrafficRouting struct {
	VirtualService   *AppMeshVirtualService   `json:"virtualService,omitempty"`
	VirtualNodeGroup *AppMeshVirtualNodeGroup `json:"virtualNodeGroup,omitempty"`
}

// AppMeshVirtualService names routes of a virtual service's router.
type AppMeshVirtualService struct {
	Name string `json:"name,omitempty"`
	// Routes are names of routes. Empty means all of them.
	Routes []string `json:"routes,omitempty"`
}

// AppMeshVirtualNodeGroup names the virtual nodes of the two revisions.
type AppMeshVirtualNodeGroup struct {
	CanaryVirtualNodeRef *AppMeshVirtualNodeReference `json:"canaryVirtualNodeRef,omitempty"`
	StableVirtualNodeRef *AppMeshVirtualNodeReference `json:"stableVirtualNodeRef,omitempty"`
}

// AppMeshVirtualNodeReference names a virtual node.
type AppMeshVirtualNodeReference struct {
	Name string `json:"name,omitempty"`
}

// TraefikTrafficRouting routes through a weighted TraefikService.
type TraefikTrafficRouting struct {
	WeightedTraefikServiceName string `json:"weightedTraefikServiceName,omitempty"`
}

// ApisixTrafficRouting routes through an ApisixRoute.
type ApisixTrafficRouting struct {
	Route *ApisixRoute `json:"route,omitempty"`
}

// ApisixRoute names rules of an ApisixRoute.
type ApisixRoute struct {
	Name string `json:"name,omitempty"`
	// Rules are names of HTTP rules. Empty means the only one.
	Rules []string `json:"rules,omitempty"`
}
