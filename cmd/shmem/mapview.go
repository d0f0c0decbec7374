package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// A mapView is a kv.Map as cat and watch show it: its counters and entries.
type mapView struct {
	key, value *inspect.Type
	stats      *inspect.MapStats
	entries    []inspect.MapEntry
}

// someEntries is how many entries are shown unless --all asks for all of them.
const someEntries = 20

// isMap reports whether a segment is a kv.Map.
func isMap(o *inspect.Observer) bool {
	if o.Type() == nil {
		return false
	}
	key, _ := o.Type().MapTypes()
	return key != nil
}

// mapOf reads a map with n of its entries, all of them if n is 0.
func mapOf(o *inspect.Observer, n int) (v mapView, err error) {
	v.key, v.value = o.Type().MapTypes()
	if v.stats, err = o.MapStats(); err == nil && v.stats == nil {
		err = noCounters(o)
	}
	if err != nil {
		return v, err
	}
	for e, err := range o.Entries() {
		if err != nil {
			return v, err
		}
		if v.entries = append(v.entries, e); len(v.entries) == n {
			break
		}
	}
	return v, nil
}

// entryOf returns the value of the entry of a map whose key is written so.
func (e *env) entryOf(o *inspect.Observer, name, key string) (inspect.Value, error) {
	for entry, err := range o.Entries() {
		if err != nil {
			return inspect.Value{}, err
		}
		if keyText(entry.Key) == key {
			return entry.Value, nil
		}
	}
	return inspect.Value{}, fmt.Errorf("%s: %w: there is no entry with the key %s", name,
		errRefused, key)
}

// keyText is a key on one line, as an argument has it.
func keyText(v inspect.Value) string {
	if isBare(v) {
		return bare(v)
	}
	return clean(v.String())
}

// mapText is the counters of a map on one line.
func mapText(s *inspect.MapStats) string {
	text := fmt.Sprintf("%d of %d entries, %s", s.Len, s.Capacity, plural(s.Changes, "change"))
	if s.Evicting {
		text += fmt.Sprintf(", %d evicted", s.Evicted)
	}
	if s.Expired > 0 {
		text += fmt.Sprintf(", %d expired", s.Expired)
	}
	if s.Repaired > 0 {
		text += fmt.Sprintf(", %d repaired (their process died)", s.Repaired)
	}
	return text
}

// mapParts are the counters of a map, each with its label.
func mapParts(s *inspect.MapStats) (all [][2]string) {
	add := func(label, format string, args ...any) {
		all = append(all, [2]string{label, fmt.Sprintf(format, args...)})
	}
	add("entries", "%d of %d", s.Len, s.Capacity)
	add("changes", "%d", s.Changes)
	add("evicted", "%d", s.Evicted)
	add("expired", "%d, whose room was needed", s.Expired)
	add("repaired", "%d, left by processes that died", s.Repaired)
	return all
}

// mapName is the type of a map.
func mapName(key, value *inspect.Type) string {
	return "kv.Map[" + cut(key.String(), 30) + ", " + cut(value.String(), 60) + "]"
}

// lines are the entries, each on a line of at most width columns.
func (v mapView) lines(s style, width int) (all []string) {
	const longKey = 40
	long := 0
	keys := make([]string, len(v.entries))
	for i, e := range v.entries {
		keys[i] = cut(keyText(e.Key), longKey)
		long = max(long, len(keys[i]))
	}
	for i, e := range v.entries {
		note := ""
		if !e.Expires.IsZero() {
			note = "  expires in " + time.Until(e.Expires).Round(time.Second).String()
		}
		room := max(width-long-len(note)-3, 20)
		all = append(all, s.cyan(pad(keys[i], long))+"  "+cut(clean(e.Value.Short(room)), room)+
			s.faint(note))
	}
	if more := v.stats.Len - len(v.entries); more > 0 && len(v.entries) > 0 {
		all = append(all, s.faint(fmt.Sprintf("%d more", more)))
	}
	return all
}

