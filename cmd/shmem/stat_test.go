package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// status is that of a live box at rest, changed by f.
func status(f func(*inspect.Status)) *inspect.Status {
	st := &inspect.Status{
		Info: shmem.Info{
			Name: "config", Path: "/dev/shm/config", State: shmem.Live, Size: 384, File: 12288,
			InUse:   12288,
			Program: "server", Created: time.Now().Add(-time.Minute), Slots: 16, UID: os.Getuid(),
			Fingerprint: 0xabc,
		},
		Linked: true, Fate: "it stays", ID: "01ab", OwnerWord: "owned", CreatorPID: 42,
		CreatorNS:  sys.PIDNamespace(),
		PayloadCap: 384, ControlOff: 4096, ImageOff: 4096, SlotsHigh: 2, PageSize: 4096,
		WordSize: 8, Version: 7,
		Lock: inspect.LockState{Type: "box", State: "free"},
		Slots: []inspect.Slot{{Slot: 0, Generation: 1, Alive: true, PID: 42,
			PIDNamespace: sys.PIDNamespace(), Owner: true}},
	}
	if f != nil {
		f(st)
	}
	return st
}

// report is the words of stat, a line for each entry: "label: text", with ! for an alarm.
func report(st *inspect.Status, held heldFor) string {
	var b strings.Builder
	for _, l := range statLines(st, nil, held) {
		fmt.Fprintf(&b, "%s: %s%s\n", l.label, l.text,
			map[tone]string{alarm: "!", notable: "*"}[l.tone])
	}
	return b.String()
}

