package main

import (
	"encoding/gob"
	"encoding/json"
	"time"
)

// What such a plugin knows of the objects it gets: gob leaves out the rest.

type objectMeta struct{ Name, Namespace string }

type canary struct {
	CanaryService, StableService string
	TrafficRouting               *struct {
		Plugins map[string]json.RawMessage
	}
}

type rollout struct {
	ObjectMeta objectMeta
	Spec       struct{ Strategy struct{ Canary *canary } }
}

type destination struct {
	Weight                       int32
	ServiceName, PodTemplateHash string
}

type stringMatch struct{ Exact, Prefix, Regex string }

type headerRoute struct {
	Name  string
	Match []struct {
		HeaderName  string
		HeaderValue *stringMatch
	}
}

type mirrorRoute struct {
	Name       string
	Percentage *int32
	Match      []struct {
		Path    *stringMatch
		Headers map[string]stringMatch
	}
}

type analysisRun struct{ ObjectMeta objectMeta }

type metric struct {
	Name     string
	Provider struct{ Plugin map[string]json.RawMessage }
}

// Measurement is exported, as net/rpc demands of replies.
type Measurement struct {
	Phase, Message, Value string
	Metadata              map[string]string
	ResumeAt              *time.Time
}

type RPCError struct{ ErrorString string }

type updateHash struct {
	Rollout                rollout
	CanaryHash, StableHash string
	AdditionalDestinations []destination
}

type setWeight struct {
	Rollout                rollout
	DesiredWeight          int32
	AdditionalDestinations []destination
}

type setHeader struct {
	Rollout        rollout
	SetHeaderRoute headerRoute
}

type setMirror struct {
	Rollout        rollout
	SetMirrorRoute mirrorRoute
}

type removeRoutes struct{ Rollout rollout }

type Verified struct {
	Verified int32
	Err      RPCError
}

type run struct {
	AnalysisRun *analysisRun
	Metric      metric
}

type resume struct {
	AnalysisRun *analysisRun
	Metric      metric
	Measurement Measurement
}

type collect struct {
	AnalysisRun *analysisRun
	Metric      metric
	Limit       int
}

type getMetadata struct{ Metric metric }

type stepContext struct {
	PluginName     string
	Config, Status json.RawMessage
}

type (
	stepRun struct {
		Rollout *rollout
		Context *stepContext
	}
	stepTerminate struct {
		Rollout *rollout
		Context *stepContext
	}
	stepAbort struct {
		Rollout *rollout
		Context *stepContext
	}
)

type StepReply struct {
	Result struct {
		Phase, Message string
		RequeueAfter   time.Duration
		Status         json.RawMessage
	}
	Error RPCError
}

func init() {
	for name, prototype := range map[string]any{
		"RpcError": &RPCError{}, "UpdateHashArgs": &updateHash{}, "SetWeightAndVerifyWeightArgs": &setWeight{},
		"SetHeaderArgs": &setHeader{}, "SetMirrorArgs": &setMirror{}, "RemoveManagedRoutesArgs": &removeRoutes{},
		"RunArgs": &run{}, "TerminateAndResumeArgs": &resume{}, "GarbageCollectArgs": &collect{}, "GetMetadataArgs": &getMetadata{},
		"step.RunArgs": &stepRun{}, "step.TerminateArgs": &stepTerminate{}, "step.AbortArgs": &stepAbort{},
	} {
		gob.RegisterName(name, prototype)
	}
}
