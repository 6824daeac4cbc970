package cli

import "github.com/spf13/cobra"

// oneName and someNames refuse a command line that does not say whom it is about, in words: cobra counts "arg(s)".
func oneName(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return usage("give the name of one %s; %d were given\nsee '%s --help'", what, len(args), cmd.CommandPath())
	}
}

func someNames(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return usage("give the name of a %s\nsee '%s --help'", what, cmd.CommandPath())
	}
}
