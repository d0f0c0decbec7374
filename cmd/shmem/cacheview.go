package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/layout"
)

// isCache reports whether a segment is a kv.Cache.
func isCache(o *inspect.Observer) bool {
	return o.Type() != nil && o.Type().Name() == layout.CacheName
}

// A cacheView is a kv.Cache as cat and watch show it: its counters and entries.
type cacheView struct {
	stats   *inspect.CacheStats
	entries []cachedEntry
}

type cachedEntry struct{ inspect.CacheEntry }

// short is the value on one line of at most width columns.
func (e cachedEntry) short(width int) string {
	return cut(cachedText(e.Value[:min(len(e.Value), width)]), width)
}

// note has the length of the value, and when it expires.
func (e cachedEntry) note() string {
	note := size(int64(len(e.Value)))
	if !e.Expires.IsZero() {
		note += ", expires in " + time.Until(e.Expires).Round(time.Second).String()
	}
	return note
}

// cacheOf reads a cache with n of its entries, all of them if n is 0.
func cacheOf(o *inspect.Observer, n int) (v cacheView, err error) {
	if v.stats, err = o.CacheStats(); err == nil && v.stats == nil {
		err = noCounters(o)
	}
	if err != nil {
		return v, err
	}
	for e, err := range o.CacheEntries() {
		if err != nil {
			return v, err
		}
		if v.entries = append(v.entries, cachedEntry{e}); len(v.entries) == n {
			break
		}
	}
	return v, nil
}

// cachedUnder returns the entry of a cache whose key is written so: as it is, or as it is shown.
func cachedUnder(o *inspect.Observer, name, key string) (cachedEntry, error) {
	for e, err := range o.CacheEntries() {
		if err != nil {
			return cachedEntry{}, err
		}
		if string(e.Key) == key || cachedText(e.Key) == key {
			return cachedEntry{e}, nil
		}
	}
	return cachedEntry{}, fmt.Errorf("%s: %w: there is no entry with the key %s", name,
		errRefused, key)
}

// cachedText is a key or value on one line, without what a terminal would act on.
func cachedText(b []byte) string {
	quoted := strconv.QuoteToASCII(string(b))
	if bare := quoted[1 : len(quoted)-1]; bare == string(b) {
		return bare
	}
	return quoted
}

// cacheText is the counters of a cache on one line.
func cacheText(s *inspect.CacheStats) string {
	text := fmt.Sprintf("%d with %s, of %s; %s, %s, %s, %d evicted", s.Entries,
		size(int64(s.Bytes)), size(int64(s.Size)), plural(s.Hits, "hit"), misses(s.Misses),
		plural(s.Changes, "change"), s.Evicted)
	if s.Expired > 0 {
		text += fmt.Sprintf(", %d expired", s.Expired)
	}
	if s.Repaired > 0 {
		text += fmt.Sprintf(", %d repaired (their process died)", s.Repaired)
	}
	return text
}

// cacheParts are the counters of a cache, each with its label.
func cacheParts(s *inspect.CacheStats) (all [][2]string) {
	add := func(label, format string, args ...any) {
		all = append(all, [2]string{label, fmt.Sprintf(format, args...)})
	}
	add("entries", "%d", s.Entries)
	add("bytes", "%s of %s", size(int64(s.Bytes)), size(int64(s.Size)))
	hits := "-"
	if reads := s.Hits + s.Misses; reads > 0 {
		hits = fmt.Sprintf("%.1f%%", 100*float64(s.Hits)/float64(reads))
	}
	add("hits", "%d, of all reads %s", s.Hits, hits)
	add("misses", "%d", s.Misses)
	add("changes", "%d", s.Changes)
	add("evicted", "%d", s.Evicted)
	add("expired", "%d, whose room was needed", s.Expired)
	add("repaired", "%d, left by processes that died", s.Repaired)
	return all
}

func misses(n uint64) string {
	if n == 1 {
		return "1 miss"
	}
	return fmt.Sprintf("%d misses", n)
}

// lines are the entries, each on a line of at most width columns.
func (v cacheView) lines(s style, width int) (all []string) {
	const longKey = 40
	long := 0
	keys := make([]string, len(v.entries))
	for i, e := range v.entries {
		keys[i] = cut(cachedText(e.Key), longKey)
		long = max(long, len(keys[i]))
	}
	for i, e := range v.entries {
		note := "  " + e.note()
		room := max(width-long-len(note)-3, 20)
		all = append(all, s.cyan(pad(keys[i], long))+"  "+e.short(room)+s.faint(note))
	}
	if more := v.stats.Entries - len(v.entries); more > 0 && len(v.entries) > 0 {
		all = append(all, s.faint(fmt.Sprintf("%d more", more)))
	}
	return all
}

