// Command yamlref reads streams of YAML or JSON the way kubectl does and says what it got.
//
// Every request on stdin is the length of a stream (32 bits, big endian) and the stream. Every answer on stdout is one line of JSON:
//
//	{"ok": true, "value": [documents], "trailing": false}
//	{"ok": false, "error": "..."}
//
// Documents that are null are left out, since kubectl skips them. "trailing" is true when text stands behind the end of a document,
// which kubectl never reads: go-yaml stops after the first document of a part, and the parts are split at lines that begin with
// "---".
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	goyaml "sigs.k8s.io/yaml/goyaml.v2"

	"sigs.k8s.io/yaml"
)

type answer struct {
	OK       bool   `json:"ok"`
	Value    []any  `json:"value,omitempty"`
	Trailing bool   `json:"trailing,omitempty"`
	Error    string `json:"error,omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	for {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "yamlref:", err)
				os.Exit(1)
			}
			break
		}
		stream := make([]byte, length)
		if _, err := io.ReadFull(in, stream); err != nil {
			fmt.Fprintln(os.Stderr, "yamlref:", err)
			os.Exit(1)
		}
		if err := encoder.Encode(reply(stream)); err != nil {
			fmt.Fprintln(os.Stderr, "yamlref:", err)
			os.Exit(1)
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
	out.Flush()
}

func reply(stream []byte) (result answer) {
	// go-yaml panics on a few malformed inputs; for kubectl that is a refusal as well.
	defer func() {
		if problem := recover(); problem != nil {
			result = answer{Error: fmt.Sprint("panic: ", problem)}
		}
	}()
	read := readYAML
	if yamlutil.IsJSONBuffer(stream[:min(len(stream), 4096)]) {
		read = readEither
	}
	documents, trailing, err := read(stream)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{OK: true, Value: documents, Trailing: trailing}
}

// readEither is what kubectl does with a stream that begins like JSON. Its decoder changes to YAML when it meets something else and
// does not show where, so a stream that is neither JSON to its end nor YAML to its end counts as one with trailing text.
func readEither(stream []byte) ([]any, bool, error) {
	decoder := yamlutil.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096)
	var documents []any
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, false, err
		}
		value, err := numbers(raw)
		if err != nil {
			return nil, false, err
		}
		if value != nil {
			documents = append(documents, value)
		}
	}
	if isJSON(stream) {
		return documents, false, nil
	}
	_, trailing, err := readYAML(stream)
	return documents, trailing || err != nil, nil
}

func isJSON(stream []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(stream))
	for {
		var ignored json.RawMessage
		if err := decoder.Decode(&ignored); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

func readYAML(stream []byte) ([]any, bool, error) {
	reader := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	var documents []any
	var trailing bool
	for {
		part, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, trailing, nil
		}
		if err != nil {
			return nil, false, err
		}
		converted, err := yaml.YAMLToJSON(part)
		if err != nil {
			return nil, false, err
		}
		value, err := numbers(converted)
		if err != nil {
			return nil, false, err
		}
		if value != nil {
			documents = append(documents, value)
		}
		trailing = trailing || more(part)
	}
}

// more says whether anything follows the first document of a part.
func more(part []byte) bool {
	decoder := goyaml.NewDecoder(bytes.NewReader(part))
	var ignored any
	if err := decoder.Decode(&ignored); err != nil {
		return false
	}
	return !errors.Is(decoder.Decode(&ignored), io.EOF)
}

// numbers keeps every number as it is written. Numbers out of range are refused here; kubectl refuses them when it reads the object.
func numbers(raw []byte) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return value, inRange(value)
}

func inRange(value any) error {
	switch value := value.(type) {
	case json.Number:
		_, err := value.Float64()
		return err
	case []any:
		for _, item := range value {
			if err := inRange(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range value {
			if err := inRange(item); err != nil {
				return err
			}
		}
	}
	return nil
}
