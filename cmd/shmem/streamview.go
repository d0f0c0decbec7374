package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// A streamView is a queue or topic as cat and watch show it: its counters and the messages that are
// in it.
type streamView struct {
	t        *inspect.Type
	stats    *inspect.Stats
	messages []inspect.Message
}

// lastMessages is how many messages are shown unless --all asks for all of them.
const lastMessages = 10

// isStream reports whether a segment is a queue or topic.
func isStream(o *inspect.Observer) bool { return o.Type() != nil && o.Type().Stream() != "" }

// streamOf reads a queue or topic with its last n messages, all of them if n is 0.
func streamOf(o *inspect.Observer, n int) (v streamView, err error) {
	v.t = o.Type()
	if v.stats, err = o.Stats(); err == nil && v.stats == nil {
		err = noCounters(o)
	}
	if err == nil {
		v.messages, err = o.Messages(n)
	}
	return v, err
}

// noCounters is the error for a segment whose type has the name of a kind that has counters, and in
// which there are none.
func noCounters(o *inspect.Observer) error {
	return fmt.Errorf("%s: %w: its counters are damaged, or of another version", o.Info().Name,
		shmem.ErrCorrupt)
}

// head is the line of the type and the counters.
func (v streamView) head() string { return typeName(v.t) + "  " + statsText(v.stats) }

// lines are the messages, each on a line of at most width columns, after its number and, if it has
// a time stamp, its age.
func (v streamView) lines(s style, width int) (all []string) {
	long, wide := 0, 0
	ages := make([]string, len(v.messages)) // of messages with time stamps
	for i, m := range v.messages {
		long = max(long, len(fmt.Sprint(m.Seq)))
		if !m.Published.IsZero() {
			ages[i] = since(m.Published)
			wide = max(wide, 2+len(ages[i]))
		}
	}
	for i, m := range v.messages {
		room := max(width-long-wide-3, 20)
		text := cut(clean(messageText(m.Value, room)), room)
		all = append(all, s.cyan(lpad(fmt.Sprint(m.Seq), long))+lpad(ages[i], wide)+"  "+text)
	}
	return all
}

// messageText is the beginning of a message on one line: bytes as text, if that is what they are.
func messageText(v inspect.Value, limit int) string {
	if v.Kind() == inspect.Raw && len(v.Bytes()) == 0 {
		return `""`
	}
	return v.Short(limit)
}

// text is the whole view.
func (v streamView) text(e *env) string {
	var b strings.Builder
	fmt.Fprintln(&b, v.head())
	width := 1000 // also without a terminal a message is cut: a frame may have megabytes
	if e.tty {
		width = e.width
	}
	for _, l := range v.lines(e.style, width) {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}

type jsonMessage struct {
	Seq       count64 `json:"seq"`
	Published *moment `json:"published,omitempty"` // or sent; if messages have time stamps
	Value     any     `json:"value"`
}

type jsonStream struct {
	Item string `json:"item,omitempty"`
	*jsonStats
	Messages []jsonMessage `json:"messages"`
}

// MarshalJSON has the counters with the keys of stat, and the messages. A message of a queue.Bytes
// or topic.Bytes is a string if it is text, or else an object with its bytes: {"base64": "..."}.
func (v streamView) MarshalJSON() ([]byte, error) {
	j := jsonStream{jsonStats: jsonStatsOf(v.stats), Messages: []jsonMessage{}}
	if item := v.t.Item(); item != nil {
		j.Item = item.String()
	}
	for _, m := range v.messages {
		value := any(jsonValue{m.Value})
		if m.Value.Kind() == inspect.Raw {
			value = jsonOfBytes(m.Value.Bytes())
		}
		j.Messages = append(j.Messages, jsonMessage{count64(m.Seq), momentOf(m.Published), value})
	}
	return json.Marshal(j)
}

// jsonOfBytes is a message of any length in JSON.
func jsonOfBytes(b []byte) any {
	if utf8.Valid(b) {
		return string(b)
	}
	return map[string][]byte{"base64": b}
}

// A jsonValue is a value in the JSON of the command: see inspect.Value.WriteJSON.
type jsonValue struct{ inspect.Value }

// MarshalJSON never fails.
func (v jsonValue) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := v.WriteJSON(&b, "")
	return b.Bytes(), err
}