// text is the whole view.
func (v cacheView) text(e *env) string {
	var b strings.Builder
	fmt.Fprintln(&b, layout.CacheName+"  "+cacheText(v.stats))
	width := 100
	if e.tty {
		width = e.width
	}
	for _, l := range v.lines(e.style, width) {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}

type jsonCacheStats struct {
	Size     int     `json:"size"`
	Entries  int     `json:"len"`
	Bytes    int     `json:"bytes"`
	Hits     count64 `json:"hits"`
	Misses   count64 `json:"misses"`
	Changes  count64 `json:"changes"`
	Evicted  count64 `json:"evicted"`
	Expired  count64 `json:"expired"`
	Repaired count64 `json:"repaired"`
}

func jsonCacheStatsOf(s *inspect.CacheStats) *jsonCacheStats {
	return &jsonCacheStats{
		Size: s.Size, Entries: s.Entries, Bytes: s.Bytes,
		Hits: count64(s.Hits), Misses: count64(s.Misses), Changes: count64(s.Changes),
		Evicted: count64(s.Evicted), Expired: count64(s.Expired), Repaired: count64(s.Repaired),
	}
}

// A jsonCached has texts as they are, and other bytes in base64.
type jsonCached struct {
	Key         string  `json:"key,omitempty"`
	Value       string  `json:"value,omitempty"`
	KeyBase64   []byte  `json:"keyBase64,omitempty"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
	Expires     *moment `json:"expires,omitempty"`
}

func jsonCachedOf(e cachedEntry) (j jsonCached) {
	if utf8.Valid(e.Key) {
		j.Key = string(e.Key)
	} else {
		j.KeyBase64 = e.Key
	}
	if utf8.Valid(e.Value) {
		j.Value = string(e.Value)
	} else {
		j.ValueBase64 = e.Value
	}
	if !e.Expires.IsZero() {
		m := moment(e.Expires)
		j.Expires = &m
	}
	return j
}

type jsonCache struct {
	jsonCacheStats
	Entries []jsonCached `json:"entries"`
}

func (v cacheView) json() jsonCache {
	j := jsonCache{jsonCacheStats: *jsonCacheStatsOf(v.stats), Entries: []jsonCached{}}
	for _, e := range v.entries {
		j.Entries = append(j.Entries, jsonCachedOf(e))
	}
	return j
}

// cached shows a cache, or the entry of a key.
func (c *catCmd) cached(e *env, o *inspect.Observer) error {
	if c.Path != "" {
		entry, err := cachedUnder(o, c.Name, c.Path)
		switch {
		case err != nil:
			return err
		case c.JSON:
			return e.json(jsonCachedOf(entry))
		case c.Raw:
			_, err = e.raw.Write(entry.Value)
			return err
		case c.Hex:
			for l := range inspect.Hex(entry.Value, 0) {
				fmt.Fprintln(e.out, l)
			}
			return nil
		}
		_, err = fmt.Fprintln(e.out, cachedText(entry.Value))
		return err
	}
	n := someEntries
	if c.All {
		n = 0
	}
	v, err := cacheOf(o, n)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.json(v.json())
	}
	_, err = io.WriteString(e.out, v.text(e))
	return err
}

func (w *watched) followCache() error {
	w.follow()
	if !isCache(w.o) {
		return fmt.Errorf("%s: %w: another segment has taken the name, which is no cache",
			w.cmd.Name, shmem.ErrMismatch)
	}
	return nil
}

// cacheLine prints the cache, or the entry of a key, as JSON if it has changed.
func (w *watched) cacheLine() error {
	if err := w.followCache(); err != nil {
		return err
	}
	var shown any
	if w.cmd.Path != "" {
		e, err := cachedUnder(w.o, w.cmd.Name, w.cmd.Path)
		if err != nil {
			return err
		}
		shown = jsonCachedOf(e)
	} else {
		v, err := cacheOf(w.o, someEntries)
		if err != nil {
			return err
		}
		shown = v.json()
	}
	return w.line(json.Marshal(shown))
}

// cacheFrame shows the counters and as many entries as fit, or the entry of a key.
func (w *watched) cacheFrame() (string, error) {
	if err := w.followCache(); err != nil {
		return "", err
	}
	v, err := cacheOf(w.o, max(someEntries, w.height-fixedLines-2))
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
	b.WriteString(w.head(st, layout.CacheName, rate, now))
	fmt.Fprintf(&b, "%s\n\n", w.style.faint(cut(fmt.Sprintf("%d attached, %s", len(st.Peers),
		cacheText(v.stats)), w.width)))
	if w.cmd.Path != "" {
		e, err := cachedUnder(w.o, w.cmd.Name, w.cmd.Path)
		if err != nil {
			fmt.Fprintln(&b, w.style.faint("there is no entry with the key "+clean(w.cmd.Path)))
			return b.String(), nil
		}
		v = cacheView{stats: v.stats, entries: []cachedEntry{e}}
		v.stats.Entries = 1
	}
	for _, l := range v.lines(w.style, w.width) {
		fmt.Fprintln(&b, l)
	}
	return b.String(), nil
}
