package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":             "plain",
		"größe 大 🙂":         "größe 大 🙂",
		"\x1b[31mred":       `\x1b[31mred`,
		"two\nlines\ttab":   `two\nlines\ttab`,
		"\x9b31m":           `\x9b31m`,
		"\u009b31m":         `\u009b31m`,
		"a\u202eb\u200bc\a": `a\u202eb\u200bc\a`,
		"\xff\xfe":          `\xff\xfe`,
		"\x7f\x00\r":        `\x7f\x00\r`,
		`back\slash`:        `back\slash`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %s, want %s", in, got, want)
		}
	}
	if got := cleanLine("a\tb\x1b"); got != "a\tb\\x1b" {
		t.Error(got)
	}
}

func TestGuard(t *testing.T) {
	for in, want := range map[string]string{
		"plain\n\tline\n":                  "plain\n\tline\n",
		"\x1b[31mred\x1b[0m \x1b[38;5;9mx": "\x1b[31mred\x1b[0m \x1b[38;5;9mx",
		"\x1b]0;title\a":                   `\x1b]0;title\a`,
		"\x1b[2J\x1b[?1049h":               `\x1b[2J\x1b[?1049h`,
		"\x1b[":                            `\x1b[`,
		"\x1b":                             `\x1b`,
		"\u009b2J\x9b2J\r":                 `\u009b2J\x9b2J\r`,
		"\x1b[31":                          `\x1b[31`,
	} {
		if got := string(guarded([]byte(in), true)); got != want {
			t.Errorf("guarded(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestGuardWithoutColours(t *testing.T) {
	if got := string(guarded([]byte("\x1b[31mred"), false)); got != `\x1b[31mred` {
		t.Error(got)
	}
}

// TestSafeJSON: what safeJSON changes means the same to a reader of JSON.
func TestSafeJSON(t *testing.T) {
	texts := []string{"\x7f", "\u009b2J", "\u202e", "\U000e0041", "\U0010ffff", "a\u2028b", "\x1b",
		"tab\tnewline\n", "größe 大 🙂"}
	j, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	safe := safeJSON(j)
	if !isPlain(string(safe), "") {
		t.Errorf("%q", safe)
	}
	var back []string
	if err := json.Unmarshal(safe, &back); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(back, "|"), strings.Join(texts, "|"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestJSONNumbers(t *testing.T) {
	b, err := json.Marshal([]any{num(1<<53 - 1), num(1 << 53), num(-1 << 63), count64(1 << 63),
		count64(7)})
	want := `[9007199254740991,"9007199254740992","-9223372036854775808","9223372036854775808",7]`
	if string(b) != want || err != nil {
		t.Errorf("%s, want %s (%v)", b, want, err)
	}
}
