package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// The host's deadlines for what is called once a process.
const (
	introduceTimeout = 15 * time.Second
	closeTimeout     = 2 * time.Second
)

// introduce does what every host does first: Describe, then Configure, with exceptions for addresses that users may write.
func introduce(ctx context.Context, conn *Connection, config, service string, egress ...string) (*lifecyclev1.DescribeResponse, error) {
	described, err := describe(ctx, conn)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(serviceNames(described), service) {
		return nil, fmt.Errorf("plugin %s does not offer %s, only %v", described.GetName(), service, described.GetServices())
	}
	if err := configure(ctx, conn, config, egress...); err != nil {
		return nil, fmt.Errorf("configuring: %w", err)
	}

	return described, nil
}

func describe(ctx context.Context, conn *Connection) (*lifecyclev1.DescribeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, introduceTimeout)
	defer cancel()
	described, err := lifecyclev1.NewLifecycleClient(conn.Conn).Describe(ctx, &lifecyclev1.DescribeRequest{
		Capabilities: []lifecyclev1.HostCapability{lifecyclev1.HostCapability_HOST_CAPABILITY_CAPABILITIES},
		HostVersion:  "conformance",
	})
	if err != nil {
		return nil, fmt.Errorf("describing: %w", err)
	}
	if described.GetName() == "" || described.GetVersion() == "" {
		return nil, fmt.Errorf("describing: name %q, version %q: want both", described.GetName(), described.GetVersion())
	}

	return described, nil
}

func configure(ctx context.Context, conn *Connection, config string, egress ...string) error {
	ctx, cancel := context.WithTimeout(ctx, introduceTimeout)
	defer cancel()
	_, err := lifecyclev1.NewLifecycleClient(conn.Conn).Configure(ctx, &lifecyclev1.ConfigureRequest{
		Config: rawConfig(config), Egress: &lifecyclev1.Egress{Allow: egress},
	})

	return err
}

func serviceNames(described *lifecyclev1.DescribeResponse) []string {
	names := make([]string, 0, len(described.GetServices()))
	for _, s := range described.GetServices() {
		names = append(names, s.GetName())
	}

	return names
}

// introduction is what the cases about any plugin share.
type introduction struct {
	launch    Launcher
	conn      *Connection
	described *lifecyclev1.DescribeResponse
	config    string
}

// checkIntroduction runs the cases about any plugin and returns the services it offers.
func checkIntroduction(ctx context.Context, launch Launcher, config string) (Report, []string, error) {
	conn, err := launch(ctx)
	if err != nil {
		return Report{}, nil, err
	}
	defer conn.Close()
	described, err := describe(ctx, conn)
	if err != nil {
		return Report{}, nil, err
	}
	if len(described.GetServices()) == 0 {
		return Report{}, nil, fmt.Errorf("plugin %s offers no service: Describe has to name at least one", described.GetName())
	}
	if err := configure(ctx, conn, config); err != nil {
		cure := "give the fixture a `process` that the plugin accepts"
		if config != "" {
			cure = "correct `process` in the fixture"
		}

		return Report{}, nil, fmt.Errorf("plugin %s refuses its process-level configuration: %v; %s", described.GetName(), statusMessage(err), cure)
	}
	suite := &introduction{launch: launch, conn: conn, described: described, config: config}

	return Report{
		Plugin: described.GetName(), Version: described.GetVersion(), Service: lifecyclev1.Lifecycle_ServiceDesc.ServiceName,
		Results: runChecks(ctx, conn, suite, "", introductionChecks()),
	}, serviceNames(described), nil
}

func introductionChecks() []check[*introduction] {
	return []check[*introduction]{
		{"it introduces itself as a host can use it", checkDescribed},
		{"it introduces itself the same each time", checkDescribedAgain},
		{"an unknown field of the process configuration is refused", checkProcessUnknown},
		{"only its host can talk to it", checkStrangers},
		{"nothing but the handshake is on standard output", checkSilent},
		{"it closes in time", checkClose},
	}
}

var (
	pluginName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	pluginVersion = regexp.MustCompile(`^\d+\.\d+\.\d+([-+].+)?$`)
)

func checkDescribed(_ context.Context, s *introduction) error {
	var errs []error
	if !pluginName.MatchString(s.described.GetName()) {
		errs = append(errs, fmt.Errorf("name %q: want lower-case letters, digits and dashes, at most 63", s.described.GetName()))
	}
	if !pluginVersion.MatchString(s.described.GetVersion()) {
		errs = append(errs, fmt.Errorf("version %q: want a semantic version such as 1.4.0", s.described.GetVersion()))
	}
	seen := map[string]bool{}
	for _, service := range s.described.GetServices() {
		if seen[service.GetName()] {
			errs = append(errs, fmt.Errorf("service %s is named twice", service.GetName()))
		}
		seen[service.GetName()] = true
		if schema := service.GetConfigSchema(); len(schema) > 0 && !json.Valid(schema) {
			errs = append(errs, fmt.Errorf("the schema of %s is no JSON", service.GetName()))
		}
	}
	if schema := s.described.GetConfigSchema(); len(schema) > 0 && !json.Valid(schema) {
		errs = append(errs, errors.New("the schema of the process configuration is no JSON"))
	}
	for _, kind := range s.described.GetKinds() {
		if kind.GetKind() == "" || len(kind.GetVerbs()) == 0 {
			errs = append(errs, fmt.Errorf("kind %q of group %q: want a kind and verbs", kind.GetKind(), kind.GetGroup()))
		}
	}

	return errors.Join(errs...)
}

func checkDescribedAgain(ctx context.Context, s *introduction) error {
	again, err := describe(ctx, s.conn)
	if err != nil {
		return err
	}
	other, err := Introduce(ctx, s.launch)
	if err != nil {
		return fmt.Errorf("second process: %w", err)
	}
	if !proto.Equal(s.described, again) || !proto.Equal(s.described, other) {
		return fmt.Errorf("it said %v, then %v, and a second process %v", s.described, again, other)
	}

	return nil
}

func checkProcessUnknown(ctx context.Context, s *introduction) error {
	block, path, err := unknownField(orEmpty(s.config), "", "")
	if err != nil {
		return err
	}
	if err := configure(ctx, s.conn, block); !isInvalid(err) {
		return fmt.Errorf("%s has the field %s: want INVALID_ARGUMENT, got %w", block, path, orNil(err))
	}

	return nil
}

func checkSilent(_ context.Context, s *introduction) error {
	if s.conn.process == nil {
		return skip("it runs in this process")
	}
	if said := s.conn.process.extra.String(); said != "" {
		return fmt.Errorf("it printed %q", cut(said))
	}

	return nil
}

func checkClose(ctx context.Context, s *introduction) error {
	other, err := s.launch(ctx)
	if err != nil {
		return fmt.Errorf("second process: %w", err)
	}
	defer other.Close()
	if _, err := describe(ctx, other); err != nil {
		return fmt.Errorf("second process: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if _, err := lifecyclev1.NewLifecycleClient(other.Conn).Close(ctx, &lifecyclev1.CloseRequest{}); err != nil {
		return fmt.Errorf("Close: %w", err)
	}

	return nil
}

// statusMessage is what a plugin said, without gRPC's frame around it.
func statusMessage(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}

	return err.Error()
}

func orEmpty(block string) string {
	if block == "" {
		return emptyBlock
	}

	return block
}
