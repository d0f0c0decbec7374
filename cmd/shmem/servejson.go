package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// The JSON of serve, made of that of check, top, stat and ps. Scripts depend on the keys: they may
// be added to, but neither renamed nor removed.

// A jsonState is a look at all segments.
type jsonState struct {
	jsonStateHead
	// All segments if Whole is set, and otherwise those that differ from the look of the client.
	Segments []jsonServeRow `json:"segments"`
}

type jsonStateHead struct {
	Time     moment     `json:"time"`
	Cursor   string     `json:"cursor"` // names the look, for ?since=
	Whole    bool       `json:"whole"`
	EveryMS  num        `json:"everyMs"` // the next look is not before that
	Host     string     `json:"host"`
	Dir      string     `json:"dir"`
	Version  string     `json:"version"`
	Values   bool       `json:"values"` // values are shown
	Totals   jsonTotals `json:"totals"`
	Findings []jsonFind `json:"findings"`
	// Of the latest looks, if Whole is set: all segments together, and the rates of those that have
	// had traffic, by their ids.
	History []jsonSample         `json:"history,omitempty"`
	Rates   map[string][]float64 `json:"rates,omitempty"`
}

// jsonTotals are sums over all segments.
type jsonTotals struct {
	Segments  int     `json:"segments"`
	Memory    num     `json:"memory"`
	Room      num     `json:"room"` // bytes that the file system can have; 0: not known
	Used      num     `json:"used"` // of these
	PerSecond float64 `json:"perSecond"`
	Depth     count64 `json:"depth"`
	Lost      count64 `json:"lost"`
	Waiting   int     `json:"waiting"`
	Processes int     `json:"processes"`
}

// A jsonFind is a finding of check, and the segment that it is about.
type jsonFind struct {
	trouble
	ID string `json:"id,omitempty"`
}

// A jsonServeRow is a segment in the table of the page.
type jsonServeRow struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // see kindsByType; or foreign, directory
	jsonTopRow
	Lag       count64  `json:"lag"`       // of the slowest subscriber that holds publishers back
	OwnerText string   `json:"ownerText"` // process or program
	Held      string   `json:"held"`      // which process others wait for; "" if there is none
	Waits     []string `json:"waits"`     // what is waited for, and by which process
}

// A jsonServed is all about one segment.
type jsonServed struct {
	jsonStat
	ID          string       `json:"id"`
	Kind        string       `json:"kind"`
	Lines       []jsonText   `json:"lines"`    // the report of stat
	Counters    []jsonText   `json:"counters"` // of a map, cache, service or pool
	Findings    []jsonFind   `json:"findings"`
	Attachments []psProcess  `json:"attachments"`
	History     []jsonSample `json:"history"`
	Shown       *jsonShown   `json:"shown,omitempty"` // with --values
}

// A jsonText is a line of text with its label.
type jsonText struct {
	Label string `json:"label"`
	Text  string `json:"text"`
	Tone  string `json:"tone"` // plain, notable, alarm
}

// A jsonSample is what was seen of a segment at a moment.
type jsonSample struct {
	TimeMS    num     `json:"timeMs"` // since 1970
	PerSecond float64 `json:"perSecond"`
	Depth     count64 `json:"depth"`
	Memory    num     `json:"memory"`
	Waiting   int     `json:"waiting"` // of all segments together
}

// A jsonShown is a value, or the last messages or some entries, as lines of text.
type jsonShown struct {
	Title string          `json:"title"`
	Note  string          `json:"note,omitempty"`
	Lines []jsonValueLine `json:"lines"`
}

type jsonValueLine struct {
	Depth int    `json:"depth"`
	Label string `json:"label"`
	Text  string `json:"text"`
	Note  string `json:"note,omitempty"`
}

type jsonServeError struct {
	Error string `json:"error"`
}

// encodeJSON is a value as compact JSON that is safe to print.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(true)
	if err := enc.Encode(v); err != nil {
		b.Reset()
		fmt.Fprintf(&b, `{"error":%q}`, err.Error())
	}
	return safeJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// rowID identifies a segment in links. It is made of its path, which may have any bytes.
func rowID(r row) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.Path))
	return fmt.Sprintf("%016x", h.Sum64())
}

