package plugin

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
)

func TestErrorsReachTheHostWithTheirClass(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		err  error
		want codes.Code
	}{
		"invalid configuration":      {InvalidConfig("a.b", "is wrong"), codes.InvalidArgument},
		"wrapped":                    {fmt.Errorf("decoding: %w", InvalidConfig("a.b", "is wrong")), codes.InvalidArgument},
		"a missing reference":        {ReferenceNotFound("Service", "shop", "web"), codes.NotFound},
		"try again":                  {Retry(0, "busy"), codes.Unavailable},
		"blocked":                    {Blocked("somebody has to"), codes.FailedPrecondition},
		"unsupported":                {Unsupported("no"), codes.Unimplemented},
		"a deadline":                 {fmt.Errorf("asking: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		"a cancellation":             {context.Canceled, codes.Canceled},
		"anything else is retryable": {errors.New("what"), codes.Unknown},
		"the first of a mixture":     {errors.Join(Retry(0, "busy"), Blocked("x")), codes.Unavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := toStatus(test.err)
			assert.Equal(t, test.want, got.Code())
			assert.Contains(t, got.Message(), test.err.Error())
		})
	}
}

func TestJoinedViolationsBecomeOneStatus(t *testing.T) {
	t.Parallel()

	err := fmt.Errorf("checking: %w", errors.Join(InvalidConfig("a", "one"), InvalidConfig("b[0]", "two")))
	overTheWire := toStatus(err).Err()
	assert.Equal(t, map[string]string{"a": "one", "b[0]": "two"}, Violations(overTheWire))
	assert.Nil(t, Violations(errors.New("other")))
	assert.NotContains(t, overTheWire.Error(), "\n", "a condition's message is one line")
}

func TestDetails(t *testing.T) {
	t.Parallel()

	retry := toStatus(Retry(3*time.Second, "busy")).Details()
	require.Len(t, retry, 1)
	info, ok := retry[0].(*errdetails.RetryInfo)
	require.True(t, ok)
	assert.Equal(t, 3*time.Second, info.GetRetryDelay().AsDuration())

	missing := toStatus(fmt.Errorf("reading: %w", ReferenceNotFound("Service", "shop", "web"))).Err()
	assert.True(t, IsReferenceNotFound(missing))
	assert.ErrorContains(t, missing, `Service "shop/web" not found`)
	assert.False(t, IsReferenceNotFound(Blocked("no")))
}

func TestCheckSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()

	err := check(Info{Name: "My Plugin", Version: "one", Kinds: []Kind{{Group: "g"}}}, nil)
	for _, want := range []string{`name "My Plugin"`, `version "one"`, `group "g"`, "no service"} {
		assert.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, check(Info{Name: "a", Version: "1.0.0"}, []Service{{Name: "x"}, {Name: "x"}}), "twice")
	require.NoError(t, check(Info{Name: "a", Version: "1.0.0-rc.1"}, []Service{{Name: "x"}}))
}
