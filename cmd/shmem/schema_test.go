//go:build linux

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
)

var update = flag.Bool("update-schema", false, "write docs/command.schema.json and docs/shmem.1")

const schemaFile = "../../docs/command.schema.json"

// documented are the forms of the command's JSON: the name of each in the schema, and the type that
// the command prints.
var documented = map[string]any{
	"ls": []jsonInfo{}, "stat": jsonStat{}, "stream": jsonStream{}, "gc": []verdict{},
	"check": []trouble{}, "ps": []psProcess{}, "doctor": []finding{}, "top": jsonTop{},
	"diff": jsonChange{}, "value": jsonValue{}, "map": jsonMap{},
	"cache": jsonCache{}, "cache entry": jsonCached{}, "service": jsonCallStats{}, "pool": jsonPoolStats{},
	"ls --sysv": []sysvSegment{}, "check --watch": checkEvent{}, "rm": []verdict{}, "version": jsonVersion{},
	"serve": jsonState{}, "serve segment": jsonServed{},
}

// enums are the words that a field has.
var enums = map[string][]string{
	"jsonInfo.State": {"live", "orphaned", "idle", "garbage", "foreign", "copied", "other version",
		"damaged", "unlinked", "?"},
	"checkEvent.Event": {eventNew, eventOver},
	"trouble.Level":    {critical, warning, note},
	"finding.Level":    {levelOK, levelWarn, levelProblem},
	"jsonServeRow.Kind": {"box", "queue", "topic", "map", "cache", "service", "blob", "bytes", "foreign",
		"directory"},
	"jsonStats.Kind":     {"queue.Queue", "queue.Bytes", "topic.Topic", "topic.Bytes"},
	"jsonStat.OwnerWord": {"none", "owned", "kept", "dropped", "shared", ""},
}

type node = map[string]any

// schemaOf is the JSON Schema of a Go type. Types with names are defined once.
func schemaOf(t reflect.Type, defs node) node {
	switch t {
	case reflect.TypeFor[num](), reflect.TypeFor[count64]():
		return node{"$ref": "#/$defs/integer"}
	case reflect.TypeFor[moment]():
		return node{"type": "string", "format": "date-time"}
	case reflect.TypeFor[[]byte]():
		return node{"type": "string", "contentEncoding": "base64"}
	case reflect.TypeFor[jsonValue](), reflect.TypeFor[any]():
		return node{"$ref": "#/$defs/value"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), defs)
	case reflect.String:
		return node{"type": "string"}
	case reflect.Bool:
		return node{"type": "boolean"}
	case reflect.Float64:
		return node{"type": "number"}
	case reflect.Int:
		return node{"type": "integer"}
	case reflect.Map:
		return node{"type": "object", "additionalProperties": schemaOf(t.Elem(), defs)}
	case reflect.Slice:
		return node{"type": "array", "items": schemaOf(t.Elem(), defs)}
	case reflect.Struct:
		name := strings.TrimPrefix(t.Name(), "json")
		name = strings.ToLower(name[:1]) + name[1:]
		if defs[name] == nil {
			def := node{}
			defs[name] = def
			properties, required := node{}, []string{}
			fieldsOf(t, defs, properties, &required, false)
			def["type"], def["properties"], def["additionalProperties"] = "object", properties, false
			slices.Sort(required)
			def["required"] = required
		}
		return node{"$ref": "#/$defs/" + name}
	}
	panic("no schema of " + t.String())
}

// fieldsOf adds the fields of a struct, and of those that are embedded in it.
func fieldsOf(t reflect.Type, defs, properties node, required *[]string, optional bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			elem := f.Type
			if elem.Kind() == reflect.Pointer {
				elem = elem.Elem()
			}
			fieldsOf(elem, defs, properties, required, optional || f.Type.Kind() == reflect.Pointer)
			continue
		case !f.IsExported() || name == "-":
			continue
		}
		s := schemaOf(f.Type, defs)
		if words := enums[t.Name()+"."+f.Name]; words != nil {
			s = node{"enum": words}
		}
		if f.Type.Kind() == reflect.Pointer && !strings.Contains(rest, "omitempty") {
			s = node{"anyOf": []any{s, node{"type": "null"}}}
		}
		properties[name] = s
		if !strings.Contains(rest, "omitempty") && !optional {
			*required = append(*required, name)
		}
	}
}

