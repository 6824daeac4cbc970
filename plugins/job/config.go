package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	sdkconfig "github.com/sluice-rollouts/sluice/sdk/config"
	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// config is the block users write under provider.job, with the fields of Argo's.
type config struct {
	// Metadata is put on the Job: labels and annotations, nothing else.
	Metadata map[string]any `json:"metadata"`
	// Spec is a batch/v1 JobSpec. It goes to the API server as it is, which checks it.
	Spec map[string]any `json:"spec"`
}

// template is a checked configuration.
type template struct {
	labels, annotations map[string]string
	spec                map[string]any
	// ignored are the fields of metadata that mean nothing, as with Argo.
	ignored []string
}

// parseConfig reads the block of a metric. Errors are plugin.InvalidConfig with the path.
func parseConfig(raw []byte) (template, error) {
	c, err := sdkconfig.Decode[config](raw)
	if err != nil {
		return template{}, err
	}
	t := template{spec: c.Spec}
	if t.labels, err = texts(c.Metadata, "labels"); err != nil {
		return template{}, err
	}
	if t.annotations, err = texts(c.Metadata, "annotations"); err != nil {
		return template{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(c.Metadata)) {
		if key != "labels" && key != "annotations" && c.Metadata[key] != nil {
			t.ignored = append(t.ignored, "metadata."+key)
		}
	}
	pods, ok := c.Spec["template"].(map[string]any)
	if !ok {
		return template{}, plugin.InvalidConfig("spec.template", "is missing: want the pod that measures, as in a Job")
	}
	spec, ok := pods["spec"].(map[string]any)
	if containers, _ := spec["containers"].([]any); !ok || len(containers) == 0 {
		return template{}, plugin.InvalidConfig("spec.template.spec.containers", "is empty: want the container that measures")
	}

	return t, nil
}

// texts reads a map of texts below metadata.
func texts(metadata map[string]any, key string) (map[string]string, error) {
	out := map[string]string{}
	if metadata[key] == nil {
		return out, nil
	}
	given, ok := metadata[key].(map[string]any)
	if !ok {
		return nil, plugin.InvalidConfig("metadata."+key, "is not a map of texts")
	}
	for k, v := range given {
		text, ok := v.(string)
		if !ok {
			return nil, plugin.InvalidConfig(sdkconfig.Path("metadata", key, k), "is not a text: put it in quotes")
		}
		out[k] = text
	}

	return out, nil
}

// job is the object of one measurement.
func (t template) job(namespace, name, metric string) (map[string]any, error) {
	spec, err := copied(t.spec)
	if err != nil {
		return nil, err
	}
	pods, _ := spec["template"].(map[string]any)
	metadata, _ := pods["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		pods["metadata"] = metadata
	}
	labels, _ := metadata["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	labels[label] = labelValue
	own := maps.Clone(t.labels)
	own[label] = labelValue
	annotations := maps.Clone(t.annotations)
	annotations[metricAnnotation] = metric

	return map[string]any{
		"apiVersion": "batch/v1", "kind": "Job",
		"metadata": map[string]any{"namespace": namespace, "name": name, "labels": own, "annotations": annotations},
		"spec":     spec,
	}, nil
}

// copied keeps edits of a Job out of the configuration.
func copied(in map[string]any) (map[string]any, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, plugin.InvalidConfig("spec", "is no JSON: %v", err)
	}
	var out map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&out); err != nil {
		return nil, plugin.InvalidConfig("spec", "is no JSON: %v", err)
	}

	return out, nil
}
