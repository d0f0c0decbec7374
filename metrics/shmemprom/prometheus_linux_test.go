package shmemprom_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem/metrics"
	"github.com/shmembox/shmem/tests/metricstage"
)

// The files of docs/observe.
const (
	observe   = "../../docs/observe"
	alerts    = observe + "/alerts.yml"
	alertTest = observe + "/alerts_test.yml"
	dashboard = observe + "/dashboard.json"
)

// program returns the path of one of Prometheus' programs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: Debian's package prometheus has it; CI=true tests/run packages installs it",
			err)
	}
	return path
}

// promtool runs promtool, which must find nothing to complain of.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	c := exec.Command(program(t, "promtool"), args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("FAILED")) {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestPromtool: the text is what promtool takes, also by its linter.
func TestPromtool(t *testing.T) {
	stage := metricstage.Start(t)
	var text strings.Builder
	if err := metrics.New(everything(stage.Dir)).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	promtool(t, text.String(), "check", "metrics")
}

// TestAlerts: the rules load, each alert fires where it should and is silent where it should not,
// and they use no metric that there is not.
func TestAlerts(t *testing.T) {
	promtool(t, "", "check", "rules", alerts)
	promtool(t, "", "test", "rules", alertTest)
	rules, tests := read(t, alerts), read(t, alertTest)
	onlyOfTable(t, alerts, rules)
	names := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(names) < 10 {
		t.Errorf("%d alerts were found in %s", len(names), alerts)
	}
	for _, n := range names {
		for _, what := range []string{" fires", " is silent"} {
			if !strings.Contains(tests, "name: "+n[1]+what+"\n") {
				t.Errorf("%s has no test %q", alertTest, n[1]+what)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// onlyOfTable checks that a text names no metric that is not in the table.
func onlyOfTable(t *testing.T, where, text string) {
	t.Helper()
	for _, name := range regexp.MustCompile(`\bshmem_\w+`).FindAllString(text, -1) {
		if !slices.ContainsFunc(metrics.Table(), func(m *metrics.Metric) bool {
			return m.Name == name
		}) {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

// A board is what the test needs of the JSON of a dashboard.
type board struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Definition string }
	}
	Panels []struct {
		ID          int
		Type, Title string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr, LegendFormat, RefID string }
	}
}

// TestDashboard: the dashboard is what Grafana can load, as far as can be seen without it: every
// expression parses, and uses only metrics, labels and variables that there are.
func TestDashboard(t *testing.T) {
	var b board
	d := json.NewDecoder(strings.NewReader(read(t, dashboard)))
	if err := d.Decode(&b); err != nil {
		t.Fatal(err)
	}
	if b.UID == "" || b.Title == "" || b.SchemaVersion == 0 || len(b.Panels) < 10 {
		t.Errorf("%+v is no dashboard", b)
	}
	known := map[string]string{"__rate_interval": "5m", "__range": "1h"}
	for _, v := range b.Templating.List {
		known[v.Name] = ".*"
		onlyOfTable(t, v.Name, v.Definition)
	}
	rules, ids, used := "groups:\n- name: dashboard\n  rules:\n", map[int]bool{}, ""
	for i, p := range b.Panels {
		g := p.GridPos
		if ids[p.ID] || g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s: id %d, at %+v", p.Title, p.ID, g)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			onlyOfTable(t, p.Title, target.Expr)
			legend(t, target.Expr, target.LegendFormat)
			expr := os.Expand(target.Expr, func(name string) string {
				if known[name] == "" {
					t.Errorf("%s: there is no variable %s", p.Title, name)
				}
				return known[name]
			})
			rules += fmt.Sprintf("  - {record: 'panel:%d:%s', expr: %s}\n", i, target.RefID,
				strconv.Quote(expr))
			used += target.Expr
		}
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", path)
}

// legend checks that the labels of a legend are labels of the metric.
func legend(t *testing.T, expr, format string) {
	t.Helper()
	for _, l := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(format, -1) {
		for _, m := range metrics.Table() {
			uses := regexp.MustCompile(`\b` + m.Name + `\b`).MatchString(expr)
			if uses && !slices.Contains(m.Labels, l[1]) {
				t.Errorf("%q: %s has no label %s", expr, m.Name, l[1])
			}
		}
	}
}

// A server is a running Prometheus.
type server struct {
	url    string
	output bytes.Buffer
	done   chan error
}

// TestScrape: Prometheus itself scrapes what WriteText writes, sees a process that is killed, and
// has the alert for it.
func TestScrape(t *testing.T) {
	stage := metricstage.Start(t)
	scanner := metrics.New(everything(stage.Dir))
	target := httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			var text bytes.Buffer
			if err := scanner.WriteText(&text); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", metrics.ContentType)
			_, _ = w.Write(text.Bytes())
		}))
	defer target.Close()
	s := prometheusFor(t, target.Listener.Addr().String())
	s.await(t, `shmem_lock_holders{segment="config",state="alive"}`, "1")
	s.await(t, `shmem_queue_depth_messages{segment="jobs"}`, "1")
	s.await(t, fmt.Sprintf(`count(count by (__name__) ({__name__=~"shmem_.*"})) == %d`,
		len(metrics.Table())), strconv.Itoa(len(metrics.Table())))
	stage.Child.Kill()
	s.await(t, `shmem_locks_dead{segment="config"}`, "1")
	s.await(t, `count(ALERTS{alertname="ShmemLockDead",segment="config"})`, "1")
}

