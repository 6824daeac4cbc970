package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
	"github.com/sluice-rollouts/sluice/test/e2e/stage"
)

// Random tokens reach the system that is measured and nothing else: they are in
// no stored object, event, log, metric, process argument or environment,
// whether the measurement succeeds, fails, errs or cannot be made.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	c := on.NewController(t, stage.ControllerOptions{Instance: "secrets"})
	c.Start(t)
	app := on.NewApp(t, c)
	token := random(t) + " +/ü" // to be seen through however it is rewritten
	plain := random(t)
	number := "0." + digits(t)
	app.Apply(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: tokens}, stringData: {token: %q, plain: %q, number: %q}}", token, plain, number))

	query := "up{token=" + token + "}"
	on.Metrics.Set(query, 7.2)
	runs := secretRuns()
	for name, r := range runs {
		app.Apply(fmt.Sprintf(`
apiVersion: argoproj.io/v1alpha1
kind: AnalysisRun
metadata: {name: %s}
spec:
  args:
    - {name: token, valueFrom: {secretKeyRef: {name: tokens, key: token}}}
    - {name: plain, valueFrom: {secretKeyRef: {name: tokens, key: plain}}}
    - {name: number, valueFrom: {secretKeyRef: {name: tokens, key: number}}}
  metrics: [%s]
`, name, r.metric))
	}
	for name, r := range runs {
		app.Await(name+" ends as "+string(r.phase), func(w stage.World) bool {
			return w.Runs[name] != nil && w.Runs[name].Status.Phase == r.phase
		})
	}
	assert.Positive(t, on.Metrics.Asked(query), "the token reached the system that is measured")
	app.AwaitEventOf("AnalysisRun", "erring", "AnalysisRunError")

	texts := []string{plain, number, token, strings.Fields(token)[0], url.QueryEscape(token), url.PathEscape(token)}
	for _, secret := range []string{token, plain} {
		texts = append(texts, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)))
	}
	found, looked := c.Search(t, texts...)
	assert.Empty(t, found)
	require.Greater(t, looked["objects"], 50)
	require.GreaterOrEqual(t, looked["processes"], 4, "the controller and a plugin")
	t.Logf("looked for %d texts in %v", len(texts), looked)

	// The search is able to find something.
	app.Patch("AnalysisRun", "measured", `{"metadata": {"annotations": {"leak": "`+plain+`"}}}`)
	found, _ = c.Search(t, plain)
	require.Len(t, found, 1)

	secrets := 0.0
	for what, n := range c.Counters(t).Reads {
		if strings.HasSuffix(what, " secrets") {
			require.Equal(t, "get secrets", what, "secrets are read by name")
			secrets += n
		}
	}
	require.Positive(t, secrets)
}

type secretRun struct {
	metric string
	phase  v1alpha1.AnalysisPhase
}

// secretRuns use the Secrets in every way there is, and end in every way.
func secretRuns() map[string]secretRun {
	return map[string]secretRun{
		"measured":   {metric(`"up{token={{args.token}}}"`, "result[0] > 100", ""), v1alpha1.AnalysisPhaseSuccessful},
		"failed":     {metric(`"up{token={{args.token}}}"`, `'{{args.plain}}' != 'x' && result[0] > 5`, ""), v1alpha1.AnalysisPhaseFailed},
		"compared":   {metric(`"up{token={{args.token}}}"`, "{{args.number}} < result[0]", ""), v1alpha1.AnalysisPhaseFailed},
		"evidence":   {metric(`"up{token={{args.token}}}"`, "'{{args.plain}}' != string(result[0])", ""), v1alpha1.AnalysisPhaseFailed},
		"erring":     {metric(`"up"`, "result[0] > 5", "/nowhere/{{args.plain}}"), v1alpha1.AnalysisPhaseError},
		"unfit":      {metric(`"up"`, "result[0] > {{args.plain}}", ""), v1alpha1.AnalysisPhaseError},
		"misplaced":  {strings.Replace(metric(`"up"`, "result[0] > 5", ""), "name: m", `name: "{{args.plain}}"`, 1), v1alpha1.AnalysisPhaseError},
		"unparsable": {metric(`"up"`, "'{{args.plain}}' contains asInt('{{args.token}}')", ""), v1alpha1.AnalysisPhaseError},
	}
}

// metric asks the stand-in, once, with errors ending it at once.
func metric(query, failure, path string) string {
	return fmt.Sprintf(`{name: m, consecutiveErrorLimit: 0, failureCondition: %q, provider: {prometheus: {address: %q, query: %s}}}`,
		failure, on.Metrics.URL()+path, query)
}

func random(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 16)
	_, err := rand.Read(raw)
	require.NoError(t, err)
	return "s" + hex.EncodeToString(raw)
}

func digits(t *testing.T) string {
	t.Helper()
	return strings.Map(func(r rune) rune {
		if r >= 'a' {
			return '0' + (r-'a')%10
		}
		return r
	}, random(t))
}