// serveRow is the row of a segment. t is nil for what is not tracked.
func serveRow(r row, t *tracked) jsonServeRow {
	j := jsonServeRow{ID: rowID(r), Kind: kindOf(r), jsonTopRow: jsonTopRowOf(r, t),
		Waits: []string{}}
	_, j.OwnerText, _ = r.describe()
	if t == nil || t.st == nil {
		return j
	}
	if s := t.st.Stats; s != nil {
		j.Lag = count64(s.Lag)
	}
	if j.Held = t.heldText(); j.Held == "-" {
		j.Held = ""
	}
	for _, s := range t.st.Slots {
		for _, w := range s.Waits {
			who := fmt.Sprintf("pid %d", s.PID)
			if p := r.ps.of(s.PID, s.PIDNamespace); p != nil {
				who = p.text()
			}
			j.Waits = append(j.Waits, who+" for "+w)
		}
	}
	return j
}

// jsonLines are lines of stat.
func jsonLines(lines []statLine) (all []jsonText) {
	tones := map[tone]string{plain: "plain", notable: "notable", alarm: "alarm"}
	for _, l := range lines {
		all = append(all, jsonText{l.label, l.text, tones[l.tone]})
	}
	return all
}

// jsonParts are counters, each with its label.
func jsonParts(parts [][2]string) []jsonText {
	all := []jsonText{}
	for _, p := range parts {
		all = append(all, jsonText{p[0], p[1], "plain"})
	}
	return all
}

// shownLines bounds how many lines of a value, messages or entries a page shows.
const shownLines = 400

// shownOf reads what a segment holds: the value, the last messages, or some entries.
func shownOf(o *inspect.Observer) *jsonShown {
	const width = 100
	j := &jsonShown{Title: "Value", Lines: []jsonValueLine{}}
	fail := func(err error) *jsonShown {
		j.Note = clean(err.Error())
		return j
	}
	switch {
	case o.Type() == nil:
		return j.bytes(o)
	case isCache(o):
		j.Title = "Entries"
		v, err := cacheOf(o, someEntries)
		if err != nil {
			return fail(err)
		}
		for _, e := range v.entries {
			j.Lines = append(j.Lines, jsonValueLine{
				Label: cachedText(e.Key), Text: e.short(width), Note: e.note(),
			})
		}
	case isMap(o):
		j.Title = "Entries"
		v, err := mapOf(o, someEntries)
		if err != nil {
			return fail(err)
		}
		for _, e := range v.entries {
			l := jsonValueLine{Label: keyText(e.Key), Text: e.Value.Short(width)}
			if !e.Expires.IsZero() {
				l.Note = "expires in " + time.Until(e.Expires).Round(time.Second).String()
			}
			j.Lines = append(j.Lines, l)
		}
		if more := v.stats.Len - len(v.entries); more > 0 {
			j.Note = fmt.Sprintf("%d more", more)
		}
	case isService(o), isPool(o):
		return nil // all that there is to be seen are the counters
	case isStream(o):
		j.Title = "Last messages"
		v, err := streamOf(o, lastMessages)
		if err != nil {
			return fail(err)
		}
		for _, m := range v.messages {
			j.Lines = append(j.Lines, jsonValueLine{Label: fmt.Sprint(m.Seq),
				Text: messageText(m.Value, width)})
		}
	default:
		j.value(o, width)
	}
	return j
}

// value adds the lines of a value.
func (j *jsonShown) value(o *inspect.Observer, width int) {
	snap, err := o.SnapshotAt("")
	if err != nil {
		j.Note = clean(err.Error())
		return
	}
	if snap.Torn && snap.Changing {
		j.Note = "a process is changing it, or died changing it: old and new may be mixed"
	}
	for l := range snap.Value().Lines(width, arrayLines) {
		if len(j.Lines) == shownLines {
			j.Note = cmp.Or(j.Note, "only the beginning is shown")
			break
		}
		j.Lines = append(j.Lines, jsonValueLine{l.Depth, l.Label, l.Text, l.Note})
	}
}

// bytes shows the beginning of what has no type, in hex.
func (j *jsonShown) bytes(o *inspect.Observer) *jsonShown {
	const most = 512
	b := make([]byte, most)
	n, _ := o.ReadAt(b, 0)
	j.Title = fmt.Sprintf("The first %s", plural(uint64(n), "byte"))
	for l := range inspect.Hex(b[:n], 0) {
		j.Lines = append(j.Lines, jsonValueLine{Text: l})
	}
	return j
}
