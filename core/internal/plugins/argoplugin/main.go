// Command argoplugin is a plugin for Argo Rollouts' net/rpc protocol, written
// from what is known of the wire, for the tests of the plugin host. Argument 1 is
// a file to which it appends every call; argument 2, "how:method", is what it
// does wrong.
package main

import (
	"fmt"
	"net/rpc"
	"os"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
)

func main() {
	kind := os.Getenv("ARGO_ROLLOUTS_RPC_PLUGIN")
	servers := map[string]struct {
		set    string
		server any
	}{
		"trafficrouter":  {"RpcTrafficRouterPlugin", &router{}},
		"metricprovider": {"RpcMetricProviderPlugin", &provider{}},
		"step":           {"RpcStepPlugin", &step{}},
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "ARGO_ROLLOUTS_RPC_PLUGIN", MagicCookieValue: kind},
		Plugins:         goplugin.PluginSet{servers[kind].set: wire{servers[kind].server}},
	})
}

type wire struct{ server any }

func (w wire) Server(*goplugin.MuxBroker) (any, error) { return w.server, nil }

func (wire) Client(*goplugin.MuxBroker, *rpc.Client) (any, error) { return nil, fmt.Errorf("a server") }

// did notes a call, and does wrong what it is told to.
func did(method, format string, args ...any) RPCError {
	f, err := os.OpenFile(os.Args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(f, strings.TrimSpace(method+" "+format)+"\n", args...)
	f.Close()
	if len(os.Args) > 2 {
		switch how, at, _ := strings.Cut(os.Args[2], ":"); {
		case at != method:
		case how == "hang":
			time.Sleep(time.Hour)
		case how == "exit":
			os.Exit(9)
		case how == "error":
			return RPCError{"no " + method + " today"}
		}
	}
	return RPCError{}
}

type common struct{}

func (common) InitPlugin(_ any, reply *RPCError) error {
	*reply = did("InitPlugin", "")
	return nil
}

func (common) Type(_ any, reply *string) error {
	*reply = "test"
	return nil
}

type router struct{ common }

func (*router) UpdateHash(args any, reply *RPCError) error {
	a := args.(*updateHash)
	*reply = did("UpdateHash", "%s canary=%s stable=%s extra=%v", a.Rollout.ObjectMeta.Name, a.CanaryHash, a.StableHash, a.AdditionalDestinations)
	return nil
}

func (*router) SetWeight(args any, reply *RPCError) error {
	a := args.(*setWeight)
	*reply = did("SetWeight", "%d %s", a.DesiredWeight, a.Rollout.Spec.Strategy.Canary.TrafficRouting.Plugins["test/argo"])
	return nil
}

func (*router) VerifyWeight(args any, reply *Verified) error {
	reply.Err = did("VerifyWeight", "%d", args.(*setWeight).DesiredWeight)
	reply.Verified = 1
	if len(os.Args) > 2 && os.Args[2] == "unverified" {
		reply.Verified = 0
	}
	return nil
}

func (*router) SetHeaderRoute(args any, reply *RPCError) error {
	r := args.(*setHeader).SetHeaderRoute
	*reply = did("SetHeaderRoute", "%s %s=%s", r.Name, r.Match[0].HeaderName, r.Match[0].HeaderValue.Exact)
	return nil
}

func (*router) SetMirrorRoute(args any, reply *RPCError) error {
	r := args.(*setMirror).SetMirrorRoute
	*reply = did("SetMirrorRoute", "%s %d%% of %s", r.Name, *r.Percentage, r.Match[0].Path.Prefix)
	return nil
}

func (*router) RemoveManagedRoutes(_ any, reply *RPCError) error {
	*reply = did("RemoveManagedRoutes", "")
	return nil
}

type provider struct{ common }

func (*provider) Run(args any, reply *Measurement) error {
	a := args.(*run)
	if e := did("Run", "%s %s %s", a.AnalysisRun.ObjectMeta.Name, a.Metric.Name, a.Metric.Provider.Plugin["test/argo"]); e.ErrorString != "" {
		*reply = Measurement{Phase: "Error", Message: e.ErrorString}
		return nil
	}
	in := time.Now().Add(7 * time.Second)
	*reply = Measurement{Phase: "Running", Metadata: map[string]string{"job": "42"}, ResumeAt: &in}
	return nil
}

func (*provider) Resume(args any, reply *Measurement) error {
	a := args.(*resume)
	did("Resume", "job %s", a.Measurement.Metadata["job"])
	*reply = Measurement{Phase: "Failed", Value: "[0.7]", Message: "too low", Metadata: a.Measurement.Metadata}
	return nil
}

func (*provider) Terminate(args any, reply *Measurement) error {
	did("Terminate", "job %s", args.(*resume).Measurement.Metadata["job"])
	*reply = Measurement{Phase: "Successful"}
	return nil
}

func (*provider) GarbageCollect(args any, reply *RPCError) error {
	*reply = did("GarbageCollect", "%d", args.(*collect).Limit)
	return nil
}

func (*provider) GetMetadata(args any, reply *map[string]string) error {
	did("GetMetadata", "%s", args.(*getMetadata).Metric.Name)
	*reply = map[string]string{"query": "up"}
	return nil
}

type step struct{ common }

func (*step) Run(args any, reply *StepReply) error {
	a := args.(*stepRun)
	reply.Error = did("Run", "%s %s config=%s status=%s", a.Rollout.ObjectMeta.Name, a.Context.PluginName, a.Context.Config, a.Context.Status)
	reply.Result.Phase, reply.Result.RequeueAfter, reply.Result.Status = "Running", 17*time.Second, []byte(`{"n":1}`)
	if len(a.Context.Status) > 0 {
		reply.Result.Phase = "Successful"
	}
	return nil
}

func (*step) Terminate(args any, reply *StepReply) error {
	reply.Error = did("Terminate", "%s", args.(*stepTerminate).Context.Status)
	reply.Result.Phase = "Successful"
	return nil
}

func (*step) Abort(args any, reply *StepReply) error {
	reply.Error = did("Abort", "%s", args.(*stepAbort).Context.Status)
	reply.Result.Phase = "nonsense"
	if len(os.Args) > 2 && os.Args[2] == "undoes" {
		reply.Result.Phase = "Successful"
	}
	return nil
}
