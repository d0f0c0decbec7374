package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

type statCmd struct {
	Name string `arg:"" help:"The segment, or a path."`
	JSON bool   `name:"json" help:"JSON."`
}

func (*statCmd) Help() string {
	return `Takes no lock and no slot. A held lock is looked at for a tenth of a second, to say whether it
changes hands. NAME may be a path, such as /proc/PID/fd/N of a segment that lost its name.`
}

// open looks at a segment, also at one that has lost its name.
func (e *env) open(name string) (*inspect.Segment, error) {
	s, err := inspect.Open(name, e.opts())
	if errors.Is(err, fs.ErrNotExist) {
		lost, _ := inspect.Unlinked(e.opts())
		for _, info := range lost {
			if info.Name == name {
				fmt.Fprintf(e.err, "shmem: %s has lost its name (rm, Remove or another program unlinked it); %d still attached\n", name, len(info.Peers))
				return inspect.Open(info.Path, nil)
			}
		}
	}
	return s, err
}

func (c *statCmd) Run(e *env) error {
	s, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer s.Close()
	st, err := s.Status()
	if err != nil {
		return err
	}
	held := ""
	if len(st.Lock.Holders) > 0 && !st.Lock.Dead {
		if held, err = watchLock(s, st); err != nil {
			return err
		}
	}
	if c.JSON {
		return e.json(jsonStatus(st, s))
	}
	e.stat(st, s, held)
	return nil
}

// watchLock says for how long a lock is held, as far as can be seen in a tenth of a second.
func watchLock(s *inspect.Segment, st *inspect.Status) (string, error) {
	start := time.Now()
	for time.Since(start) < 100*time.Millisecond {
		time.Sleep(10 * time.Millisecond)
		now, err := s.Status()
		if err != nil {
			return "", err
		}
		if len(now.Lock.Holders) == 0 || now.Lock.Holders[0] != st.Lock.Holders[0] || now.Version != st.Version {
			return "changing hands", nil
		}
	}
	return "for 0.1 s at least", nil
}

