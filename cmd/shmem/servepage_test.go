//go:build linux

package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// A browser is a headless Chromium with one page. It is told what to do over two pipes, by the
// DevTools protocol: a JSON object with a zero byte behind it for each call, answer and event.
type browser struct {
	t       *testing.T
	in      *os.File
	session string

	mu      sync.Mutex
	calls   int
	answers map[int]chan json.RawMessage
	bad     []string // what the page has complained about
}

// browse starts a browser. It is nil where there is none.
func browse(t *testing.T, program string) *browser {
	t.Helper()
	theirs, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirsToo, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(),
		"about:blank")
	cmd.ExtraFiles = []*os.File{theirs, theirsToo} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	theirsToo.Close()
	b := &browser{t: t, in: in, answers: map[int]chan json.RawMessage{}}
	done := make(chan struct{})
	go func() { b.read(bufio.NewReaderSize(out, 1<<20)); close(done) }()
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		<-done
		_ = cmd.Wait()
		in.Close()
		out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", node{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", node{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read takes what the browser says, until it ends.
func (b *browser) read(r *bufio.Reader) {
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, c := range b.answers {
				close(c)
			}
			b.answers = nil
			return
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  json.RawMessage
		}
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		switch {
		case m.ID != 0:
			if m.Error != nil {
				b.bad = append(b.bad, string(m.Error))
			}
			b.answers[m.ID] <- m.Result
			delete(b.answers, m.ID)
		case b.complains(m.Method, m.Params):
			b.bad = append(b.bad, m.Method+" "+string(m.Params))
		}
		b.mu.Unlock()
	}
}

// complains reports whether an event says that something is wrong with the page.
func (b *browser) complains(event string, params []byte) bool {
	switch event {
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded",
		"Network.loadingFailed":
		return true
	case "Network.responseReceived":
		var p struct{ Response struct{ Status int } }
		return json.Unmarshal(params, &p) != nil || p.Response.Status >= 400
	}
	return false
}

// call calls a method of the protocol.
func (b *browser) call(method string, params node, result any) {
	b.t.Helper()
	if params == nil {
		params = node{}
	}
	b.mu.Lock()
	b.calls++
	id, answer := b.calls, make(chan json.RawMessage, 1)
	if b.answers == nil {
		b.mu.Unlock()
		return // it has ended
	}
	b.answers[id] = answer
	b.mu.Unlock()
	m := node{"id": id, "method": method, "params": params}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		b.t.Errorf("%s: %v", method, err)
		return
	}
	if r := <-answer; result != nil {
		if err := json.Unmarshal(r, result); err != nil {
			b.t.Errorf("%s: %v in %s", method, err, r)
		}
	}
}

// eval returns the value of an expression in the page.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", node{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r.ExceptionDetails)
	}
	return r.Result.Value
}

// until waits until an expression is true.
func (b *browser) until(expression string) {
	b.t.Helper()
	if !eventually(func() bool { return b.eval(expression) == true }) {
		b.t.Fatalf("never: %s\n%v", expression, b.eval("document.body.innerText"))
	}
}

// press presses and releases a key.
func (b *browser) press(key, text string, code int) {
	b.t.Helper()
	p := node{"type": "keyDown", "key": key, "windowsVirtualKeyCode": code}
	if text != "" {
		p["text"] = text
	}
	b.call("Input.dispatchKeyEvent", p, nil)
	b.call("Input.dispatchKeyEvent", node{"type": "keyUp", "key": key,
		"windowsVirtualKeyCode": code}, nil)
}

func (b *browser) tab() { b.t.Helper(); b.press("Tab", "", 9) }

// size sets the size of the window.
func (b *browser) size(width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", node{"width": width, "height": height,
		"deviceScaleFactor": 1, "mobile": width < 500}, nil)
}

// media sets what the user prefers.
func (b *browser) media(scheme, motion string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", node{"features": []node{
		{"name": "prefers-color-scheme", "value": scheme},
		{"name": "prefers-reduced-motion", "value": motion},
	}}, nil)
}