// prometheusFor starts Prometheus, which scrapes an address, and ends it at the end of the test.
func prometheusFor(t *testing.T, target string) *server {
	t.Helper()
	rules, err := filepath.Abs(alerts)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global:
  scrape_interval: 500ms
  scrape_timeout: 500ms
  evaluation_interval: 500ms
rule_files: [%q]
scrape_configs:
- job_name: shmem
  static_configs: [{targets: [%q]}]
`, rules, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const tries = 3 // another program may take the port
	for try := 1; ; try++ {
		s := &server{done: make(chan error, 1)}
		addr := freeAddress(t)
		s.url = "http://" + addr
		c := exec.Command(program(t, "prometheus"), "--config.file="+config,
			"--storage.tsdb.path="+filepath.Join(dir, strconv.Itoa(try)),
			"--web.listen-address="+addr)
		c.Stdout, c.Stderr = &s.output, &s.output
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { s.done <- c.Wait() }()
		if s.ready() {
			t.Cleanup(func() {
				_ = c.Process.Kill()
				<-s.done
			})
			return s
		}
		_ = c.Process.Kill()
		if err := <-s.done; try == tries {
			t.Fatalf("prometheus: %v\n%s", err, &s.output)
		}
	}
}

// freeAddress returns an address that no program listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// limit is how long a test waits for Prometheus.
const limit = time.Minute

// ready waits until Prometheus answers. It reports false if it ends, or does not.
func (s *server) ready() bool {
	for start := time.Now(); time.Since(start) < limit; time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-s.done:
			s.done <- err
			return false
		default:
		}
		r, err := http.Get(s.url + "/-/ready")
		if err != nil {
			continue
		}
		r.Body.Close()
		if r.StatusCode == http.StatusOK {
			return true
		}
	}
	return false
}

// await waits until a query has one result, with that value.
func (s *server) await(t *testing.T, query, want string) {
	t.Helper()
	var last string
	for start := time.Now(); time.Since(start) < limit; time.Sleep(50 * time.Millisecond) {
		r, err := http.Get(s.url + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Data struct {
				Result []struct{ Value []any }
			}
		}
		err = json.NewDecoder(r.Body).Decode(&answer)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		last = fmt.Sprint(answer.Data.Result)
		if all := answer.Data.Result; len(all) == 1 && len(all[0].Value) == 2 &&
			all[0].Value[1] == want {
			return
		}
	}
	t.Errorf("%s is %s, want %s", query, last, want)
}
