package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// A tone is how a line is painted.
type tone int

const (
	plain   tone = iota
	notable      // a lock that is held
	alarm        // a death
)

// A statLine is an entry of the report: what it is about, and what there is to say. A line with the
// label "" goes on with the entry before it.
type statLine struct {
	label, text string
	tone        tone
}

// showStat prints the report: a head, the lines, the one of a map, cache or service, and a table of
// slots.
func (e *env) showStat(
	st *inspect.Status, t *inspect.Type, kind statLine, held heldFor,
) {
	fmt.Fprintf(e.out, "%s  %s\n", e.style.bold(clean(st.Name)), e.statState(st))
	for _, l := range statLines(st, t, held) {
		e.showStatLine(l)
	}
	if kind.text != "" {
		e.showStatLine(kind)
	}
	if text := usedBy(st); text != "" {
		e.showStatLine(statLine{label: "used by", text: text})
	}
	if len(st.Slots) > 0 {
		fmt.Fprintln(e.out)
		e.slotTable(st)
	}
}

// usedBy names the processes that use a file of another program. Of a segment the table says it.
func usedBy(st *inspect.Status) string {
	var ps procs
	if users := usersOf(st); len(users) > 0 {
		return ps.userText(users)
	}
	return ""
}

// usersOf returns the processes that map a file of another program or have it open.
func usersOf(st *inspect.Status) []user {
	if st.State != shmem.Foreign {
		return nil
	}
	f, err := os.Stat(st.Path)
	if err != nil {
		return nil
	}
	dev, ino, _ := fileIDOf(f)
	return fileUsers(filepath.Dir(st.Path))[fileKey{dev, ino}]
}

func (e *env) showStatLine(l statLine) {
	paint := func(s string) string { return s }
	switch l.tone {
	case notable:
		paint = e.style.magenta
	case alarm:
		paint = e.style.red
	}
	const column = 12
	label := l.label
	for _, text := range fold(clean(l.text), max(e.width-column-2, 24)) {
		fmt.Fprintf(e.out, "  %s%s\n", e.style.faint(pad(label, column)), paint(text))
		label = ""
	}
}

// statState is the state of the segment and, beside it, what else concerns all of it.
func (e *env) statState(st *inspect.Status) string {
	state := e.style.state(st.State, st.State.String())
	if !st.Linked && st.Err == nil {
		state += ", " + e.style.magenta("unlinked")
	}
	if st.Stats != nil && st.Stats.Ended {
		state += ", ended"
	}
	return state
}

// statLines is the report in words. t is the type of the value, nil if there is none.
func statLines(st *inspect.Status, t *inspect.Type, held heldFor) (lines []statLine) {
	add := func(label, text string) { lines = append(lines, statLine{label: label, text: text}) }
	add("fate", st.Fate)
	if st.Err != nil {
		add("damage", reason(st.Err))
	}
	if st.State != shmem.Foreign && st.Err == nil {
		lines = append(lines, statValue(st, t)...)
	}
	add("memory", fmt.Sprintf("%s in use, file of %s", bytesText(st.InUse), bytesText(st.File)))
	add("file", fmt.Sprintf("%s %s %s", st.Mode, userName(st.UID), st.Path))
	add("made", madeText(st))
	if st.ID != "" {
		add("control", controlText(st))
	}
	if st.SlotsHigh > 0 {
		lines = append(lines, lockLines(st, held)...)
		add("attached", attachedText(st))
	}
	return lines
}

// statValue describes the value. A queue or topic has counters instead of a version, an undo image
// and a lock, which mean nothing there.
func statValue(st *inspect.Status, t *inspect.Type) (lines []statLine) {
	add := func(label, text string) { lines = append(lines, statLine{label: label, text: text}) }
	const untyped = "bytes, without a schema"
	if t == nil {
		add("type", untyped)
	} else {
		add("type", cmp.Or(typeName(t), st.Type, untyped))
	}
	if st.Fingerprint != 0 {
		add("fingerprint", fmt.Sprintf("%016x", st.Fingerprint))
	}
	if s := st.Stats; s != nil {
		add("traffic", statsText(s))
		for i, l := range s.Leases {
			const most = 10
			if i == most {
				add("", fmt.Sprintf("%d more", len(s.Leases)-most))
				break
			}
			lines = append(lines, leaseLine(l, i == 0))
		}
		if s.Single {
			add("ends", "Single: sender "+endText(s.Sender)+", receiver "+endText(s.Receiver))
		}
		return lines
	}
	if hasNoValue(st.Type) {
		return lines
	}
	spare := ""
	if st.PayloadCap > st.Size {
		spare = fmt.Sprintf(", room for %d", st.PayloadCap)
	}
	add("value", fmt.Sprintf("%s%s, version %d, %s", bytesText(st.Size), spare, st.Version,
		changeText(st)))
	if st.ImageOff != 0 {
		add("undo", "yes")
	} else {
		add("undo", "no: a writer that dies leaves the value half changed (Options.Undo)")
	}
	return lines
}

