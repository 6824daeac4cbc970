package conformance

import (
	"context"
	"fmt"
	"slices"

	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// introduce does what every host does first: Describe, then Configure, with exceptions for addresses that users may write.
func introduce(ctx context.Context, conn *Connection, config, service string, egress ...string) (*lifecyclev1.DescribeResponse, error) {
	client := lifecyclev1.NewLifecycleClient(conn.Conn)
	described, err := client.Describe(ctx, &lifecyclev1.DescribeRequest{
		Capabilities: []lifecyclev1.HostCapability{lifecyclev1.HostCapability_HOST_CAPABILITY_CAPABILITIES},
		HostVersion:  "conformance",
	})
	if err != nil {
		return nil, fmt.Errorf("describing: %w", err)
	}
	if described.GetName() == "" || described.GetVersion() == "" {
		return nil, fmt.Errorf("describing: name %q, version %q: want both", described.GetName(), described.GetVersion())
	}
	offered := slices.ContainsFunc(described.GetServices(), func(s *lifecyclev1.Service) bool { return s.GetName() == service })
	if !offered {
		return nil, fmt.Errorf("plugin %s does not offer %s, only %v", described.GetName(), service, described.GetServices())
	}
	if _, err := client.Configure(ctx, &lifecyclev1.ConfigureRequest{
		Config: rawConfig(config), Egress: &lifecyclev1.Egress{Allow: egress},
	}); err != nil {
		return nil, fmt.Errorf("configuring: %w", err)
	}

	return described, nil
}
