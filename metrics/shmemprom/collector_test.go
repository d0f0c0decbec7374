package shmemprom_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/metrics"
	"github.com/shmembox/shmem/metrics/shmemprom"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/tests/metricstage"
)

func TestMain(m *testing.M) { shmemtest.Main(m, metricstage.Role) }

// everything are the options with which every metric has a sample.
func everything(dir string) *metrics.Options {
	return &metrics.Options{Dir: dir, Timeout: -1, Process: true,
		Findings: func() []metrics.Finding {
			return []metrics.Finding{{Kind: "wedged", Level: "critical"}}
		}}
}

// registry returns a registry, which checks what it gathers, with a collector.
func registry(t *testing.T, opts *metrics.Options) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(shmemprom.NewCollector(opts)); err != nil {
		t.Fatal(err)
	}
	return r
}

// gather returns the families by their names.
func gather(t *testing.T, r *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*dto.MetricFamily{}
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// value returns the value of a gauge with some values of labels.
func value(t *testing.T, f *dto.MetricFamily, labels ...string) float64 {
	t.Helper()
	for _, m := range f.GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetValue())
		}
		if slices.Equal(has, labels) {
			return m.GetGauge().GetValue()
		}
	}
	t.Errorf("there is no %s of %q", f.GetName(), labels)
	return -1
}

// TestEveryMetric: each metric of the table is gathered, the linter of Prometheus finds nothing, and
// a process that is killed between two scrapes is seen.
func TestEveryMetric(t *testing.T) {
	stage := metricstage.Start(t)
	r := registry(t, everything(stage.Dir))
	all := gather(t, r)
	for _, m := range metrics.Table() {
		f := all[m.Name]
		if f == nil || f.GetHelp() != m.Help ||
			strings.ToLower(f.GetType().String()) != m.Type.String() {
			t.Errorf("%s: %v", m.Name, f)
		}
	}
	if len(all) != len(metrics.Table()) {
		t.Errorf("gathered are %q", slices.Sorted(maps.Keys(all)))
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("the linter found %v, %v", problems, err)
	}
	const holders = "shmem_lock_holders"
	if n := value(t, all[holders], "config", "alive"); n != 1 {
		t.Errorf("%v holders, want 1", n)
	}
	stage.Child.Kill()
	all = gather(t, r)
	if n := value(t, all[holders], "config", "dead"); n != 1 {
		t.Errorf("%v dead holders after the kill, want 1", n)
	}
}

// TestNoDirectory: a directory that cannot be read is the error of the scrape.
func TestNoDirectory(t *testing.T) {
	r := registry(t, &metrics.Options{Dir: filepath.Join(t.TempDir(), "none")})
	if _, err := r.Gather(); err == nil || !strings.Contains(err.Error(), "shmem: metrics scan") {
		t.Errorf("Gather returned %v", err)
	}
}

// TestText: the parser of Prometheus reads from WriteText what the collector gathers, whatever the
// names of files are.
func TestText(t *testing.T) {
	dir := hostile(t)
	opts := &metrics.Options{Dir: dir, Timeout: -1}
	var text bytes.Buffer
	if err := metrics.New(opts).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		t.Fatal(err)
	}
	all := gather(t, registry(t, opts))
	if len(parsed) != len(all) {
		t.Errorf("%d families were parsed, want %d", len(parsed), len(all))
	}
	for name, want := range all {
		got := parsed[name]
		if got.GetHelp() != want.GetHelp() || got.GetType() != want.GetType() ||
			!slices.Equal(labels(got), labels(want)) {
			t.Errorf("%s: parsed is %v, want %v", name, got, want)
		}
	}
}

// hostile returns a directory with a segment under many names.
func hostile(t *testing.T) string {
	dir := shmemtest.Dir(t)
	b, err := shmem.CreateSegment("s", 1, &shmem.Options{Dir: dir, Lifetime: shmem.Kept})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	content, err := os.ReadFile(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(filepath.Join(dir, "s")) })
	for _, name := range []string{"a\xff", `a\xff`, "a\n# TYPE x counter\nx 1", `a"} 1`, "a\\",
		"a\\n", "a\n", "\x1b[31m", "é", "\ufffd", "\u202e", "{", "#", " ", "\xfe\"\\\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
	}
	return dir
}

// labels returns the labels of all samples of a family, sorted.
func labels(f *dto.MetricFamily) (all []string) {
	for _, m := range f.GetMetric() {
		var s []string
		for _, l := range m.GetLabel() {
			s = append(s, l.GetName()+"="+l.GetValue())
		}
		slices.Sort(s)
		all = append(all, strings.Join(s, ","))
	}
	slices.Sort(all)
	return all
}

func ExampleNewCollector() {
	prometheus.MustRegister(shmemprom.NewCollector(&metrics.Options{Process: true}))
}

// TestDocument: the page has the line of the example, which is compiled here.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/observe.md")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.ReadFile("collector_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, block := range strings.Split(string(page), "```golang\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		found = found || strings.Contains(string(here), "\n\t"+block)
	}
	if !found {
		t.Error("docs/observe.md does not have the example of this file")
	}
}