// leaseLine describes an attachment that is sending or receiving.
func leaseLine(l inspect.Lease, first bool) statLine {
	line := statLine{tone: notable}
	if first {
		line.label = "leases"
	}
	what := map[string]string{"send": "sends", "receive": "receives"}[l.What]
	h := l.Holder
	h.Count = 0
	line.text = fmt.Sprintf("%s %s %s, from number %d on", h, what,
		plural(uint64(l.Count), "message"), l.Oldest)
	if !l.Since.IsZero() {
		line.text += ", for " + since(l.Since)
	}
	if l.Deliveries > 1 {
		line.text += fmt.Sprintf(", delivered %d times", l.Deliveries)
	}
	if l.Blocks {
		line.text += ": the ring is full because of it"
	}
	if !l.Alive || l.Blocks {
		line.tone = alarm
	}
	return line
}

// changeText says whether the value is being changed.
func changeText(st *inspect.Status) string {
	switch {
	case !st.Changing:
		return "at rest"
	case st.Lock.Dead:
		return "its writer died changing it"
	}
	return "a process is changing it"
}

// madeText says when and by which program the segment was made. A foreign file does not record
// that.
func madeText(st *inspect.Status) string {
	ago := since(st.Created) + " ago"
	if st.Program == "" {
		return "last changed " + ago
	}
	text := fmt.Sprintf("%s by %s, pid %d", ago, st.Program, st.CreatorPID)
	if st.CreatorNS != ownNamespace() {
		text += " in another PID namespace"
	}
	return text
}

func controlText(st *inspect.Status) string {
	owner := st.OwnerWord
	if st.OwnerSlot >= 0 {
		owner += fmt.Sprintf(" by slot %d", st.OwnerSlot)
	}
	image := ", no undo image"
	if st.ImageOff != 0 {
		image = fmt.Sprintf(", undo image at %d", st.ImageOff)
	} else if st.Stats != nil || hasNoValue(st.Type) { // these never have one
		image = ""
	}
	return fmt.Sprintf("at %d%s, pages of %d, words of %d, %d of %d slots ever used, id %s; "+
		"owner word: %s",
		st.ControlOff, image, st.PageSize, st.WordSize, st.SlotsHigh, st.Info.Slots, st.ID, owner)
}

// lockLines describe the box's own lock, its readers, and the locks in the value.
func lockLines(st *inspect.Status, held heldFor) (lines []statLine) {
	if st.Stats == nil && !hasNoValue(st.Type) || len(st.Lock.Holders) > 0 {
		lines = append(lines, boxLockLine(st.Lock, held[""]))
	}
	label := "readers"
	for _, r := range st.Readers {
		lines = append(lines, statLine{label: label, text: "View in " + r.String()})
		label = ""
	}
	return append(lines, fieldLockLines(st, held)...)
}

// fieldLockLines describe the locks in the value: those that are not idle first, and then the
// others, of which many are only counted.
func fieldLockLines(st *inspect.Status, held heldFor) (lines []statLine) {
	const most = 16 // idle ones
	label, idle := "locks", 0
	for _, wantIdle := range []bool{false, true} {
		for _, l := range st.Locks {
			if l.Idle() != wantIdle {
				continue
			}
			if wantIdle {
				if idle++; idle > most {
					continue
				}
			}
			lines = append(lines, fieldLockLine(label, l, held[l.Path]))
			label = ""
		}
	}
	if idle > most {
		lines = append(lines, statLine{text: fmt.Sprintf("%d more are idle", idle-most)})
	}
	if st.MoreLocks > 0 {
		lines = append(lines, statLine{label: label,
			text: fmt.Sprintf("%d more are not listed", st.MoreLocks)})
	}
	return lines
}

func boxLockLine(l inspect.LockState, held string) statLine {
	line := statLine{label: "lock", text: l.State}
	if len(l.Holders) > 0 {
		line.text += " by " + l.Holders[0].String()
		line.tone = notable
	}
	if held != "" {
		line.text += ", " + held
	}
	if l.Dead {
		line.text += "; the next process that locks undoes what it did"
		line.tone = alarm
	}
	if l.Waiters {
		line.text += "; others wait"
	}
	return line
}

func fieldLockLine(label string, l inspect.FieldLock, held string) statLine {
	typ := strings.TrimPrefix(l.Type, "psync.")
	line := statLine{label: label, text: l.Path + "  " + typ + "  " + l.LockState.String()}
	switch {
	case l.Dead:
		line.tone = alarm
	case l.State == "locked" || l.State == "read":
		line.tone = notable
	}
	if held != "" {
		line.text += ", " + held
	}
	return line
}

func attachedText(st *inspect.Status) string {
	alive := 0
	for _, s := range st.Slots {
		if s.Alive {
			alive++
		}
	}
	return fmt.Sprintf("%d of %d slots", alive, st.Info.Slots)
}

