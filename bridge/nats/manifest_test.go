package main

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
)

// TestManifests: the arguments of the command in the guide's manifests are ones that it takes.
func TestManifests(t *testing.T) {
	b, err := os.ReadFile("../../docs/bridge.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile(`(?:command|args): (\["-url"[^\]]*\])`).FindAllSubmatch(b, -1) {
		var args []string
		if err := json.Unmarshal(m[1], &args); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
		c, _, err := read(args)
		if err != nil || c.URL == "" || len(c.Out) != 1 || c.HTTP != ":8080" {
			t.Errorf("%q: %+v, %v", args, c, err)
		}
		found++
	}
	if found != 2 {
		t.Errorf("%d manifests", found)
	}
}
