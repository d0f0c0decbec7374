package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

type statCmd struct {
	Name string        `arg:"" help:"The segment, or a path."`
	For  time.Duration `default:"100ms" placeholder:"TIME" help:"How long to look at locks that are held (${default})."`
	JSON bool          `name:"json" help:"JSON."`
}

func (*statCmd) Help() string {
	return `Takes no lock and no slot. Locks that are held are looked at again and again for some time, to say
whether they change hands: when they were taken is written nowhere. NAME may be a path, such as /proc/PID/fd/N of a segment that lost its name.`
}

// open looks at a segment, also at one that has lost its name.
func (e *env) open(name string) (*inspect.Observer, error) {
	s, err := e.inspect(name)
	if errors.Is(err, fs.ErrNotExist) {
		lost, _ := inspect.Unlinked(e.dir)
		for _, info := range lost {
			if info.Name == name {
				fmt.Fprintf(e.err, "shmem: %s has lost its name (rm, Remove or another program unlinked it); %d still attached\n", name, len(info.Peers))
				return e.inspect(info.Path)
			}
		}
	}
	return s, err
}

// inspect opens a segment to look at it; errors say that it was for this verb.
func (e *env) inspect(name string) (*inspect.Observer, error) {
	s, err := inspect.Open(e.dir, name)
	var se *shmem.Error
	if errors.As(err, &se) && e.verb != "" {
		se.Op = e.verb
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
	held, err := watchLocks(s, st, c.For)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.json(jsonStatus(st, s, held))
	}
	e.stat(st, s, held)
	return nil
}

// watchLocks says of each lock that is held, by its path ("" is the box's), for how long, as far as can be
// seen. Of the box's lock the version tells whether a writer has let go meanwhile; of others nothing does.
func watchLocks(s *inspect.Observer, st *inspect.Status, long time.Duration) (map[string]string, error) {
	held, who := map[string]string{}, map[string]string{}
	text := fmt.Sprintf("%.1f s", long.Seconds())
	if len(st.Lock.Holders) > 0 && !st.Lock.Dead {
		held[""], who[""] = "for "+text+" at least", st.Lock.String()
	}
	for _, l := range st.Locks {
		if n := len(l.Holders); n > 0 && !l.Dead && l.State != "done" {
			held[l.Path], who[l.Path] = "at each look for "+text, fmt.Sprint(l.Holders)
		}
	}
	if len(held) == 0 {
		return held, nil
	}
	const changing = "changing hands"
	for start := time.Now(); time.Since(start) < long; {
		time.Sleep(10 * time.Millisecond)
		now, err := s.Status()
		if err != nil {
			return nil, err
		}
		if held[""] != "" && (len(now.Lock.Holders) == 0 || now.Lock.Holders[0] != st.Lock.Holders[0] || now.Version != st.Version) {
			held[""] = changing
		}
		for _, l := range now.Locks {
			if held[l.Path] != "" && fmt.Sprint(l.Holders) != who[l.Path] {
				held[l.Path] = changing
			}
		}
	}
	return held, nil
}