func (e *env) stat(st *inspect.Status, s *inspect.Segment, held string) {
	sty := e.style
	line := func(label, text string) {
		for i, l := range fold(text, max(e.width-14, 40)) {
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(e.out, "  %s%s\n", sty.faint(pad(label, 12)), l)
		}
	}
	state := sty.state(st.State, st.State.String())
	if !st.Linked && st.State != shmem.Damaged {
		state += ", " + sty.magenta("unlinked")
	}
	fmt.Fprintf(e.out, "%s  %s\n", sty.bold(st.Name), state)
	line("fate", st.Fate)
	if st.Err != nil {
		line("damage", reason(st.Err))
	}
	if st.State != shmem.Foreign && st.State != shmem.Damaged {
		t := st.Type
		if t == "" {
			t = "bytes, without a schema"
		}
		line("type", t)
		if st.Fingerprint != 0 {
			line("fingerprint", fmt.Sprintf("%016x", st.Fingerprint))
		}
		at := "at rest"
		if st.Changing {
			at = "somebody is changing it"
			if st.Lock.Dead {
				at = "its writer died changing it"
			}
		}
		spare := ""
		if st.PayloadCap > st.Size {
			spare = fmt.Sprintf(", room for %d", st.PayloadCap)
		}
		if tr := st.Traffic; tr != nil {
			line("traffic", traffic(tr))
		}
		line("value", fmt.Sprintf("%s%s, version %d, %s", words(st.Size), spare, st.Version, at))
		undo := "yes"
		if st.Traffic != nil {
			undo = "not needed"
		} else if st.ImageOff == 0 {
			undo = "no: a writer that dies leaves the value half changed (Options.Undo)"
		}
		line("undo", undo)
	}
	line("memory", fmt.Sprintf("%s in use, file of %s", words(st.InUse), words(st.File)))
	line("file", fmt.Sprintf("%s %s %s", st.Mode, userName(st.UID), st.Path))
	made := since(st.Created) + " ago"
	if st.Program != "" {
		made += fmt.Sprintf(" by %s, pid %d", st.Program, st.CreatorPID)
		if st.CreatorNS != sys.PIDNamespace() {
			made += " in another PID namespace"
		}
	} else {
		made = "last changed " + made
	}
	line("made", made)
	if st.SlotsHigh == 0 {
		return
	}
	lock := st.Lock.State
	if len(st.Lock.Holders) > 0 {
		lock += " by " + st.Lock.Holders[0].String()
		if !st.Lock.Dead {
			lock += ", " + held
		}
	}
	if st.Lock.Dead {
		lock = sty.red(lock) + "; the next who locks undoes what it did"
	} else if len(st.Lock.Holders) > 0 {
		lock = sty.magenta(lock)
	}
	if st.Lock.Waiters {
		lock += "; others wait"
	}
	fmt.Fprintf(e.out, "  %s%s\n", sty.faint(pad("lock", 12)), lock)
	for i, r := range st.Readers {
		label := "readers"
		if i > 0 {
			label = ""
		}
		line(label, "View in "+r.String())
	}
	for i, l := range st.Locks {
		label := "locks"
		if i > 0 {
			label = ""
		}
		text := l.LockState.String()
		if l.Dead {
			text = sty.red(text)
		} else if l.State == "locked" || l.State == "read" {
			text = sty.magenta(text)
		}
		fmt.Fprintf(e.out, "  %s%s  %s  %s\n", sty.faint(pad(label, 12)), l.Path, sty.faint(strings.TrimPrefix(l.Type, "psync.")), text)
	}
	alive := 0
	for _, sl := range st.Slots {
		if sl.Alive {
			alive++
		}
	}
	line("attached", fmt.Sprintf("%d of %d slots", alive, st.Info.Slots))
	if len(st.Slots) == 0 {
		return
	}
	fmt.Fprintln(e.out)
	var rows [][]string
	for _, sl := range st.Slots {
		var what []string
		if sl.Owner {
			what = append(what, "owner")
		}
		if sl.ReadOnly {
			what = append(what, "read-only")
		}
		if len(sl.Waits) > 0 {
			what = append(what, "waits for "+strings.Join(sl.Waits, ", "))
		}
		name := "?"
		if sl.PIDNamespace == sys.PIDNamespace() {
			name = comm(sl.PID, "?")
		}
		if !sl.Alive {
			what, name = append([]string{"dead"}, what...), "-"
		}
		rows = append(rows, []string{strconv.Itoa(sl.Slot), strconv.Itoa(sl.Generation), strconv.Itoa(sl.PID), name, since(sl.Since), strings.Join(what, ", ")})
	}
	e.table([]column{
		{head: "  SLOT", right: true}, {head: "GEN", right: true}, {head: "PID", right: true}, {head: "PROCESS", least: 10},
		{head: "SINCE", right: true},
		{head: "WHAT", least: 10, paint: func(i int, s string) string {
			if !st.Slots[i].Alive {
				return sty.red(s)
			}
			return s
		}},
	}, rows)
}

func traffic(t *inspect.Traffic) string {
	text := fmt.Sprintf("%d sent, %d received, %d waiting, room for %d", t.Sent, t.Received, t.Depth, t.Capacity)
	if strings.HasPrefix(t.Kind, "topic.") {
		text = fmt.Sprintf("%d published, the last %d kept", t.Sent, t.Capacity)
		if t.Holding > 0 {
			text += fmt.Sprintf(", %d of %d hold publishers back: the slowest, %s, is %d behind", t.Holding, t.Holds, t.Slowest, t.Lag)
		}
		if t.Lost > 0 {
			text += fmt.Sprintf(", %d lost by subscribers that were too slow", t.Lost)
		}
	}
	if t.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped (their sender died)", t.Skipped)
	}
	if t.Again > 0 && t.Holds > 0 {
		text += fmt.Sprintf(", %d holds released (their subscriber died)", t.Again)
	} else if t.Again > 0 {
		text += fmt.Sprintf(", %d given back (their receiver died)", t.Again)
	}
	if t.Ended {
		text += ", ended"
	}
	return text
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

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
	Holders []jsonHolder `json:"holders"`
}