// shot writes a picture of the page to a directory that $SHOTS names.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data string }
	b.call("Page.captureScreenshot", nil, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// contrasts computes the contrast of each colour of text with what is behind it.
const contrasts = `(() => {
	const css = getComputedStyle(document.documentElement), c = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
	const light = (name) => {
		c.fillStyle = css.getPropertyValue(name).trim();
		c.fillRect(0, 0, 1, 1);
		const [r, g, b] = [...c.getImageData(0, 0, 1, 1).data].map((v) =>
			(v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
	};
	return [['--ink', '--bg'], ['--ink', '--card'], ['--faint', '--bg'], ['--faint', '--card'],
		['--faint', '--note-soft'], ['--accent', '--card'], ['--accent', '--bg'], ['--bad', '--bad-soft'],
		['--bad', '--card'], ['--warn', '--warn-soft'], ['--good', '--good-soft'], ['--good', '--bg'],
		['--purple', '--card']].map(([a, b]) => {
			const [x, y] = [light(a), light(b)];
			return [a + ' on ' + b, Math.max(x, y) / Math.min(x, y)];
		});
})()`

// TestPage shows the page in a browser: it complains about nothing, shows hostile names as text,
// and is of use by keyboard, on a telephone, and in light and dark.
func TestPage(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	dir, _ := interruptible(t)
	box, err := shmem.Create[Config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	jobs, err := queue.Create[Job]("jobs", &queue.Options{Dir: dir, Capacity: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Close()
	for jobs.TrySend(Job{}) == nil {
	}
	const hostile = "<img src=x onerror=pwned=1>\x1b[31m\u202egnp"
	if err := os.WriteFile(filepath.Join(dir, hostile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := served(t, dir, &serveCmd{Listen: "127.0.0.1:0", Values: true})
	b := browse(t, chromium)
	b.size(1400, 900)
	b.call("Page.navigate", node{"url": url + "/"}, nil)

	b.until(`performance.getEntriesByName('first-contentful-paint').length > 0`)
	t.Logf("first picture after %.0f ms, %v bytes",
		b.eval(`performance.getEntriesByName('first-contentful-paint')[0].startTime`),
		b.eval(`performance.getEntriesByType('resource').concat(performance.getEntriesByType(
			'navigation')).filter((e) => !e.name.includes('/api/')).reduce((n, e) =>
			n + e.decodedBodySize, 0)`))
	const row = `[...document.querySelectorAll('#segments tbody tr')]`
	b.until(`document.body && document.body.dataset.turns >= 1`)
	b.until(row + `.length === 3`)
	if v := b.eval(row + `.some((r) => r.querySelector('th').innerText.startsWith('config') &&
		r.innerText.includes('main.Config') && r.innerText.includes('live'))`); v != true {
		t.Errorf("no row of config:\n%v", b.eval(`document.querySelector('#segments').innerText`))
	}
	text := fmt.Sprint(b.eval(row + `[0].innerText`))
	if !strings.HasPrefix(text, `<img src=x onerror=pwned=1>\u{1b}[31m\u{202e}gnp`) {
		t.Errorf("the hostile name is shown as %q", text)
	}
	if v := b.eval(`typeof pwned + document.querySelectorAll('img[src="x"]').length`); v != "undefined0" {
		t.Errorf("the hostile name has acted: %v", v)
	}
	if v := fmt.Sprint(b.eval(`document.querySelector('#findings').innerText`)); !strings.Contains(v, "4 of 4 messages wait") {
		t.Errorf("findings are %q", v)
	}
	b.looks()
	b.keyboard()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.bad {
		t.Errorf("the page complains: %.500s", complaint)
	}
}

// looks checks the page in all widths, in light and dark.
func (b *browser) looks() {
	t := b.t
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.media(scheme, "reduce")
		for _, pair := range b.eval(contrasts).([]any) {
			if p := pair.([]any); p[1].(float64) < 4.5 {
				t.Errorf("%s: %s has a contrast of %.2f", scheme, p[0], p[1])
			}
		}
		for _, width := range []int{400, 800, 1400} {
			b.size(width, 900)
			const over = `document.documentElement.scrollWidth > innerWidth`
			if b.eval(over) == true {
				t.Errorf("%s: a page of %d is too wide", scheme, width)
			}
			b.shot(fmt.Sprintf("overview-%d-%s", width, scheme))
		}
		if v := b.eval(`getComputedStyle(document.getElementById('dot')).animationName`); v != "none" {
			t.Errorf("it moves: %v", v)
		}
	}
	b.media("light", "no-preference")
}

// keyboard goes through the page by keys.
func (b *browser) keyboard() {
	t := b.t
	t.Helper()
	const focused = `document.activeElement`
	b.eval(focused + `.blur()`)
	b.tab()
	if v := b.eval(focused + `.className`); v != "skip" {
		t.Errorf("the first is %v", v)
	}
	seen := map[string]bool{}
	for range 40 {
		const seeable = focused + `.tagName === 'BODY' || getComputedStyle(` + focused +
			`).outlineStyle !== 'none'`
		if b.eval(seeable) != true {
			t.Errorf("focus cannot be seen on %v", b.eval(focused+`.outerHTML`))
		}
		seen[fmt.Sprint(b.eval(focused+`.innerText || `+focused+`.id`))] = true
		b.tab()
	}
	for _, want := range []string{"Pause", "Copy", "filter", "Per second", "config"} {
		if !seen[want] {
			t.Errorf("%q is not reached by Tab: %v", want, seen)
		}
	}
	if v := b.eval(`[...document.querySelectorAll('th')].filter((h) => !h.scope).length`); v != 0.0 {
		t.Errorf("%v heads without scope", v)
	}
	b.eval(`document.querySelector('th[data-key=memory] button').focus()`)
	b.press("Enter", "\r", 13)
	b.until(`document.querySelector('th[data-key=memory]').getAttribute('aria-sort') === 'descending'`)
	b.press("/", "/", 191)
	for _, c := range "conf" {
		b.press(string(c), string(c), int(c)-32)
	}
	b.until(`document.querySelectorAll('#segments tbody tr').length === 1`)
	b.tab()
	b.eval(`document.querySelector('#segments tbody a').focus()`)
	b.press("Enter", "\r", 13)
	b.until(`document.querySelector('#detail h1') && document.querySelector('#detail h1').innerText === 'config'`)
	b.until(`document.querySelector('#detail').innerText.includes('Routes')`)
	b.shot("segment")
	if v := fmt.Sprint(b.eval(`document.querySelector('#detail').innerText`)); !strings.Contains(v, "fallback") {
		t.Errorf("the value is not shown: %s", v)
	}
	b.eval(`history.back()`)
	b.until(`!document.getElementById('overview').hidden`)
}
