package main

import (
	"fmt"
	"strings"

	"github.com/shmembox/shmem/inspect"
)

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
		dead := ""
		if !h.Alive {
			dead = " (dead)"
		}
		text += fmt.Sprintf("; pid %d%s holds %d, %s", h.PID, dead, h.Buffers, size(int64(h.Bytes)))
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