func TestStatLines(t *testing.T) {
	holder := inspect.Holder{Slot: 1, PID: 43, Alive: true, What: "write"}
	for name, c := range map[string]struct {
		change   func(*inspect.Status)
		held     heldFor
		has, not []string
	}{
		"box at rest": {has: []string{
			"fate: it stays\n", "type: bytes, without a schema\n",
			"fingerprint: 0000000000000abc\n",
			"value: 384 bytes, version 7, at rest\n", "undo: yes\n", "lock: free\n",
			"attached: 1 of 16 slots\n",
			"made: 1m ago by server, pid 42\n", "undo image at 4096",
			"owner word: owned by slot 0\n",
		}, not: []string{"readers", "locks", "damage"}},
		"locked": {
			change: func(st *inspect.Status) {
				st.Lock.State, st.Lock.Holders, st.Lock.Waiters = "locked",
					[]inspect.Holder{holder}, true
				st.Changing = true
			},
			held: heldFor{"": "for 0.1 s at least"},
			has: []string{"a process is changing it\n",
				"lock: locked by pid 43 (slot 1), for 0.1 s at least; others wait*\n"},
		},
		"its holder died": {
			change: func(st *inspect.Status) {
				st.Changing, st.ImageOff, st.PayloadCap = true, 0, 500
				st.Lock.State, st.Lock.Dead = "dead", true
			},
			has: []string{
				"room for 500", "its writer died changing it\n", "undo: no: ", "no undo image",
				"lock: dead; the next process that locks undoes what it did!\n",
			},
		},
		"locks and readers": {
			change: func(st *inspect.Status) {
				st.Readers = []inspect.Holder{{Slot: 2, PID: 44, Alive: true},
					{Slot: 3, PID: 45, Alive: true}}
				st.Locks = []inspect.FieldLock{
					{Path: "A", LockState: inspect.LockState{Type: "psync.Mutex", State: "locked",
						Holders: []inspect.Holder{holder}}},
					{Path: "B", LockState: inspect.LockState{Type: "psync.RWMutex", State: "locked",
						Dead: true}},
				}
			},
			held: heldFor{"A": changingHands},
			has: []string{
				"readers: View in pid 44 (slot 2)\n: View in pid 45 (slot 3)\n",
				"locks: A  Mutex  locked by pid 43 (slot 1), changing hands*\n: B  RWMutex  locked!\n",
			},
		},
		"many locks": {
			change: func(st *inspect.Status) {
				for i := range 40 {
					st.Locks = append(st.Locks, inspect.FieldLock{Path: fmt.Sprint("L", i),
						LockState: inspect.LockState{Type: "psync.Mutex", State: "free"}})
				}
				st.Locks[39].State, st.Locks[39].Holders = "locked", []inspect.Holder{holder}
				st.MoreLocks = 7
			},
			has: []string{
				"locks: L39  Mutex  locked by pid 43 (slot 1)*\n: L0  Mutex  free\n",
				": L15  Mutex  free\n: 23 more are idle\n: 7 more are not listed\n",
			},
		},
		"a queue with leases": {
			change: func(st *inspect.Status) {
				st.Stats = &inspect.Stats{Kind: "queue.Queue", Sent: 9, Received: 2, Depth: 7,
					Capacity: 8, Slowest: -1, Leases: []inspect.Lease{
						{Holder: inspect.Holder{Slot: 1, PID: 43, Alive: true, What: "receive", Count: 2},
							Oldest: 1, Blocks: true},
						{Holder: inspect.Holder{Slot: 2, PID: 44, Alive: true, What: "send", Count: 1},
							Oldest: 8}}}
			},
			has: []string{"leases: pid 43 (slot 1) receives 2 messages, from number 1 on: the ring is " +
				"full because of it!\n: pid 44 (slot 2) sends 1 message, from number 8 on*\n"},
		},
		"queue": {
			change: func(st *inspect.Status) {
				st.ImageOff = 0
				st.Stats = &inspect.Stats{Kind: "queue.Queue", Sent: 5, Received: 2, Depth: 3,
					Capacity: 8, Redelivered: 1, Slowest: -1}
			},
			has: []string{"traffic: 5 sent, 2 received, 3 of 8 waiting, 1 redelivered (their receiver died)\n"},
			not: []string{"version", "undo", "lock:"},
		},
		"damaged": {
			change: func(st *inspect.Status) {
				*st = inspect.Status{Info: shmem.Info{Name: "x", State: shmem.Damaged,
					Err: errors.New("checksum")}}
			},
			has: []string{"damage: checksum\n", "made: last changed - ago\n"},
			not: []string{"type", "value", "control", "lock", "attached"},
		},
		"from another container": {
			change: func(st *inspect.Status) { st.CreatorNS++ },
			has:    []string{"pid 42 in another PID namespace\n"},
		},
	} {
		got := report(status(c.change), c.held)
		for _, want := range c.has {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, got)
			}
		}
		for _, not := range c.not {
			if strings.Contains(got, not) {
				t.Errorf("%s: %q is in\n%s", name, not, got)
			}
		}
	}
}

