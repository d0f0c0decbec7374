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

// TestCache shows a cache by all commands that know caches, with a key and value that harm a
// terminal.
func TestCache(t *testing.T) {
	dir, bin := interruptible(t)
	c, err := kv.CreateCache[string]("cache", &kv.CacheOptions{
		Dir: dir, Size: 1 << 20, Lifetime: shmem.Kept,
	})
	if err != nil {
		t.Fatal(err)
	}
	const evil = "evil\x1b[2J\xff"
	set := func(k, v string) {
		t.Helper()
		if err := c.SetFor(t.Context(), k, []byte(v), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		set("page "+string(rune('a'+i)), strings.Repeat("x", 100*i))
	}
	set(evil, evil)
	set("text", "<html>")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(bin, append([]string{"--dir", dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("shmem %s: %v", args, err)
		}
		return string(out)
	}
	for args, want := range map[string]string{
		"ls":                      `cache +kv\.Cache .* idle`,
		"stat cache":              `(?s)type +kv\.Cache.*entries +32 with .* 32 changes, 0 evicted\n`,
		"stat --json cache":       `(?s)"cache": \{.*"len": 32`,
		"cat cache":               `(?s)^kv\.Cache  32 with .*expires in (59m|1h).*\n12 more\n`,
		"cat cache text":          `^<html>\n$`,
		"cat --raw cache text":    `^<html>$`,
		"cat --json cache text":   `"value": "(<|\\u003c)html`,
		"watch --json -n 1 cache": `"entries":\[\{"key(Base64)?":`,
	} {
		if out := run(strings.Fields(args)...); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("shmem %s:\n%s\nwant %s", args, out, want)
		}
	}
	if out := run("cat", "-a", "cache"); strings.Contains(out, "\x1b") || strings.Contains(out, "\xff") || strings.Count(out, "\n") != 33 {
		t.Errorf("%q", out)
	}
	if out := run("cat", "--raw", "cache", `"evil\x1b[2J\xff"`); out != evil {
		t.Errorf("%q", out)
	}
	var all struct {
		Entries []struct {
			Key, Value             string
			KeyBase64, ValueBase64 []byte
		}
	}
	if err := json.Unmarshal([]byte(run("cat", "-a", "--json", "cache")), &all); err != nil || len(all.Entries) != 32 {
		t.Error(len(all.Entries), err)
	}
	found := false
	for _, e := range all.Entries {
		found = found || string(e.KeyBase64) == evil && string(e.ValueBase64) == evil
	}
	if !found {
		t.Error("the bytes are not there")
	}
	for args, want := range map[string]string{
		"cat cache none":    "there is no entry with the key none",
		"set cache Log[0]=": "it is a kv.Cache, and set changes values of boxes",
		"gen c cache":       "kv.AttachCache",
	} {
		out, err := exec.Command(bin, append([]string{"--dir", dir}, strings.Fields(args)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("shmem %s: %s %v", args, out, err)
		}
	}
}
