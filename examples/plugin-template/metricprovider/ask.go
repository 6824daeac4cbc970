package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// failure is what the service said instead of a value.
type failure struct{ what string }

func (f *failure) Error() string { return f.what }

// ask returns the number in the answer's field. A *failure means that the service was reached and could not say.
func ask(ctx context.Context, client *http.Client, b block) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL, http.NoBody)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", req.URL.Host, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, &failure{fmt.Sprintf("%s answered %s", req.URL.Host, answer.Status)}
	}
	var document any
	if err := json.NewDecoder(answer.Body).Decode(&document); err != nil {
		return 0, &failure{fmt.Sprintf("the answer of %s is not JSON: %v", req.URL.Host, err)}
	}
	value, ok := at(document, b.Field).(float64)
	if !ok {
		return 0, &failure{fmt.Sprintf("the answer of %s has no number at %s", req.URL.Host, b.Field)}
	}

	return value, nil
}

// at walks a path such as data.errorRatio; nil if nothing is there.
func at(document any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		object, _ := document.(map[string]any)
		document = object[key]
	}

	return document
}