func TestStatsText(t *testing.T) {
	for want, s := range map[string]inspect.Stats{
		"5 sent, 2 received, 3 of 8 waiting, ended":                              {Kind: "queue.Queue", Sent: 5, Received: 2, Depth: 3, Capacity: 8, Ended: true},
		"5 sent, 2 received, 3 of 8 waiting, 24 of 64 bytes":                     {Kind: "queue.Bytes", Sent: 5, Received: 2, Depth: 3, Capacity: 8, Bytes: 24, BytesCap: 64},
		"64 bytes sent, 0 received, 64 of 128 waiting":                           {Kind: "queue.Bytes", Single: true, Sent: 64, Depth: 64, Capacity: 128, Bytes: 64, BytesCap: 128},
		"9 published, the last 4 kept, 2 skipped (their sender died)":            {Kind: "topic.Topic", Published: 9, Capacity: 4, Skipped: 2},
		"9 published, the last 4 kept, 1 hold released (the subscriber died)":    {Kind: "topic.Topic", Published: 9, Capacity: 4, Released: 1},
		"9 published, the last 4 kept, 3 lost by subscribers that were too slow": {Kind: "topic.Topic", Published: 9, Capacity: 4, Lost: 3},
		"9 published, the last 4 kept, 1 of 2 hold publishers back: the slowest, pid 7 (slot 1), is 3 behind": {
			Kind: "topic.Topic", Published: 9, Capacity: 4, Holds: 1, MaxHolds: 2, Lag: 3,
			Slowest:       1,
			SlowestHolder: inspect.Holder{Slot: 1, PID: 7, Alive: true},
		},
	} {
		if got := statsText(&s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestHeldFor: a lock whose holder or, for the box's own, whose version changes is changing hands.
func TestHeldFor(t *testing.T) {
	a, b := inspect.Holder{Slot: 1, Alive: true}, inspect.Holder{Slot: 2, Alive: true}
	locked := func(version uint64, box, field inspect.Holder) *inspect.Status {
		return status(func(st *inspect.Status) {
			st.Version, st.Lock.Holders = version, []inspect.Holder{box}
			st.Locks = []inspect.FieldLock{{Path: "Mu",
				LockState: inspect.LockState{State: "locked", Holders: []inspect.Holder{field}}}}
		})
	}
	first := locked(1, a, a)
	for name, c := range map[string]struct {
		now        *inspect.Status
		box, field bool // changing hands
	}{
		"the same":        {locked(1, a, a), false, false},
		"other holders":   {locked(1, b, b), true, true},
		"another version": {locked(2, a, a), true, false},
		"free":            {status(nil), true, false},
	} {
		held := heldAtFirst(first, time.Second)
		if len(held) != 2 {
			t.Fatalf("held at first: %v", held)
		}
		held.compare(first, c.now)
		if held[""] == changingHands != c.box || held["Mu"] == changingHands != c.field {
			t.Errorf("%s: %v", name, held)
		}
	}
	dead := status(func(st *inspect.Status) {
		st.Lock.Holders, st.Lock.Dead = []inspect.Holder{a}, true
	})
	if held := heldAtFirst(dead, time.Second); len(held) != 0 {
		t.Errorf("a dead process holds: %v", held)
	}
}

// TestStatJSON: scripts rely on these keys, and on lists that are not null.
func TestStatJSON(t *testing.T) {
	keys := func(v any) []string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), ":null") {
			t.Errorf("there is a null in %s", b)
		}
		m := map[string]any{}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		var all []string
		for k := range reflect.ValueOf(m).Seq() {
			all = append(all, k.String())
		}
		slices.Sort(all)
		return all
	}
	has := func(v any, want ...string) {
		t.Helper()
		got := keys(v)
		for _, k := range want {
			if !slices.Contains(got, k) {
				t.Errorf("no %s in %v", k, got)
			}
		}
	}
	has(jsonStatus(status(nil), nil, nil), "name", "state", "attached", "readers", "lock", "locks",
		"slotList", "ownerSlot", "fate")
	has(jsonStatsOf(&inspect.Stats{Kind: "queue.Queue"}), "kind", "capacity", "ended", "skipped",
		"sent", "received", "depth", "redelivered")
	has(jsonStatsOf(&inspect.Stats{Kind: "topic.Topic"}), "kind", "capacity", "ended", "skipped",
		"published", "lost", "released", "holds", "maxHolds", "lag")
	if slices.Contains(keys(jsonStatsOf(&inspect.Stats{Kind: "topic.Topic"})), "sent") {
		t.Error("a topic has the counters of a queue")
	}
}

// TestEveryCounter: what a program sees of its queue, topic or map by Stats, stat shows too.
func TestEveryCounter(t *testing.T) {
	otherNames := map[string]string{"HasSender": "Sender", "HasReceiver": "Receiver"}
	for _, c := range []struct {
		stats any
		json  []any
	}{
		{queue.Stats{}, []any{jsonStats{}, jsonQueueStats{}}},
		{topic.Stats{}, []any{jsonStats{}, jsonTopicStats{}}},
		{kv.Stats{}, []any{jsonMapStats{}}},
	} {
		stats := reflect.TypeOf(c.stats)
		for i := range stats.NumField() {
			name := stats.Field(i).Name
			found := slices.ContainsFunc(c.json, func(j any) bool {
				f, ok := reflect.TypeOf(j).FieldByName(cmp.Or(otherNames[name], name))
				return ok && f.Tag.Get("json") != ""
			})
			if !found {
				t.Errorf("stat --json leaves out %v.%s", stats, name)
			}
		}
	}
}
