package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version of the program; the build sets it. "dev": it was built without, such as by
// go install, and the version is the module's.
var Version = "dev"

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && Version == "dev" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return Version
}

func (p *program) version() *cobra.Command {
	var short bool
	cmd := &cobra.Command{Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			if short {
				p.printf("%s\n", version())
				return
			}
			p.printf("kubectl-sluice %s\n", version())
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						p.printf("  revision: %s\n", s.Value)
					}
				}
			}
			p.printf("  go: %s\n  platform: %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
		}}
	cmd.Flags().BoolVar(&short, "short", false, "only the version")
	return cmd
}
