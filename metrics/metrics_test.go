package metrics_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/metrics"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/tests/metricstage"
)

func TestMain(m *testing.M) { shmemtest.Main(m, metricstage.Role, metricstage.Owner) }

// TestTable holds the names to the rules of Prometheus.
func TestTable(t *testing.T) {
	name := regexp.MustCompile(`^shmem_[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, m := range metrics.Table() {
		if !name.MatchString(m.Name) || seen[m.Name] {
			t.Errorf("%s: a bad name, or there twice", m.Name)
		}
		seen[m.Name] = true
		if total := strings.HasSuffix(m.Name, "_total"); total != (m.Type == metrics.Counter) {
			t.Errorf("%s is a %v", m.Name, m.Type)
		}
		if !strings.HasSuffix(m.Help, ".") || strings.Contains(m.Help, ". ") {
			t.Errorf("%s: the help is no sentence: %q", m.Name, m.Help)
		}
		if i := slices.Index(m.Labels, "segment"); i > 0 {
			t.Errorf("%s: labels %q", m.Name, m.Labels)
		}
	}
}

// all is a Scanner without a limit of time, which a loaded machine could reach.
func all(dir string) metrics.Options { return metrics.Options{Dir: dir, Timeout: -1} }

// values returns the samples by name and labels, as "queue_depth_messages jobs".
func values(t *testing.T, s *metrics.Scanner) map[string]float64 {
	t.Helper()
	samples, err := s.Scan()
	if err != nil {
		t.Fatal(err)
	}
	v := map[string]float64{}
	for _, s := range samples {
		k := strings.TrimPrefix(s.Metric.Name, "shmem_")
		if len(s.Labels) != len(s.Metric.Labels) {
			t.Errorf("%s has labels %q", k, s.Labels)
		}
		k = strings.TrimSpace(k + " " + strings.Join(s.Labels, " "))
		if _, twice := v[k]; twice {
			t.Errorf("%q is there twice", k)
		}
		v[k] = s.Value
	}
	return v
}

func expect(t *testing.T, got map[string]float64, want map[string]float64) {
	t.Helper()
	for k, w := range want {
		if g, ok := got[k]; !ok || g != w {
			t.Errorf("%s is %v (%v), want %v", k, g, ok, w)
		}
	}
}

// TestEveryMetric: each metric of the table has a sample, and it says what there is.
func TestEveryMetric(t *testing.T) {
	stage := metricstage.Start(t)
	o := all(stage.Dir)
	o.Process = true
	o.Findings = func() []metrics.Finding {
		return []metrics.Finding{{Kind: "wedged", Level: "critical"},
			{Kind: "wedged", Level: "critical"}}
	}
	s := metrics.New(&o)
	got := values(t, s)
	series := map[string]int{}
	for k := range got {
		if f := strings.Fields(k); len(f) > 1 {
			series[f[1]]++
		}
	}
	for segment, n := range series {
		if n > 35 { // see the package comment
			t.Errorf("%s has %d time series", segment, n)
		}
	}
	for _, m := range metrics.Table() {
		found := false
		for k := range got {
			found = found || strings.Fields(k)[0] == strings.TrimPrefix(m.Name, "shmem_")
		}
		if !found {
			t.Errorf("there is no sample of %s", m.Name)
		}
	}
	expect(t, got, map[string]float64{
		"segments live": 10, "segments foreign": 1, "memory_bytes foreign": 8192,
		"findings wedged critical":   2,
		"segment_attachments config": 2, "segment_slots config": 256,
		"segment_info jobs queue.Queue int64 live kept metrics.test": 1,
		"lock_holders config alive":                                  1, "lock_holders config dead": 0,
		"leases jobs receive": 1, "leased_messages jobs receive": 1, "leases jobs send": 0,
		"queue_depth_messages jobs": 1, "queue_capacity_messages jobs": 16,
		"queue_sent_messages_total jobs": 2, "queue_sent_messages_total lines": 1,
		"topic_published_messages_total ticks": 3, "topic_lag_messages ticks": 2,
		"topic_holds ticks": 1, "topic_holds_limit ticks": 2,
		"map_entries users": 1, "cache_entries pages": 0, "segment_size_bytes raw": 4096,
		"pool_size_bytes images": 4096, "pool_used_bytes images": 1024,
		"pool_fullest_ratio images": 0.25, "pool_taken_buffers_total images": 1,
		"service_servers squares": 1, "service_handled_calls_total squares": 1,
		"segments_omitted user": 0, "owner_deaths_total": 0,
	})
	if got["queue_sent_bytes_total single"] == 0 || got["queue_depth_bytes lines"] == 0 {
		t.Error("no bytes of a queue.Bytes are counted")
	}
	if _, ok := got["queue_sent_messages_total single"]; ok {
		t.Error("a Single queue.Bytes, which counts bytes, has a number of messages")
	}
	// The lock and the message are still held by the same process.
	again := values(t, s)
	if again["lock_held_seconds config"] <= 0 || again["lease_age_seconds jobs"] <= 0 {
		t.Errorf("held for %v s, leased for %v s", again["lock_held_seconds config"],
			again["lease_age_seconds jobs"])
	}

	stage.Child.Kill()
	expect(t, values(t, s), map[string]float64{
		"lock_holders config alive": 0, "lock_holders config dead": 1,
		"locks_dead config": 1, "segment_attachments config": 1,
		"segment_dead_attachments config": 1,
		"lock_held_seconds config":        0,
	})
}

// TestOwnerDeaths: the death of an owner is counted once.
func TestOwnerDeaths(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := all(dir)
	s := metrics.New(&o)
	expect(t, values(t, s), map[string]float64{"owner_deaths_total": 0})
	c := shmemtest.Start(t, metricstage.Owner.Name, dir)
	c.Expect(t, "ready")
	b, err := shmem.AttachSegment("owned", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, values(t, s), map[string]float64{"segment_orphaned owned": 0,
		"owner_deaths_total": 0})
	c.Kill()
	for range 2 {
		expect(t, values(t, s), map[string]float64{"segment_orphaned owned": 1,
			"owner_deaths_total": 1, "segments orphaned": 1})
	}
	b.Close()
	expect(t, values(t, s), map[string]float64{"segments orphaned": 0, "owner_deaths_total": 1})
}

// TestBounds: what a scan looks at is bounded, and it says what was left out.
func TestBounds(t *testing.T) {
	dir := shmemtest.Dir(t)
	kept := &shmem.Options{Dir: dir, Lifetime: shmem.Kept}
	for i := range 5 {
		b, err := shmem.CreateSegment(fmt.Sprint("s", i), 1, kept)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		defer os.Remove(filepath.Join(dir, fmt.Sprint("s", i)))
	}
	for _, c := range []struct {
		name string
		o    metrics.Options
		want map[string]float64
	}{
		{"limit", metrics.Options{MaxSegments: 2}, map[string]float64{"segments idle": 2,
			"segments_omitted limit": 3, "segment_slots s0": 256, "segment_slots s1": 256}},
		{"all", metrics.Options{MaxSegments: -1}, map[string]float64{"segments idle": 5}},
		{"chosen", metrics.Options{Segments: func(name string) bool { return name == "s3" }},
			map[string]float64{"segments idle": 1, "segments_omitted limit": 0}},
	} {
		c.o.Dir, c.o.Timeout = dir, -1
		expect(t, values(t, metrics.New(&c.o)), c.want)
	}
	late := values(t, metrics.New(&metrics.Options{Dir: dir, Timeout: time.Nanosecond}))
	if late["segments_omitted timeout"] != 5 {
		t.Errorf("of 5 files, %v were left out", late["segments_omitted timeout"])
	}
}

// TestHostileNames: whatever names and types files have, the text has one line for each sample,
// which is printable, and no two samples of the same labels.
func TestHostileNames(t *testing.T) {
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
	names := []string{"s", "a\xff", `a\xff`, "a\n# TYPE x counter\nx 1", `a"} 1`, "a\\", "\x1b[31m",
		"é", "\u202e", "{", strings.Repeat("\xfe", 255)}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
	}
	o := all(dir)
	s := metrics.New(&o)
	values(t, s) // none is there twice
	var text bytes.Buffer
	if err := s.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) shmem_\w+ [[:print:]]+|` +
		`shmem_\w+(\{\w+="([^"\\]|\\["\\])*"(,\w+="([^"\\]|\\["\\])*")*\})? [-+.e0-9]+)$`)
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	infos := 0
	for _, l := range lines {
		if !line.MatchString(l) {
			t.Errorf("not a line of the format: %q", l)
		}
		if strings.HasPrefix(l, "shmem_segment_info{") {
			infos++
		}
	}
	if infos != len(names) {
		t.Errorf("%d segments are described, want %d", infos, len(names))
	}
}

// TestNoDirectory: a directory that cannot be read is an error, and nothing is written.
func TestNoDirectory(t *testing.T) {
	s := metrics.New(&metrics.Options{Dir: filepath.Join(t.TempDir(), "none")})
	var text bytes.Buffer
	err := s.WriteText(&text)
	if err == nil || !strings.HasPrefix(err.Error(), "shmem: metrics scan ") || text.Len() > 0 {
		t.Errorf("WriteText: %v, and %d bytes", err, text.Len())
	}
}
