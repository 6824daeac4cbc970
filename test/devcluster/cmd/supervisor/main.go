// The supervisor is the parent of all processes of one development cluster; see
// package supervise. Package devcluster builds and starts it.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/sluice-rollouts/sluice/test/devcluster/internal/supervise"
)

func main() {
	local := flag.String("local", "", "comma-separated CIDRs to make local in this network namespace; sets up its loopback interface")
	remove := flag.String("remove", "", "folder to delete at the end")
	groups := flag.String("groups", "", "name of control groups to remove at the end")
	flag.Parse()

	cfg := supervise.ServeConfig{Remove: *remove, Groups: *groups}
	if *local != "" {
		cfg.LocalPrefixes = strings.Split(*local, ",")
	}
	if err := supervise.Serve(cfg); err != nil {
		fmt.Fprintf(os.Stderr, "supervisor: %v\n", err)
		os.Exit(1)
	}
}
