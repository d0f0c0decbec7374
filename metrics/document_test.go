package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/shmembox/shmem/metrics"
)

var update = flag.Bool("update", false, "write the table of metrics into docs/observe.md")

// document is the page that explains the metrics, tableMark the line before its table.
const (
	document  = "../docs/observe.md"
	tableMark = "<!-- The table is made from metrics.Table: go test ./metrics -run TestDocument" +
		" -update -->\n\n"
)

// tableText returns the table of metrics as the page has it.
func tableText() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range metrics.Table() {
		labels := ""
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %v | %s | %s |\n", m.Name, m.Type, labels,
			strings.TrimSuffix(m.Help, "."))
	}
	return b.String()
}

// TestDocument: the page has the table of metrics, names no other metric, and explains each alert.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(b), tableMark)
	if !ok {
		t.Fatalf("%s has no line %q", document, tableMark)
	}
	if *update {
		text := before + tableMark + tableText()
		if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if after != tableText() {
		t.Errorf("the table of %s is not that of metrics.Table: run this with -update", document)
	}
	known := map[string]bool{}
	for _, m := range metrics.Table() {
		known[m.Name] = true
	}
	for _, name := range regexp.MustCompile(`\bshmem_\w+`).FindAllString(before, -1) {
		if !known[name] {
			t.Errorf("%s: there is no metric %s", document, name)
		}
	}
	rules, err := os.ReadFile("../docs/observe/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(before, "| `"+m[1]+"` |") {
			t.Errorf("%s does not explain the alert %s", document, m[1])
		}
	}
}
