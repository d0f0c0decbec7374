//go:build linux

package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/queue"
)

// served starts a server for a directory in this process, and returns its address.
func served(t *testing.T, dir string, c *serveCmd) string {
	t.Helper()
	s := newServer(&env{ctx: t.Context(), dir: dir, unlinked: inspect.Unlinked}, c)
	h := httptest.NewUnstartedServer(s.handler())
	conns := newLimited(h.Listener, maxConns)
	h.Listener, h.Config.ConnContext, h.Config.ConnState = conns, s.peer, conns.changed
	h.Start()
	t.Cleanup(func() { h.Close(); s.lookout.close() })
	return h.URL
}

// get asks, and returns the status and the body. Headers are pairs.
func get(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	return ask(t, http.MethodGet, url, headers...)
}

func ask(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(b)
}

// TestServeRefuses: requests under names that are not ours, those that another site has a browser
// make, and those that would change something.
func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	url := served(t, dir, &serveCmd{Listen: "127.0.0.1:0", Host: []string{"shm.example"}})
	const misdirected, forbidden = http.StatusMisdirectedRequest, http.StatusForbidden
	for _, c := range []struct {
		path    string
		code    int
		headers []string
	}{
		{"/", 200, nil},
		{"/api/state", 200, []string{"Host", "localhost:80"}},
		{"/api/state", 200, []string{"Host", "[::1]:80"}},
		{"/api/state", 200, []string{"Host", "127.8.9.1"}},
		{"/api/state", 200, []string{"Host", "SHM.example:1"}},
		{"/api/state", misdirected, []string{"Host", "evil.example"}},
		{"/api/state", misdirected, []string{"Host", "localhost.evil.example"}},
		{"/api/state", misdirected, []string{"Host", "10.1.2.3"}},
		{"/metrics", misdirected, []string{"Host", "evil.example:9110"}},
		{"/api/state", forbidden, []string{"Origin", "http://evil.example"}},
		{"/api/state", forbidden, []string{"Origin", "null"}},
		{"/api/state", forbidden, []string{"Origin", "http://127.0.0.1:1"}},
		{"/api/state", 200, []string{"Origin", url}},
		{"/api/state", forbidden, []string{"Sec-Fetch-Site", "cross-site"}},
		{"/api/state", forbidden, []string{"Sec-Fetch-Site", "same-site"}},
		{"/api/state", forbidden, []string{"Sec-Fetch-Site", "cross-site",
			"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
		{"/", 200, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate",
			"Sec-Fetch-Dest", "document"}},
		{"/", forbidden, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate",
			"Sec-Fetch-Dest", "iframe"}},
		{"/api/state", 200, []string{"Sec-Fetch-Site", "same-origin"}},
		{"/nothing", 404, nil},
		{"/page/../serve.go", 404, nil},
		{"/api/segment?id=../../etc/passwd", 404, nil},
	} {
		a, body := get(t, url+c.path, c.headers...)
		if a.StatusCode != c.code {
			t.Errorf("%s %v: %d %s", c.path, c.headers, a.StatusCode, body)
		}
		for name, want := range securityHeaders {
			if got := a.Header.Get(name); got != want && name != "Cache-Control" {
				t.Errorf("%s has %s: %q", c.path, name, got)
			}
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB"} {
		if a, _ := ask(t, method, url+"/api/state"); a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, a.StatusCode)
		}
	}
	if a, body := ask(t, http.MethodHead, url+"/"); a.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %d %q", a.StatusCode, body)
	}
}

// TestServeHosts: which names are ours follows from the address.
func TestServeHosts(t *testing.T) {
	for _, c := range []struct {
		listen, host string
		want         bool
	}{
		{"0.0.0.0:9110", "10.1.2.3:9110", true},
		{"[::]:9110", "[fd00::1]:9110", true},
		{":9110", "10.1.2.3", true},
		{"0.0.0.0:9110", "evil.example", false},
		{"0.0.0.0:9110", "", false},
		{"10.1.2.3:9110", "10.1.2.3:9110", true},
		{"10.1.2.3:9110", "10.1.2.4:9110", false},
		{"box.example:9110", "box.example", true},
		{"box.example:9110", "evil.example", false},
		{"unix:/run/x", "localhost", true},
		{"unix:/run/x", "evil.example", false},
	} {
		s := &server{cmd: &serveCmd{Listen: c.listen}}
		if got := s.isHost(c.host); got != c.want {
			t.Errorf("--listen %s, Host %s: %v", c.listen, c.host, got)
		}
	}
}

// TestServeStranger: a process of another user of this machine gets the metrics, and nothing else.
func TestServeStranger(t *testing.T) {
	url := served(t, t.TempDir(), &serveCmd{Listen: "127.0.0.1:0"})
	open := served(t, t.TempDir(), &serveCmd{Listen: "127.0.0.1:0", AnyUser: true})
	cases := map[string]string{url + " /": "200", url + " /metrics": "200"}
	uids := []uint32{uint32(os.Geteuid())}
	if os.Geteuid() == 0 { // only root can be another one
		uids = append(uids, 12345)
	}
	for _, uid := range uids {
		if uid == 12345 {
			cases = map[string]string{url + " /": "403", url + " /api/state": "403",
				url + " /metrics": "200", open + " /": "200"}
		}
		for c, want := range cases {
			host, path, _ := strings.Cut(strings.TrimPrefix(c, "http://"), " ")
			address, port, _ := net.SplitHostPort(host)
			cmd := exec.Command("bash", "-c", "exec 3<>/dev/tcp/"+address+"/"+port+
				` && printf "GET $0 HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3 && head -n 1 <&3`, path)
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid,
				Gid: uint32(os.Getegid()), NoSetGroups: true}}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), " "+want+" ") {
				t.Errorf("user %d, %s: %s %v, want %s", uid, c, out, err, want)
			}
		}
	}
}