// text is the whole view.
func (v mapView) text(e *env) string {
	var b strings.Builder
	fmt.Fprintln(&b, mapName(v.key, v.value)+"  "+mapText(v.stats))
	width := 1000 // also without a terminal an entry is cut
	if e.tty {
		width = e.width
	}
	for _, l := range v.lines(e.style, width) {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}

type jsonMapStats struct {
	Key      string  `json:"key"`
	Value    string  `json:"value"`
	Capacity int     `json:"capacity"`
	Len      int     `json:"len"`
	Evicting bool    `json:"evicting"`
	Evicted  count64 `json:"evicted"`
	Expired  count64 `json:"expired"`
	Repaired count64 `json:"repaired"`
	Changes  count64 `json:"changes"`
}

func jsonMapStatsOf(t *inspect.Type, s *inspect.MapStats) *jsonMapStats {
	key, value := t.MapTypes()
	return &jsonMapStats{
		Key: key.String(), Value: value.String(), Capacity: s.Capacity, Len: s.Len,
		Evicting: s.Evicting, Evicted: count64(s.Evicted), Expired: count64(s.Expired),
		Repaired: count64(s.Repaired), Changes: count64(s.Changes),
	}
}

type jsonEntry struct {
	Key     jsonValue `json:"key"`
	Value   jsonValue `json:"value"`
	Expires *moment   `json:"expires,omitempty"`
}

type jsonMap struct {
	jsonMapStats
	Entries []jsonEntry `json:"entries"`
}

// jsonOf has the counters with the keys of stat, and the entries.
func (v mapView) json(t *inspect.Type) jsonMap {
	j := jsonMap{jsonMapStats: *jsonMapStatsOf(t, v.stats), Entries: []jsonEntry{}}
	for _, e := range v.entries {
		entry := jsonEntry{Key: jsonValue{e.Key}, Value: jsonValue{e.Value}}
		if !e.Expires.IsZero() {
			m := moment(e.Expires)
			entry.Expires = &m
		}
		j.Entries = append(j.Entries, entry)
	}
	return j
}

// mapped shows a map, or the entry of a key.
func (c *catCmd) mapped(e *env, o *inspect.Observer) error {
	if c.Path != "" {
		v, err := e.entryOf(o, c.Name, c.Path)
		if err != nil {
			return err
		}
		return c.show(e, v)
	}
	n := someEntries
	if c.All {
		n = 0
	}
	v, err := mapOf(o, n)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.json(v.json(o.Type()))
	}
	_, err = fmt.Fprint(e.out, v.text(e))
	return err
}

// mapLine prints the map, or the entry of a key, as JSON if it has changed.
func (w *watched) mapLine() error {
	if err := w.followMap(); err != nil {
		return err
	}
	if w.cmd.Path != "" {
		v, err := w.entryOf(w.o, w.cmd.Name, w.cmd.Path)
		if err != nil {
			return err
		}
		return w.line(json.Marshal(jsonValue{v}))
	}
	v, err := mapOf(w.o, someEntries)
	if err != nil {
		return err
	}
	return w.line(json.Marshal(v.json(w.o.Type())))
}

func (w *watched) followMap() error {
	w.follow()
	if !isMap(w.o) {
		return fmt.Errorf("%s: %w: another segment has taken the name, which is no map", w.cmd.Name,
			shmem.ErrMismatch)
	}
	return nil
}

// mapFrame shows the counters and as many entries as fit, or the entry of a key.
func (w *watched) mapFrame() (string, error) {
	if err := w.followMap(); err != nil {
		return "", err
	}
	v, err := mapOf(w.o, max(someEntries, w.height-fixedLines-2))
	if err != nil {
		return "", err
	}
	st, err := w.o.Status()
	if err != nil {
		return "", err
	}
	rate, now := "", time.Now()
	if !w.at.IsZero() {
		rate = perSecond(float64(v.stats.Changes-w.sent)/now.Sub(w.at).Seconds()) + "/s"
	}
	w.sent, w.at = v.stats.Changes, now
	var b strings.Builder
	b.WriteString(w.head(st, mapName(v.key, v.value), rate, now))
	fmt.Fprintf(&b, "%s\n\n", w.style.faint(cut(fmt.Sprintf("%d attached, %s", len(st.Peers),
		mapText(v.stats)), w.width)))
	if w.cmd.Path != "" {
		entry, err := w.entryOf(w.o, w.cmd.Name, w.cmd.Path)
		if err != nil {
			fmt.Fprintln(&b, w.style.faint("there is no entry with the key "+clean(w.cmd.Path)))
			return b.String(), nil
		}
		valueLines{style: w.style, width: w.width}.print(&b, entry)
		return b.String(), nil
	}
	for _, l := range v.lines(w.style, w.width) {
		fmt.Fprintln(&b, l)
	}
	return b.String(), nil
}
