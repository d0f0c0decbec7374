package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// isPool reports whether a segment is a pool of buffers.
func isPool(o *inspect.Observer) bool { return kindOfSegment(o) == kindBlob }

// poolOf reads the counters of a pool.
func poolOf(o *inspect.Observer) (*inspect.PoolStats, error) {
	stats, err := o.PoolStats()
	if err == nil && stats == nil {
		err = noCounters(o)
	}
	return stats, err
}

// poolParts are the counters of a pool, each with its label.
func poolParts(s *inspect.PoolStats) (all [][2]string) {
	add := func(label, format string, args ...any) {
		all = append(all, [2]string{label, fmt.Sprintf(format, args...)})
	}
	for _, c := range s.Classes {
		add(size(int64(c.Size)), "%d of %d in use, taken %s", c.Used, c.Count, times(c.Taken))
	}
	for i, h := range s.Holders {
		if i == mostHolders {
			add("others", "%d hold some", len(s.Holders)-i)
			break
		}
		add("pid "+fmt.Sprint(h.PID), "%s%s, %s", plural(uint64(h.Buffers), "buffer"), deadText(h),
			size(int64(h.Bytes)))
	}
	add("in flight", "%d, handed over and not resolved; too late %d", s.InFlight, s.Late)
	add("dead", "%d, removed because their process died", s.Dead)
	add("expired", "%d, removed because they were not resolved in time", s.Expired)
	return all
}

func times(n uint64) string { return plural(n, "time") }

func deadText(h inspect.PoolHolder) string {
	if h.Alive {
		return ""
	}
	return " (dead)"
}

// pool shows a pool.
func (c *catCmd) pool(e *env, o *inspect.Observer) error {
	stats, err := poolOf(o)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.json(jsonPoolStatsOf(stats))
	}
	fmt.Fprint(e.out, cut(typeName(o.Type()), e.width)+"\n"+
		partLines(e.style, e.width, poolParts(stats)))
	return nil
}

// poolStats reads the counters of a pool, also of a newer one that has taken the name.
func (w *watched) poolStats() (*inspect.PoolStats, error) {
	w.follow()
	if !isPool(w.o) {
		return nil, fmt.Errorf("%s: %w: another segment has taken the name, which is no pool",
			w.cmd.Name, shmem.ErrMismatch)
	}
	return poolOf(w.o)
}

// poolLine prints the counters as JSON if they have changed.
func (w *watched) poolLine() error {
	stats, err := w.poolStats()
	if err != nil {
		return err
	}
	return w.line(json.Marshal(jsonPoolStatsOf(stats)))
}

// poolFrame shows the counters, and how many buffers are taken a second.
func (w *watched) poolFrame() (string, error) {
	stats, err := w.poolStats()
	if err != nil {
		return "", err
	}
	taken := uint64(0)
	for _, c := range stats.Classes {
		taken += c.Taken
	}
	return w.partFrame(taken, poolParts(stats))
}

// mostHolders is how many holders of buffers stat names.
const mostHolders = 5

// poolText is the counters of a pool of buffers on one line, and who holds them.
func poolText(s *inspect.PoolStats) string {
	var parts []string
	for _, c := range s.Classes {
		parts = append(parts, fmt.Sprintf("%d of %d of %s", c.Used, c.Count, size(int64(c.Size))))
	}
	text := strings.Join(parts, ", ") + " in use"
	if s.InFlight > 0 {
		text += fmt.Sprintf("; %d handed over and not resolved", s.InFlight)
	}
	if s.Late > 0 {
		text += fmt.Sprintf(" (%d too late)", s.Late)
	}
	for i, h := range s.Holders {
		if i == mostHolders {
			text += fmt.Sprintf("; %d others hold some", len(s.Holders)-i)
			break
		}
		text += fmt.Sprintf("; pid %d%s holds %d, %s", h.PID, deadText(h), h.Buffers,
			size(int64(h.Bytes)))
	}
	if s.Dead > 0 {
		text += fmt.Sprintf("; %d taken back from dead processes", s.Dead)
	}
	if s.Expired > 0 {
		text += fmt.Sprintf("; %d not resolved in time", s.Expired)
	}
	return text
}

type jsonPoolStats struct {
	Classes  []jsonPoolClass  `json:"classes"`
	Shares   int              `json:"shares"` // that a buffer can have
	Holders  []jsonPoolHolder `json:"holders"`
	InFlight int              `json:"inFlight"`
	Late     int              `json:"late"`
	Dead     count64          `json:"dead"`
	Expired  count64          `json:"expired"`
}

type jsonPoolClass struct {
	Size  num     `json:"size"`
	Count int     `json:"count"`
	Used  int     `json:"used"`
	Taken count64 `json:"taken"`
}

type jsonPoolHolder struct {
	jsonHolder
	Buffers int `json:"buffers"`
	Bytes   num `json:"bytes"`
}

func jsonPoolStatsOf(s *inspect.PoolStats) *jsonPoolStats {
	j := &jsonPoolStats{
		Classes: []jsonPoolClass{}, Shares: s.Shares, Holders: []jsonPoolHolder{},
		InFlight: s.InFlight, Late: s.Late, Dead: count64(s.Dead), Expired: count64(s.Expired),
	}
	for _, c := range s.Classes {
		j.Classes = append(j.Classes, jsonPoolClass{
			Size: num(c.Size), Count: c.Count, Used: c.Used, Taken: count64(c.Taken),
		})
	}
	for _, h := range s.Holders {
		j.Holders = append(j.Holders, jsonPoolHolder{
			jsonHolder: jsonHolder(h.Holder), Buffers: h.Buffers, Bytes: num(h.Bytes),
		})
	}
	return j
}