// TestServeHostile: what hostile names and texts are sent as, which is valid by the schema; values
// are there only with --values.
func TestServeHostile(t *testing.T) {
	dir, _ := evilDir(t)
	lock, err := shmem.Create[Config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	schema := wholeSchema()
	check := func(form, body string) any {
		t.Helper()
		if !isPlain(body, "") || strings.ContainsAny(body, "<>&") {
			t.Errorf("%s has characters that act: %.300q", form, body)
		}
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatalf("%s: %v in %.300s", form, err, body)
		}
		if err := valid(schema, schema["properties"].(node)[form].(node), v, form); err != nil {
			t.Error(err)
		}
		return v
	}
	for _, values := range []bool{false, true} {
		url := served(t, dir, &serveCmd{Listen: "127.0.0.1:0", Values: values})
		a, body := get(t, url+"/api/state")
		if a.Header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("state is %s", a.Header.Get("Content-Type"))
		}
		state := check("serve", body).(node)
		found, texts := 0, 0
		for _, s := range state["segments"].([]any) {
			id := s.(node)["id"].(string)
			if _, body = get(t, url+"/api/segment?id="+id); body == "" {
				t.Fatalf("no segment %s", id)
			}
			one := check("serve segment", body).(node)
			if _, shown := one["shown"]; shown != values {
				t.Errorf("%v: values shown: %v, want %v", one["name"], shown, values)
			}
			found++
			if strings.Contains(body, "FORGED") && one["state"] != "foreign" &&
				!strings.Contains(one["name"].(string), "FORGED") {
				texts++
			}
		}
		if (texts > 0) != values {
			t.Errorf("with values: %v, text of values in %d segments", values, texts)
		}
		if found < 12 {
			t.Errorf("%d segments", found)
		}
		_, text := get(t, url+"/metrics")
		if !isPlain(text, "\n") {
			t.Errorf("metrics have characters that act: %q", text)
		}
	}
}

// TestServeChanges: a client that has seen a look gets what differs from it, and all if a segment
// is gone.
func TestServeChanges(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"still", "jobs"} {
		q, err := queue.Create[Job](name, &queue.Options{Dir: dir, Capacity: 4, Disk: true})
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		if name == "jobs" {
			defer func() { _ = q.Send(context.Background(), Job{}) }()
		}
	}
	l := newLookout(&env{ctx: t.Context(), dir: dir, unlinked: inspect.Unlinked})
	defer l.close()
	look := func(since string) (s jsonState) {
		t.Helper()
		l.at = l.at.Add(-latest)
		b, err := l.state(since, false)
		if err != nil {
			t.Fatal(err)
		}
		var all struct {
			Cursor   string
			Whole    bool
			Segments []struct{ Name, Depth any }
		}
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		s.Cursor, s.Whole = all.Cursor, all.Whole
		s.Segments = make([]jsonServeRow, len(all.Segments))
		return s
	}
	first := look("")
	if !first.Whole || len(first.Segments) != 2 {
		t.Fatalf("the first look has %d segments, whole: %v", len(first.Segments), first.Whole)
	}
	look(first.Cursor) // the rates are known from now on
	second := look(first.Cursor)
	third := look(second.Cursor)
	if third.Whole || len(third.Segments) != 0 {
		t.Errorf("nothing has changed, and there are %d segments, whole: %v", len(third.Segments),
			third.Whole)
	}
	q, err := queue.Open[Job]("jobs", &queue.Options{Dir: dir, Disk: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Send(t.Context(), Job{}); err != nil {
		t.Fatal(err)
	}
	q.Close()
	if fourth := look(third.Cursor); fourth.Whole || len(fourth.Segments) != 1 {
		t.Errorf("one has changed, and there are %d, whole: %v", len(fourth.Segments), fourth.Whole)
	}
	if err := shmem.Remove(dir, "still"); err != nil {
		t.Fatal(err)
	}
	if fifth := look(third.Cursor); !fifth.Whole || len(fifth.Segments) != 1 {
		t.Errorf("one is gone, and there are %d, whole: %v", len(fifth.Segments), fifth.Whole)
	}
	for _, cursor := range []string{"x", "other.3", l.name + ".99", l.name + ".-1"} {
		if !look(cursor).Whole {
			t.Errorf("cursor %q gets a part", cursor)
		}
	}
}

// TestServeEnds: the command says where it serves, and ends politely.
func TestServeEnds(t *testing.T) {
	dir, bin := interruptible(t)
	socket := filepath.Join(t.TempDir(), "socket")
	for _, c := range []struct {
		listen string
		sig    syscall.Signal
	}{{"127.0.0.1:0", syscall.SIGTERM}, {"unix:" + socket, syscall.SIGINT}} {
		cmd := exec.Command(bin, "--dir", dir, "serve", "--listen", c.listen)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 200)
		n, _ := out.Read(line)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		url := regexp.MustCompile(`http://\S+`).FindString(string(line[:n]))
		if url == "" {
			url = "http://localhost/"
			client.Transport = &http.Transport{DisableKeepAlives: true,
				DialContext: func(context.Context, string, string) (net.Conn, error) {
					return net.Dial("unix", socket)
				}}
			if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("the socket is %v, %v", st, err)
			}
		}
		a, err := client.Get(url + "api/state")
		if err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", line[:n], a, err)
		}
		a.Body.Close()
		_ = cmd.Process.Signal(c.sig)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", c.listen, err)
		}
	}
}
