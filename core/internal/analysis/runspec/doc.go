// Package runspec turns analysis templates and arguments into the spec of an
// AnalysisRun, and a metric with arguments into one that can be measured. All
// of it is pure; nothing is measured, fetched or defaulted here.
package runspec