// slotTable prints a row for each attachment, with what it holds and waits for.
func (e *env) slotTable(st *inspect.Status) {
	var rows [][]string
	var ps procs
	for _, s := range st.Slots {
		rows = append(rows, slotRow(st, s, &ps))
	}
	e.table([]column{
		{head: "  SLOT", right: true}, {head: "GEN", right: true, spare: true},
		{head: "PID", right: true}, {head: "PROCESS", least: 10},
		{head: "SINCE", right: true, spare: true},
		{head: "WHAT", least: 10, fold: true, paint: func(i int, s string) string {
			if !st.Slots[i].Alive || strings.HasPrefix(rows[i][5], "stopped") {
				return e.style.red(s)
			}
			return s
		}},
	}, rows)
}

func slotRow(st *inspect.Status, s inspect.Slot, ps *procs) []string {
	var what []string
	name, pid := "?", strconv.Itoa(s.PID)
	p := ps.of(s.PID, s.PIDNamespace)
	switch {
	case !s.Alive:
		what, name = append(what, "dead"), "-"
	case p != nil:
		name = p.name
		if p.pid != s.PID {
			pid = fmt.Sprintf("%d (%d there)", p.pid, s.PID)
		}
		if p.stopped() {
			what = append(what, p.state)
		}
	case s.PIDNamespace != ownNamespace():
		pid += " elsewhere"
	}
	if s.Owner {
		what = append(what, "owner")
	}
	if s.ReadOnly {
		what = append(what, "read-only")
	}
	if s.Passive {
		what = append(what, "passive")
	}
	peer := shmem.Peer{Slot: s.Slot, PID: s.PID, PIDNamespace: s.PIDNamespace}
	if holds := attachmentOf(row{Info: st.Info}, st, peer).Holds; len(holds) > 0 {
		what = append(what, "holds "+strings.Join(holds, ", "))
	}
	if len(s.Waits) > 0 {
		what = append(what, "waits for "+strings.Join(s.Waits, ", "))
	}
	return []string{strconv.Itoa(s.Slot), strconv.Itoa(s.Generation), pid, name, since(s.Since),
		strings.Join(what, ", ")}
}

// statsText is the counters of a queue or topic on one line.
func statsText(s *inspect.Stats) string {
	text := queueText(s)
	if isTopic(s) {
		text = topicText(s)
	}
	if s.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped (their sender died)", s.Skipped)
	}
	if s.Redelivered > 0 {
		text += fmt.Sprintf(", %d redelivered (their receiver died)", s.Redelivered)
	}
	if s.Released > 0 {
		text += fmt.Sprintf(", %s released (the subscriber died)", plural(s.Released, "hold"))
	}
	if s.Ended {
		text += ", ended"
	}
	return text
}

func isTopic(s *inspect.Stats) bool { return strings.HasPrefix(s.Kind, "topic.") }

func queueText(s *inspect.Stats) string {
	oldest := oldestText(s)
	if s.Single && s.BytesCap > 0 { // here all counters are bytes
		return fmt.Sprintf("%d bytes sent, %d received, %d of %d waiting%s", s.Sent, s.Received,
			s.Bytes, s.BytesCap, oldest)
	}
	text := fmt.Sprintf("%d sent, %d received, %d of %d waiting%s", s.Sent, s.Received, s.Depth,
		s.Capacity, oldest)
	if s.BytesCap > 0 {
		text += fmt.Sprintf(", %d of %d bytes", s.Bytes, s.BytesCap)
	}
	return text
}

// oldestText is how long the oldest message waits, if that is known.
func oldestText(s *inspect.Stats) string {
	if s.OldestSent.IsZero() {
		return ""
	}
	return ", the oldest for " + since(s.OldestSent)
}

func topicText(s *inspect.Stats) string {
	text := fmt.Sprintf("%d published, the last %d kept", s.Published, s.Capacity)
	if s.BytesCap > 0 {
		text += fmt.Sprintf(" if they have %d bytes at most", s.BytesCap)
	}
	if s.Holds > 0 {
		text += fmt.Sprintf(", %d of %d hold publishers back: the slowest, %s, is %d behind",
			s.Holds, s.MaxHolds, s.SlowestHolder, s.Lag)
	}
	if s.Lost > 0 {
		text += fmt.Sprintf(", %d lost by subscribers that were too slow", s.Lost)
	}
	return text
}

// endText names the process at an end of a Single queue.
func endText(h inspect.Holder) string {
	if h == (inspect.Holder{}) {
		return "none"
	}
	return h.String()
}

// userName reads /etc/passwd. Package os/user would ask the C library, and the command is to be a
// static program. Where files belong to no user with a number it returns "-".
func userName(uid int) string {
	if uint32(uid) == math.MaxUint32 {
		return "-"
	}
	b, _ := os.ReadFile("/etc/passwd")
	id := strconv.Itoa(uid)
	for l := range strings.Lines(string(b)) {
		if f := strings.Split(l, ":"); len(f) > 2 && f[2] == id {
			return f[0]
		}
	}
	return "uid " + id
}