type jsonSlot struct {
	jsonPeer
	Generation int      `json:"generation"`
	Alive      bool     `json:"alive"`
	Owner      bool     `json:"owner"`
	Waits      []string `json:"waits"`
}

type jsonTraffic struct {
	Kind     string      `json:"kind"`
	Capacity int         `json:"capacity"`
	Sent     uint64      `json:"sent"`
	Received uint64      `json:"received"`
	Depth    uint64      `json:"depth"`
	Skipped  uint64      `json:"skipped"`
	Again    uint64      `json:"again"`
	Lost     uint64      `json:"lost"`
	Holding  int         `json:"holding"`
	Holds    int         `json:"holds"`
	Lag      uint64      `json:"lag"`
	Slowest  *jsonHolder `json:"slowest,omitempty"`
	Ended    bool        `json:"ended"`
}

type jsonStat struct {
	jsonInfo
	Linked     bool         `json:"linked"`
	Fate       string       `json:"fate"`
	ID         string       `json:"id,omitempty"`
	OwnerWord  string       `json:"ownerWord,omitempty"`
	OwnerSlot  int          `json:"ownerSlot"`
	CreatorPID int          `json:"creatorPid,omitempty"`
	CreatorNS  uint64       `json:"creatorPidNamespace,omitempty"`
	PayloadCap int64        `json:"payloadCap"`
	ControlOff int64        `json:"controlOff"`
	ImageOff   int64        `json:"imageOff"`
	SlotsHigh  int          `json:"slotsHigh"`
	Version    uint64       `json:"version"`
	Traffic    *jsonTraffic `json:"traffic,omitempty"`
	Changing   bool         `json:"changing"`
	Lock       jsonLock     `json:"lock"`
	Readers    []jsonHolder `json:"readers"`
	Locks      []jsonLock   `json:"locks"`
	SlotList   []jsonSlot   `json:"slotList"`
	Decl       string       `json:"declaration,omitempty"`
}

func jsonStatus(st *inspect.Status, s *inspect.Segment) jsonStat {
	holders := func(hs []inspect.Holder) []jsonHolder {
		all := []jsonHolder{}
		for _, h := range hs {
			all = append(all, jsonHolder(h))
		}
		return all
	}
	lock := func(path string, l inspect.LockState) jsonLock {
		return jsonLock{path, l.Type, l.State, l.Dead, l.Waiters, holders(l.Holders)}
	}
	j := jsonStat{
		jsonInfo: row{Info: st.Info}.json(), Linked: st.Linked, Fate: st.Fate, ID: st.ID, OwnerWord: st.OwnerWord, OwnerSlot: st.OwnerSlot,
		CreatorPID: st.CreatorPID, CreatorNS: st.CreatorNS, PayloadCap: st.PayloadCap, ControlOff: st.ControlOff, ImageOff: st.ImageOff,
		SlotsHigh: st.SlotsHigh, Version: st.Version, Changing: st.Changing, Lock: lock("", st.Lock), Readers: holders(st.Readers),
		Locks: []jsonLock{}, SlotList: []jsonSlot{},
	}
	if st.Traffic != nil {
		t := st.Traffic
		j.Traffic = &jsonTraffic{t.Kind, t.Capacity, t.Sent, t.Received, t.Depth, t.Skipped, t.Again, t.Lost, t.Holding, t.Holds, t.Lag, nil, t.Ended}
		if t.Holding > 0 {
			j.Traffic.Slowest = &holders([]inspect.Holder{t.Slowest})[0]
		}
	}
	for _, l := range st.Locks {
		j.Locks = append(j.Locks, lock(l.Path, l.LockState))
	}
	for _, sl := range st.Slots {
		p := jsonOf(shmem.Peer{Slot: sl.Slot, PID: sl.PID, PIDNamespace: sl.PIDNamespace, Since: sl.Since, ReadOnly: sl.ReadOnly})
		waits := sl.Waits
		if waits == nil {
			waits = []string{}
		}
		j.SlotList = append(j.SlotList, jsonSlot{p, sl.Generation, sl.Alive, sl.Owner, waits})
	}
	if t := s.Type(); t != nil {
		j.Decl = t.Declaration()
	}
	return j
}
