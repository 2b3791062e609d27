// Command reference builds kustomizations with the real Kustomize: a JSON list of cases on standard input, one JSON list of results
// on standard output. Each case is a map of file names to texts, kustomization.yaml among them; a name that begins with "base64:" has
// its content in Base64.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

type result struct {
	Objects []json.RawMessage `json:"objects"`
	Error   string            `json:"error"`
}

func build(files map[string]string) (result result) {
	defer func() {
		if cause := recover(); cause != nil {
			result.Error = fmt.Sprintf("panic: %v", cause)
		}
	}()
	fs := filesys.MakeFsInMemory()
	for name, text := range files {
		content := []byte(text)
		if path, ok := strings.CutPrefix(name, "base64:"); ok {
			decoded, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				result.Error = err.Error()
				return
			}
			name, content = path, decoded
		}
		if err := fs.WriteFile("/"+name, content); err != nil {
			result.Error = err.Error()
			return
		}
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fs, "/")
	if err != nil {
		result.Error = err.Error()
		return
	}
	result.Objects = []json.RawMessage{}
	for _, resource := range resources.Resources() {
		object, err := resource.MarshalJSON()
		if err != nil {
			result.Error = err.Error()
			return
		}
		result.Objects = append(result.Objects, object)
	}
	return
}

func run() error {
	var cases []map[string]string
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		return err
	}
	results := make([]result, 0, len(cases))
	for _, files := range cases {
		results = append(results, build(files))
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
