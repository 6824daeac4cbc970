package main

// maxExperiments is what a rule has room for beside stable and canary.
const maxExperiments = maxBackendRefs - 2

// MaxExperiments is how many destinations of experiments fit into one rule.
func (router) MaxExperiments() int { return maxExperiments }