func (e *env) stat(st *inspect.Status, s *inspect.Observer, held map[string]string) {
	sty := e.style
	paint := func(label, text string, colour func(string) string) {
		for _, l := range fold(printable(text), max(e.width-14, 40)) {
			fmt.Fprintf(e.out, "  %s%s\n", sty.faint(pad(label, 12)), colour(l))
			label = ""
		}
	}
	plain := func(s string) string { return s }
	line := func(label, text string) { paint(label, text, plain) }
	state := sty.state(st.State, st.State.String())
	if !st.Linked && st.State != shmem.Damaged {
		state += ", " + sty.magenta("unlinked")
	}
	if st.Traffic != nil && st.Traffic.Ended {
		state += ", ended"
	}
	fmt.Fprintf(e.out, "%s  %s\n", sty.bold(st.Name), state)
	line("fate", st.Fate)
	if st.Err != nil {
		line("damage", reason(st.Err))
	}
	if st.State != shmem.Foreign && st.State != shmem.Damaged {
		t := "bytes, without a schema"
		if s.Type() != nil {
			t = cmp.Or(typeName(s.Type()), st.Type, "bytes, without a schema")
		}
		line("type", t)
		if st.Fingerprint != 0 {
			line("fingerprint", fmt.Sprintf("%016x", st.Fingerprint))
		}
		// What is said of the version, of undo and of the box's lock has no meaning for a queue or topic.
		if tr := st.Traffic; tr != nil {
			line("traffic", traffic(tr))
			if tr.Single {
				line("ends", "Single: sender "+endOf(tr.Sender)+", receiver "+endOf(tr.Receiver))
			}
		} else {
			e.statValue(st, line)
		}
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
	if st.ID != "" {
		word := st.OwnerWord
		if st.OwnerSlot >= 0 {
			word += fmt.Sprintf(" by slot %d", st.OwnerSlot)
		}
		image := ", no undo image"
		if st.ImageOff != 0 {
			image = fmt.Sprintf(", undo image at %d", st.ImageOff)
		} else if st.Traffic != nil {
			image = ""
		}
		line("control", fmt.Sprintf("at %d%s, pages of %d, words of %d, %d of %d slots ever used, id %s; owner word: %s",
			st.ControlOff, image, st.PageSize, st.WordSize, st.SlotsHigh, st.Info.Slots, st.ID, word))
	}
	if st.SlotsHigh == 0 {
		return
	}
	lock, colour := st.Lock.State, plain
	if len(st.Lock.Holders) > 0 {
		lock, colour = lock+" by "+st.Lock.Holders[0].String(), sty.magenta
	}
	if h := held[""]; h != "" {
		lock += ", " + h
	}
	if st.Lock.Dead {
		lock, colour = lock+"; the next who locks undoes what it did", sty.red
	}
	if st.Lock.Waiters {
		lock += "; others wait"
	}
	if st.Traffic == nil || len(st.Lock.Holders) > 0 {
		paint("lock", lock, colour)
	}
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
		text, colour := l.LockState.String(), plain
		if l.Dead {
			colour = sty.red
		} else if l.State == "locked" || l.State == "read" {
			colour = sty.magenta
		}
		if h := held[l.Path]; h != "" {
			text += ", " + h
		}
		paint(label, l.Path+"  "+strings.TrimPrefix(l.Type, "psync.")+"  "+text, colour)
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

// statValue says how it stands with the value of a box.
func (e *env) statValue(st *inspect.Status, line func(label, text string)) {
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
	line("value", fmt.Sprintf("%s%s, version %d, %s", words(st.Size), spare, st.Version, at))
	undo := "yes"
	if st.ImageOff == 0 {
		undo = "no: a writer that dies leaves the value half changed (Options.Undo)"
	}
	line("undo", undo)
}

// endOf says who has an end of a Single queue.
func endOf(h inspect.Holder) string {
	if h == (inspect.Holder{}) {
		return "nobody"
	}
	return h.String()
}

// several is a number of things.
func several(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func traffic(t *inspect.Traffic) string {
	text := fmt.Sprintf("%d sent, %d received, %d of %d waiting", t.Sent, t.Received, t.Depth, t.Capacity)
	switch {
	case t.Single && t.BytesCap > 0: // all of these are bytes
		text = fmt.Sprintf("%d bytes sent, %d received, %d of %d waiting", t.Sent, t.Received, t.Bytes, t.BytesCap)
	case t.BytesCap > 0:
		text += fmt.Sprintf(", %d of %d bytes", t.Bytes, t.BytesCap)
	}
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
		text += fmt.Sprintf(", %s released (the subscriber died)", several(t.Again, "hold"))
	} else if t.Again > 0 {
		text += fmt.Sprintf(", %d given back (their receiver died)", t.Again)
	}
	if t.Ended {
		text += ", ended"
	}
	return text
}

// userName looks into /etc/passwd and not, as os/user would, at what the C library knows besides: the
// program needs none.
func userName(uid int) string {
	b, _ := os.ReadFile("/etc/passwd")
	id := strconv.Itoa(uid)
	for l := range strings.Lines(string(b)) {
		if f := strings.Split(l, ":"); len(f) > 2 && f[2] == id {
			return f[0]
		}
	}
	return "uid " + id
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
	Bytes    uint64      `json:"bytes,omitempty"`    // of a queue.Bytes
	BytesCap uint64      `json:"bytesCap,omitempty"` //
	Single   bool        `json:"single,omitempty"`
	Sender   *jsonHolder `json:"sender,omitempty"` // of a Single queue
	Receiver *jsonHolder `json:"receiver,omitempty"`
}

func jsonHolderOf(h inspect.Holder) *jsonHolder {
	if h == (inspect.Holder{}) {
		return nil
	}
	j := jsonHolder(h)
	return &j
}

func jsonTrafficOf(t *inspect.Traffic) *jsonTraffic {
	return &jsonTraffic{
		t.Kind, t.Capacity, t.Sent, t.Received, t.Depth, t.Skipped, t.Again, t.Lost, t.Holding, t.Holds, t.Lag, jsonHolderOf(t.Slowest), t.Ended,
		t.Bytes, t.BytesCap, t.Single, jsonHolderOf(t.Sender), jsonHolderOf(t.Receiver),
	}
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
	PageSize   int          `json:"pageSize"`
	WordSize   int          `json:"wordSize"`
	Version    uint64       `json:"version"`
	Traffic    *jsonTraffic `json:"traffic,omitempty"`
	Changing   bool         `json:"changing"`
	Lock       jsonLock     `json:"lock"`
	Readers    []jsonHolder `json:"readers"`
	Locks      []jsonLock   `json:"locks"`
	SlotList   []jsonSlot   `json:"slotList"`
	Decl       string       `json:"declaration,omitempty"`
}

func jsonStatus(st *inspect.Status, s *inspect.Observer, held map[string]string) jsonStat {
	holders := func(hs []inspect.Holder) []jsonHolder {
		all := []jsonHolder{}
		for _, h := range hs {
			all = append(all, jsonHolder(h))
		}
		return all
	}
	lock := func(path string, l inspect.LockState) jsonLock {
		return jsonLock{path, l.Type, l.State, l.Dead, l.Waiters, held[path], holders(l.Holders)}
	}
	j := jsonStat{
		jsonInfo: row{Info: st.Info}.json(), Linked: st.Linked, Fate: st.Fate, ID: st.ID, OwnerWord: st.OwnerWord, OwnerSlot: st.OwnerSlot,
		CreatorPID: st.CreatorPID, CreatorNS: st.CreatorNS, PayloadCap: st.PayloadCap, ControlOff: st.ControlOff, ImageOff: st.ImageOff,
		SlotsHigh: st.SlotsHigh, PageSize: st.PageSize, WordSize: st.WordSize, Version: st.Version, Changing: st.Changing, Lock: lock("", st.Lock), Readers: holders(st.Readers),
		Locks: []jsonLock{}, SlotList: []jsonSlot{},
	}
	if st.Traffic != nil {
		j.Traffic = jsonTrafficOf(st.Traffic)
		j.Ended = st.Traffic.Ended
		if item := s.Type().Item(); item != nil {
			j.Item = item.String()
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
