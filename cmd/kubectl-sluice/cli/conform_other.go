//go:build !linux

package cli

import (
	"context"
	"errors"
)

// checkPlugin needs Linux: it ends with each plugin whatever that has started.
func (p *program) checkPlugin(context.Context, []string, string, bool, output) error {
	return errors.New("plugins are tested on Linux, where controllers run them; run the command there, or in a container")
}
