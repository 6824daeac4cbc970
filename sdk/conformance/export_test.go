package conformance

// BinaryWithin is Binary for a plugin that has less time to shake hands.
var BinaryWithin = binaryWithin

// CasesWithoutCure are the cases of all suites that do not say what to do when they fail.
func CasesWithoutCure() []string {
	var names []string
	note := func(name string) {
		if cures[name] == "" {
			names = append(names, name)
		}
	}
	for _, c := range introductionChecks() {
		note(c.name)
	}
	for _, c := range routerChecks() {
		note(c.name)
	}
	for _, c := range providerChecks() {
		note(c.name)
	}
	for _, c := range stepChecks() {
		note(c.name)
	}

	return names
}
