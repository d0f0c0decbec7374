package main

import (
	"slices"
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"}, {count(9999), "9999"}, {count(10_000), "10k"}, {count(65_536), "66k"},
		{count(1<<64 - 1), "18E"},
		{size(-1), "-"}, {size(0), "0B"}, {size(9999), "9999B"}, {size(10 << 10), "10K"},
		{size(1 << 20), "1.0M"}, {size(1 << 40), "1.0T"},
		{bytesText(1), "1 byte"}, {bytesText(384), "384 bytes"}, {bytesText(12 << 10), "12 KiB"},
		{bytesText(18 << 20), "18 MiB"}, {bytesText(23 << 30), "23 GiB"},
		{plural(1, "hold"), "1 hold"}, {plural(2, "hold"), "2 holds"},
		{perSecond(0), "0"}, {perSecond(1.25), "+1.2"}, {perSecond(-20), "-20"},
		{perSecond(20_000), "+20k"}, {perSecond(5e7), "+50M"},
		{since(time.Time{}), "-"}, {since(time.Now().Add(-90 * time.Second)), "1m"},
		{since(time.Now().Add(time.Hour)), "0s"},
		{since(time.Now().Add(-50 * time.Hour)), "2d"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{cut("short", 5), "short"}, {cut("longer", 5), "long…"}, {cut("größer", 6), "größer"},
		{cut("x", 0), ""},
		{pad("ä", 3), "ä  "}, {lpad("ä", 3), "  ä"}, {pad("long", 2), "long"},
		{clean("a\x1b[31mb\n"), `a\x1b[31mb\n`},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	if got, want := fold("one two  three-is-long four", 7),
		[]string{"one two", "three-is-long", "four"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := fold("", 7); len(got) != 1 || got[0] != "" {
		t.Errorf("no text is %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"config", "config", 0}, {"confg", "config", 1}, {"cofnig", "config", 2}, {"a", "abcdef", 3},
		{"abc", "xyz", 3}} {
		if got := distance(c.a, c.b, 3); got != c.want {
			t.Errorf("%s and %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
