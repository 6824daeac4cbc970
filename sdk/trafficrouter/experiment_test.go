package trafficrouter_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/sdk/objects"
	typesv1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/types/v1"
	"github.com/sluice-rollouts/sluice/sdk/trafficrouter"
)

func TestAnExperimentIsReachedUnderAPortItsServiceHas(t *testing.T) {
	for _, c := range []struct{ name, ports, want string }{
		{"the usual one", `[{"name":"http","port":80},{"name":"web","port":8080}]`, "8080"},
		{"else the one called http", `[{"name":"metrics","port":9000},{"name":"http","port":80}]`, "80"},
		{"else its first", `[{"name":"metrics","port":9000},{"name":"web","port":81}]`, "9000"},
		{"a Service without ports says what to do", `[]`, `Service "web-exp" of the experiment has no port to send to: give the template's containers one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			need := objects.Need{Kind: "Service", Versions: []string{"v1"}, Namespace: "shop", Name: "web-exp"}
			in, err := objects.NewInputs([]*typesv1.NeedResult{{
				Need: need.Proto(), State: typesv1.NeedResult_STATE_SYNCED, ApiVersion: "v1",
				Objects: []*typesv1.Object{{ApiVersion: "v1", ResourceVersion: "1", Json: []byte(
					`{"apiVersion":"v1","kind":"Service","metadata":{"name":"web-exp","namespace":"shop"},"spec":{"ports":` + c.ports + `}}`)}},
			}})
			require.NoError(t, err)

			ports, err := trafficrouter.ExperimentPorts(in, "shop", []string{"web-exp"}, 8080)

			if err != nil {
				assert.Contains(t, err.Error(), c.want)

				return
			}
			assert.Equal(t, c.want, fmt.Sprint(ports["web-exp"]))
		})
	}
}

func TestAServiceNobodyHasShownYetIsAskedFor(t *testing.T) {
	in, err := objects.NewInputs(nil)
	require.NoError(t, err)

	_, err = trafficrouter.ExperimentPorts(in, "shop", []string{"web-exp"}, 8080)

	assert.True(t, objects.IsNotReady(err))
}
