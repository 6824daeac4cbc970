package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// explain adds to an error of the API what a person can do about it.
func explain(err error) error {
	var status *apierrors.StatusError
	var refused *net.OpError
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("the cluster does not know Rollouts: %w\ninstall the CRDs (deploy/crds), or choose another cluster with --context", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster does not accept your credentials: %w\nlog in again, or choose another user with --user or --context", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w\nask for a RoleBinding to 'edit' in this namespace: the installed ClusterRoles add the kinds of argoproj.io to view, edit and admin", err)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%w\nsomebody changed it at the same moment; look at it and try again", err)
	case errors.As(err, &status):
		return err
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &refused):
		return fmt.Errorf("the API server does not answer: %w\ncheck the cluster, or choose another one with --context", err)
	}
	return err
}

// unknown is the error for a name that does not exist, with those that do.
func (c *cluster) unknown(ctx context.Context, kind, name string, list client.ObjectList) error {
	names, err := c.names(ctx, list)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("there is no %s %q in namespace %q", kind, name, c.namespace)
	near := similar(name, names)
	switch {
	case len(near) > 0:
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	case len(names) == 0:
		text += fmt.Sprintf("; the namespace has no %s at all: choose another one with --namespace", kind)
	default:
		text += "; it has " + strings.Join(names[:min(len(names), 5)], ", ")
	}
	return errors.New(text)
}

// similar names are those one could have meant: at most three, best first.
func similar(name string, names []string) []string {
	type rated struct {
		name     string
		distance int
	}
	var near []rated
	for _, n := range names {
		d := distance(name, n)
		if d <= max(2, len(name)/3) || strings.Contains(n, name) || strings.Contains(name, n) {
			near = append(near, rated{n, d})
		}
	}
	slices.SortStableFunc(near, func(a, b rated) int { return a.distance - b.distance })
	var out []string
	for _, r := range near[:min(len(near), 3)] {
		out = append(out, r.name)
	}
	return out
}

// distance is how many letters have to be added, removed or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := before
			if a[i-1] != b[j-1] {
				change++
			}
			before = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func eachItem(list client.ObjectList, do func(client.Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		do(o.(client.Object))
		return nil
	})
}