func wholeSchema() node {
	defs := node{
		"integer": node{
			"description": "A number, or beyond ±(2^53-1) a string of its digits.",
			"anyOf": []any{node{"type": "integer"},
				node{"type": "string", "pattern": "^-?[0-9]+$"}},
		},
		"value": node{
			"description": "A value as encoding/json has the Go value, with integers as above. " +
				"NaN, infinities and complex numbers are strings, locks a string with their " +
				"state, raw bytes a string in base64.",
		},
	}
	forms := node{}
	for name, v := range documented {
		forms[name] = schemaOf(reflect.TypeOf(v), defs)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	_ = enc.Encode(node{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     "https://github.com/shmembox/shmem/docs/command.schema.json",
		"title":   "JSON of the command shmem, version 1",
		"description": "Each property is the form of what a command prints with --json. Keys may " +
			"be added; none is renamed or removed without another version.",
		"type": "object", "properties": forms, "$defs": defs,
	})
	var s node // as it is when it is read
	_ = json.Unmarshal([]byte(b.String()), &s)
	return s
}

// TestSchema: the schema in docs is that of the code, and what the commands print is valid by it.
func TestSchema(t *testing.T) {
	s := wholeSchema()
	if *update {
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(schemaFile, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var has node
	if err := json.Unmarshal(b, &has); err != nil || !reflect.DeepEqual(has, s) {
		t.Fatalf("docs/command.schema.json is not that of the code; go test ./cmd/shmem -run "+
			"TestSchema -update-schema writes it (%v)", err)
	}
	dir, bin := evilDir(t)
	lock, err := shmem.Create[Config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for line, form := range map[string]string{
		"ls --json": "ls", "stat --json box": "stat", "stat --json queue": "stat",
		"stat --json notes": "stat", "stat --json foreign": "stat", "stat --json config": "stat",
		"cat --json queue": "stream", "cat --json bytes": "stream", "cat --json map": "map", "stat --json map": "stat",
		"watch --json -n 1 map": "map", "cat --json notes": "stream",
		"watch --json -n 1 texts": "stream", "cat --json box": "value",
		"watch --json -n 1 box": "value", "tail --json --from oldest notes": "value",
		"cat --json cache": "cache", "watch --json -n 1 cache": "cache",
		"diff --json box 1ms": "diff", "gc -n --json": "gc", "check --json --held 1ms": "check",
		"ps --json": "ps", "doctor --json": "doctor", "top --json -n 2 -i 10ms": "top",
		"check -w --json -n 1 --held 1ms": "check --watch", "rm --json -n box": "rm",
		"version --json": "version", "ls --sysv --json": "ls --sysv",
	} {
		cmd := exec.Command(bin, append([]string{"--dir", dir}, strings.Fields(line)...)...)
		out, err := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != 0 && code != 1 {
			t.Errorf("shmem %s: %v", line, err)
		}
		n := 0
		for d := json.NewDecoder(strings.NewReader(string(out))); ; n++ {
			var v any
			if err := d.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("shmem %s: %v", line, err)
			}
			if err := valid(s, s["properties"].(node)[form].(node), v, form); err != nil {
				t.Errorf("shmem %s: %v", line, err)
			}
		}
		if n == 0 && form != "diff" {
			t.Errorf("shmem %s prints nothing", line)
		}
	}
}

// valid reports why a value is not valid by a schema, with the keywords that wholeSchema uses.
func valid(root, s node, v any, path string) error {
	if ref, ok := s["$ref"].(string); ok {
		return valid(root, root["$defs"].(node)[filepath.Base(ref)].(node), v, path)
	}
	if options, ok := s["anyOf"].([]any); ok {
		var last error
		for _, o := range options {
			if last = valid(root, o.(node), v, path); last == nil {
				return nil
			}
		}
		return last
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, v) {
		return fmt.Errorf("%s: %v is none of %v", path, v, words)
	}
	is := map[string]bool{}
	switch x := v.(type) {
	case nil:
		is["null"] = true
	case string:
		is["string"] = true
	case bool:
		is["boolean"] = true
	case float64:
		is["number"], is["integer"] = true, x == float64(int64(x))
	case []any:
		is["array"] = true
		for i, e := range x {
			if items, ok := s["items"].(node); ok {
				if err := valid(root, items, e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
					return err
				}
			}
		}
	case node:
		is["object"] = true
		if err := validObject(root, s, x, path); err != nil {
			return err
		}
	}
	if want, ok := s["type"].(string); ok && !is[want] {
		return fmt.Errorf("%s: %v is no %s", path, v, want)
	}
	return nil
}

func validObject(root, s, v node, path string) error {
	properties, _ := s["properties"].(node)
	for k, e := range v {
		p, ok := properties[k].(node)
		if values, isMap := s["additionalProperties"].(node); isMap {
			p, ok = values, true
		}
		if !ok && s["additionalProperties"] == false {
			return fmt.Errorf("%s: %s is not in the schema", path, k)
		}
		if ok {
			if err := valid(root, p, e, path+"."+k); err != nil {
				return err
			}
		}
	}
	required, _ := s["required"].([]any)
	for _, k := range required {
		if _, ok := v[k.(string)]; !ok {
			return fmt.Errorf("%s: no %s", path, k)
		}
	}
	return nil
}

// TestNumbersSurvive: jq, which reads numbers as floats, keeps integers of 64 bits.
func TestNumbersSurvive(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("jq is not installed")
	}
	dir, bin := evilDir(t)
	out, err := exec.Command("sh", "-c", fmt.Sprintf("%s --dir %s cat --json box | %s -r '.Big, .Small'",
		bin, dir, jq)).CombinedOutput()
	if want := "18446744073709551615\n-9223372036854775808\n"; string(out) != want || err != nil {
		t.Errorf("%s, want %s (%v)", out, want, err)
	}
	// set takes what cat prints
	value, err := exec.Command(bin, "--dir", dir, "cat", "--json", "box").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Big, Small any }
	if err := json.Unmarshal(value, &all); err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"Big=" + all.Big.(string), "Small=" + all.Small.(string)} {
		if out, err := exec.Command(bin, "--dir", dir, "set", "box", set).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", set, out)
		}
	}
}
