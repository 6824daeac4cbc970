package analysis

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

const hidden = "*****"

// redactor replaces secret values in everything that is stored or told. The
// zero value hides nothing.
type redactor struct{ secrets []string }

// add hides a value, also trimmed and re-spaced, since values are used and texts
// are stored that way, and as URLs, JSON and base64 write it.
func (r *redactor) add(secret string) {
	for _, form := range []string{secret, strings.TrimSpace(secret), strings.Join(strings.Fields(secret), " ")} {
		if form == "" {
			continue
		}
		quoted := strconv.Quote(form)
		encoded, _ := json.Marshal(form) // a text always encodes
		r.secrets = append(r.secrets, form, url.QueryEscape(form), url.PathEscape(form),
			quoted[1:len(quoted)-1], string(encoded[1:len(encoded)-1]))
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			r.secrets = append(r.secrets, e.EncodeToString([]byte(form)))
		}
	}
	slices.Sort(r.secrets)
	r.secrets = slices.Compact(r.secrets)
	// Longer ones first: one secret may be part of another.
	sort.Slice(r.secrets, func(i, j int) bool { return len(r.secrets[i]) > len(r.secrets[j]) })
}

func (r *redactor) text(s string) string {
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, hidden)
	}
	if rest, was := strings.CutSuffix(s, "…"); was {
		s = r.withoutBeginning(rest) + "…"
	}
	return s
}

// minBeginning is how much of a secret's beginning, before a cut, is hidden.
// Fewer bytes tell little and end many words.
const minBeginning = 4

// withoutBeginning hides the longest beginning of a secret that a text was cut
// off in.
func (r *redactor) withoutBeginning(s string) string {
	longest := 0
	for _, secret := range r.secrets {
		for n := min(len(secret), len(s)); n >= minBeginning && n > longest; n-- {
			if strings.HasSuffix(s, secret[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return s
	}
	return s[:len(s)-longest] + hidden
}

func (r *redactor) metadata(metadata map[string]string) map[string]string {
	if metadata == nil {
		return nil
	}
	clean := make(map[string]string, len(metadata))
	for key, value := range metadata {
		if key != stateKey {
			value = r.text(value)
		}
		clean[r.text(key)] = value
	}
	return clean
}

// result hides secrets before anything is cut off, so that no half of one
// stays. A state that holds a secret cannot be stored: the measurement is an
// Error that says so.
func (r *redactor) result(res *Result) *Result {
	res.Waiting, res.Fatal, res.Warning = r.text(res.Waiting), r.text(res.Fatal), r.text(res.Warning)
	res.Evidence = Evidence{r.text(res.Evidence.Seen), r.text(res.Evidence.Condition)}
	res.ResultMetadata = r.metadata(res.ResultMetadata)
	if m := res.Measurement; m != nil {
		state := string(stateOf(*m))
		if r.text(state) != state {
			delete(m.Metadata, stateKey)
			m.Phase, m.Message = v1alpha1.AnalysisPhaseError, "the provider's state holds a secret and is not stored"
			m.FinishedAt, m.ResumeAt = m.ResumeAt, nil
		}
		m.Value, m.Message, m.Metadata = r.text(m.Value), r.text(m.Message), r.metadata(m.Metadata)
	}
	bounded(res)
	return res
}
