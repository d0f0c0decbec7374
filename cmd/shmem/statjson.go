package main

import (
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// The JSON of stat, and of cat and watch for a queue or topic. Scripts depend on the keys: they may
// be added to, but neither renamed nor removed.

type jsonHolder struct {
	Slot       int    `json:"slot"`
	Generation int    `json:"generation"`
	PID        int    `json:"pid"`
	Count      int    `json:"count,omitempty"`
	Alive      bool   `json:"alive"`
	What       string `json:"what"`
}

type jsonLock struct {
	Path    string       `json:"path,omitempty"`
	Type    string       `json:"type"`
	State   string       `json:"state"`
	Dead    bool         `json:"dead"`
	Waiters bool         `json:"waiters"`
	Held    string       `json:"held,omitempty"` // for how long, in words
	Holders []jsonHolder `json:"holders"`
}

type jsonSlot struct {
	jsonPeer
	Generation int      `json:"generation"`
	Alive      bool     `json:"alive"`
	Owner      bool     `json:"owner"`
	Waits      []string `json:"waits"`
}

type jsonStats struct {
	Kind     string      `json:"kind"`
	Capacity int         `json:"capacity"`
	Skipped  count64     `json:"skipped"`
	Ended    bool        `json:"ended"`
	BytesCap count64     `json:"bytesCap,omitempty"` // of a queue.Bytes or topic.Bytes
	Leases   []jsonLease `json:"leases"`
	*jsonQueueStats
	*jsonTopicStats
}

type jsonLease struct {
	jsonHolder
	Oldest count64 `json:"oldest"` // number of the oldest message that it is sending or receiving
	Blocks bool    `json:"blocks"` // the ring is full because of that message
	// Of a receiver, where it is known: how long it has had a message, and how often a message that
	// it has was delivered.
	Since      *moment `json:"since,omitempty"`
	Deliveries int     `json:"deliveries,omitempty"`
}

type jsonQueueStats struct {
	Sent        count64     `json:"sent"`
	Received    count64     `json:"received"`
	Depth       count64     `json:"depth"`
	Redelivered count64     `json:"redelivered"`
	Sending     int         `json:"sending"`
	Receiving   int         `json:"receiving"`
	OldestSent  *moment     `json:"oldestSent,omitempty"` // of a queue with time stamps
	Bytes       count64     `json:"bytes,omitempty"`      // of a queue.Bytes
	Single      bool        `json:"single,omitempty"`
	Sender      *jsonHolder `json:"sender,omitempty"`   // of a Single queue
	Receiver    *jsonHolder `json:"receiver,omitempty"` // of a Single queue
}

type jsonTopicStats struct {
	Published count64     `json:"published"`
	Lost      count64     `json:"lost"`
	Released  count64     `json:"released"`
	Holds     int         `json:"holds"`
	MaxHolds  int         `json:"maxHolds"`
	Lag       count64     `json:"lag"`
	Slowest   *jsonHolder `json:"slowest,omitempty"`
}

func jsonStatsOf(s *inspect.Stats) *jsonStats {
	j := &jsonStats{Kind: s.Kind, Capacity: s.Capacity, Skipped: count64(s.Skipped), Ended: s.Ended,
		BytesCap: count64(s.BytesCap), Leases: []jsonLease{}}
	for _, l := range s.Leases {
		j.Leases = append(j.Leases, jsonLeaseOf(l))
	}
	if isTopic(s) {
		j.jsonTopicStats = &jsonTopicStats{
			count64(s.Published), count64(s.Lost), count64(s.Released), s.Holds, s.MaxHolds,
			count64(s.Lag), jsonHolderOf(s.SlowestHolder),
		}
	} else {
		j.jsonQueueStats = &jsonQueueStats{
			count64(s.Sent), count64(s.Received), count64(s.Depth), count64(s.Redelivered),
			s.Sending, s.Receiving, momentOf(s.OldestSent),
			count64(s.Bytes), s.Single,
			jsonHolderOf(s.Sender), jsonHolderOf(s.Receiver),
		}
	}
	return j
}

func jsonLeaseOf(l inspect.Lease) jsonLease {
	j := jsonLease{
		jsonHolder: jsonHolder(l.Holder), Oldest: count64(l.Oldest), Blocks: l.Blocks,
		Deliveries: l.Deliveries,
	}
	j.Since = momentOf(l.Since)
	return j
}

// momentOf returns nil for the zero time.
func momentOf(t time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	m := moment(t)
	return &m
}

// jsonHolderOf returns nil for no holder.
func jsonHolderOf(h inspect.Holder) *jsonHolder {
	if h == (inspect.Holder{}) {
		return nil
	}
	j := jsonHolder(h)
	return &j
}

type jsonStat struct {
	jsonInfo
	Linked     bool       `json:"linked"`
	Fate       string     `json:"fate"`
	ID         string     `json:"id,omitempty"`
	OwnerWord  string     `json:"ownerWord,omitempty"`
	OwnerSlot  int        `json:"ownerSlot"`
	CreatorPID int        `json:"creatorPid,omitempty"`
	CreatorNS  count64    `json:"creatorPidNamespace,omitempty"`
	PayloadCap num        `json:"payloadCap"`
	ControlOff num        `json:"controlOff"`
	ImageOff   num        `json:"imageOff"`
	SlotsHigh  int        `json:"slotsHigh"`
	PageSize   int        `json:"pageSize"`
	WordSize   int        `json:"wordSize"`
	Version    count64    `json:"version"`
	Stats      *jsonStats `json:"stats,omitempty"` // of a queue or topic
	jsonTally
	Changing  bool         `json:"changing"`
	Lock      jsonLock     `json:"lock"`
	Readers   []jsonHolder `json:"readers"`
	Locks     []jsonLock   `json:"locks"`     // all that are not idle, at most 1000
	MoreLocks int          `json:"moreLocks"` // locks beside these
	SlotList  []jsonSlot   `json:"slotList"`
	Decl      string       `json:"declaration,omitempty"`
}

// jsonStatus is the report of stat. Lists are never null.
func jsonStatus(st *inspect.Status, t *inspect.Type, held heldFor) jsonStat {
	j := jsonStat{
		jsonInfo: row{Info: st.Info, users: usersOf(st), ps: new(procs)}.json(),
		Linked:   st.Linked, Fate: st.Fate,
		ID: st.ID, OwnerWord: st.OwnerWord, OwnerSlot: st.OwnerSlot, CreatorPID: st.CreatorPID,
		CreatorNS:  count64(st.CreatorNS),
		PayloadCap: num(st.PayloadCap), ControlOff: num(st.ControlOff), ImageOff: num(st.ImageOff),
		SlotsHigh: st.SlotsHigh, PageSize: st.PageSize, WordSize: st.WordSize,
		Version: count64(st.Version), Changing: st.Changing,
		Lock: jsonLockOf("", st.Lock, held[""]), Readers: jsonHolders(st.Readers),
		Locks: []jsonLock{}, MoreLocks: st.MoreLocks, SlotList: []jsonSlot{},
	}
	if st.Stats != nil {
		j.Stats = jsonStatsOf(st.Stats)
		j.Ended = st.Stats.Ended
	}
	for _, l := range st.Locks {
		j.Locks = append(j.Locks, jsonLockOf(l.Path, l.LockState, held[l.Path]))
	}
	for _, s := range st.Slots {
		j.SlotList = append(j.SlotList, jsonSlotOf(s))
	}
	if t != nil {
		j.Decl = t.Declaration()
		if item := t.Item(); item != nil && st.Stats != nil {
			j.Item = item.String()
		}
	}
	return j
}

func jsonLockOf(path string, l inspect.LockState, held string) jsonLock {
	return jsonLock{path, l.Type, l.State, l.Dead, l.Waiters, held, jsonHolders(l.Holders)}
}

func jsonHolders(hs []inspect.Holder) []jsonHolder {
	all := []jsonHolder{}
	for _, h := range hs {
		all = append(all, jsonHolder(h))
	}
	return all
}

func jsonSlotOf(s inspect.Slot) jsonSlot {
	p := jsonOf(shmem.Peer{Slot: s.Slot, PID: s.PID, PIDNamespace: s.PIDNamespace, Since: s.Since,
		ReadOnly: s.ReadOnly, Passive: s.Passive})
	waits := s.Waits
	if waits == nil {
		waits = []string{}
	}
	return jsonSlot{p, s.Generation, s.Alive, s.Owner, waits}
}
