//go:build linux

package main

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
)

// aMap makes the map "map" in a directory: with a key whose value harms a terminal, and 30 others.
func aMap(t *testing.T, dir string) {
	t.Helper()
	m, err := kv.Create[[4]byte, Note]("map", &kv.Options{
		Dir: dir, Capacity: 40, Lifetime: shmem.Kept, Evict: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(30) {
		v := Note{Small: int64(i)}
		if i == 7 {
			v = evilNote()
		}
		if err := m.SetFor(t.Context(), [4]byte{192, 0, 2, i}, v, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMap shows a map by all commands that know maps.
func TestMap(t *testing.T) {
	dir, bin := interruptible(t)
	aMap(t, dir)
	run := func(args string) string {
		t.Helper()
		out, err := exec.Command(bin, append([]string{"--dir", dir}, strings.Fields(args)...)...).CombinedOutput()
		if err != nil {
			t.Errorf("shmem %s: %v", args, err)
		}
		return string(out)
	}
	for args, want := range map[string]string{
		"ls":                    `map +kv\.Map\[\[4\]uint8, .*\] .* idle`,
		"stat map":              `(?s)type +kv\.Map\[\[4\]uint8, .*entries +30 of 40 entries, 30 changes, 0 evicted\n`,
		"stat --json map":       `(?s)"map": \{.*"len": 30`,
		"cat map":               `(?s)^kv\.Map\[.*30 of 40 entries.*expires in (59m|1h).*\n10 more\n`,
		"watch --json -n 1 map": `"entries":\[\{"key":`,
	} {
		if out := run(args); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("shmem %s:\n%s\nwant %s", args, out, want)
		}
	}
	var all struct{ Entries []struct{ Key, Value any } }
	if err := json.Unmarshal([]byte(run("cat -a --json map")), &all); err != nil || len(all.Entries) != 30 {
		t.Error(len(all.Entries), err)
	}
	lines := strings.Split(strings.TrimSpace(run("cat -a map")), "\n")[1:]
	if len(lines) != 30 {
		t.Fatal(len(lines))
	}
	for _, l := range lines { // each key leads to its value
		key, _, _ := strings.Cut(l, "  ")
		cmd := exec.Command(bin, "--dir", dir, "cat", "--json", "map", strings.TrimSpace(key))
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"Small": `) {
			t.Errorf("cat map %s: %s %v", key, out, err)
		}
	}
	out, err := exec.Command(bin, "--dir", dir, "cat", "map", "none").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "there is no entry with the key none") {
		t.Errorf("%s %v", out, err)
	}
	if out, err := exec.Command(bin, "--dir", dir, "set", "map", "Cells[0].Hash=1").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "and set changes values of boxes") {
		t.Errorf("%s %v", out, err)
	}
	if out, err := exec.Command(bin, "--dir", dir, "gen", "c", "map").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "kv.Attach") {
		t.Errorf("%s %v", out, err)
	}
}
