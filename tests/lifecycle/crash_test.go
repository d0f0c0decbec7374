package lifecycle_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "victim", Run: victimRole}) }

// A coin records whether it was initialised and which one it is; its Drop is logged.
type coin struct {
	ID, Check uint64 // Check is ^ID
	N         int64
}

// shortCoin is the type of a coin before N was appended.
type shortCoin struct{ ID, Check uint64 }

func (k *coin) Init() error {
	k.ID = rand.Uint64() | 1
	k.Check = ^k.ID
	if onCoinInit != nil {
		return onCoinInit()
	}
	return nil
}

// onCoinInit is called at the end of Init, if it is set.
var onCoinInit func() error

// dropLog is a file with a line for every coin that this process or a child has dropped.
var dropLog string

const (
	dropBegun step.Point = "test.drop" // Drop has begun
	dropNoted step.Point = "test.noted"
)

func (k *coin) Drop() {
	step.Reach(dropBegun)
	if f, err := os.OpenFile(dropLog, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		fmt.Fprintf(f, "%d\n", k.ID)
		f.Close()
	}
	step.Reach(dropNoted)
}

// A victim is a child process that dies at one of its steps.
type victim struct {
	conn  *shmemtest.Conn
	opts  shmem.Options
	armed bool
	at    map[step.Point]func() // called at a step
}

// ask makes the parent do something. Its steps do not count as the victim's.
func (v *victim) ask(what string) error {
	v.conn.Send("ask %s", what)
	_, err := v.conn.Recv()
	return err
}

func (v *victim) open() (*shmem.Box[coin], error)   { return shmem.Open[coin]("box", &v.opts) }
func (v *victim) attach() (*shmem.Box[coin], error) { return shmem.Attach[coin]("box", &v.opts) }

func victimRole(c *shmemtest.Conn) error {
	a := c.Args() // scenario, directory, log of drops, number of the deadly step or -1: none
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == a[0] })
	deadly, err := strconv.Atoi(a[3])
	if i < 0 || err != nil {
		return fmt.Errorf("arguments %q", a)
	}
	dropLog = a[2]
	v := &victim{conn: c, opts: shmem.Options{Dir: a[1]}, at: map[step.Point]func(){}}
	n := 0
	step.Hook(func(p step.Point) {
		if !v.armed {
			return
		}
		c.Send("step %s", p)
		if n++; n-1 == deadly {
			shmemtest.Die()
		}
		if f := v.at[p]; f != nil {
			f()
		}
	})
	return scenarios[i].victim(v)
}

// A scenario is what a victim does, and what the parent does before and meanwhile.
type scenario struct {
	name     string
	setup    func(*killRun)
	asked    map[string]func(*killRun) // what the victim can ask for
	victim   func(*victim) error
	kept     bool       // the segment is kept from the beginning
	keptFrom step.Point // the segment is kept from this step on
	once     bool       // the steps repeat: one death at each is enough
}

// A killRun is one life and death of a victim.
type killRun struct {
	*testing.T
	dir   string
	sofar []step.Point               // steps that the victim has reached
	id    uint64                     // of the coin in the segment, if known
	first *shmem.Box[coin]           // the parent's, which can become the dead owner of an orphan
	peer  interface{ Close() error } // a live peer, which must not notice anything
	value func() *coin               // the value that the peer sees
	at    string                     // the peer's segment
	heal  func()                     // undoes what setup did to the file
}

func (r *killRun) opts() *shmem.Options { return &shmem.Options{Dir: r.dir, Append: true} }

// join makes the parent a live peer.
func (r *killRun) join(b *shmem.Box[coin], err error) {
	r.Helper()
	check(r, err)
	r.peer, r.value, r.id = b, b.Value, b.Value().ID
}

func create(r *killRun) { r.join(shmem.Create[coin]("box", r.opts())) }

// ownedFirst makes the parent the owner, which dies when the victim asks for an orphan.
func ownedFirst(r *killRun) {
	b, err := shmem.Create[coin]("box", r.opts())
	check(r, err)
	r.first, r.id = b, b.Value().ID
}

var orphan = map[string]func(*killRun){"orphan": func(r *killRun) { abandon(r.first.Segment()); r.first = nil }}

func leaked(r *killRun) {
	ownedFirst(r)
	check(r, r.first.Leak())
	r.first = nil
}

func garbage(r *killRun) { ownedFirst(r); orphan["orphan"](r) }

// sharedFirst is ownedFirst for a shared segment: the parent is an equal that dies when it is asked to.
func sharedFirst(r *killRun) { createdAs(r, shmem.Shared) }

// createdKept leaves a segment that was created kept.
func createdKept(r *killRun) {
	createdAs(r, shmem.Kept)
	check(r, r.first.Close())
	r.first = nil
}

func createdAs(r *killRun, l shmem.Lifetime) {
	o := r.opts()
	o.Lifetime = l
	b, err := shmem.Create[coin]("box", o)
	check(r, err)
	r.first, r.id = b, b.Value().ID
}

// closed closes the box unless opening it has failed.
func closed[T any](b *shmem.Box[T], err error) error {
	if err != nil {
		return err
	}
	return b.Close()
}

// raced makes the victim lose the race to create: the parent creates the segment during Init.
func (v *victim) raced() { onCoinInit = func() error { return v.ask("race") } }

var race = map[string]func(*killRun){"race": create, "vanish": func(r *killRun) {
	check(r, r.peer.Close())
	r.peer, r.id = nil, 0
}}

// atOrphan returns a victim that is attached when the owner dies.
func atOrphan(f func(*shmem.Box[coin]) error) func(*victim) error {
	return func(v *victim) error {
		b, err := v.attach()
		if err != nil {
			return err
		}
		if err := v.ask("orphan"); err != nil {
			return err
		}
		v.armed = true
		return f(b)
	}
}

func ownAndClose(b *shmem.Box[coin]) error { return errors.Join(b.Own(), b.Close()) }

var scenarios = []scenario{
	{name: "create", victim: func(v *victim) error { v.armed = true; return closed(v.open()) }},
	{name: "create with a temporary name", victim: func(v *victim) error {
		sys.AvoidNameless = true
		v.armed = true
		return closed(v.open())
	}},
	{name: "create kept", keptFrom: step.CreateLink, victim: func(v *victim) error {
		v.armed, v.opts.Lifetime = true, shmem.Kept
		return closed(v.open())
	}},
	{name: "lose the race to create", asked: race, victim: func(v *victim) error {
		v.armed = true
		v.raced()
		return closed(v.open())
	}},
	{name: "lose the race with a temporary name", asked: race, victim: func(v *victim) error {
		sys.AvoidNameless = true
		v.armed = true
		v.raced()
		return closed(v.open())
	}},
	{name: "lose the race and find the winner gone", asked: race, victim: func(v *victim) error {
		v.armed = true
		v.raced()
		v.at[step.CreateLost] = func() { _ = v.ask("vanish") }
		return closed(v.open())
	}},
	{name: "attach", setup: create, victim: func(v *victim) error { v.armed = true; return closed(v.attach()) }},
	{name: "attach to kept", kept: true, setup: leaked, victim: func(v *victim) error { v.armed = true; return closed(v.open()) }},
	{name: "attach to garbage", setup: garbage, victim: func(v *victim) error { v.armed = true; return closed(v.open()) }},
	{name: "attach to garbage only", setup: garbage, victim: func(v *victim) error {
		v.armed = true
		if _, err := v.attach(); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("attached to garbage: %v", err)
		}
		return nil
	}},
	{name: "append", setup: func(r *killRun) {
		b, err := shmem.Create[shortCoin]("box", &shmem.Options{Dir: r.dir, Reserve: 64})
		check(r, err)
		s := b.Value()
		s.ID, s.Check = 5, ^uint64(5)
		r.peer, r.id, r.value = b, 5, func() *coin { return &coin{ID: s.ID, Check: s.Check} }
	}, victim: func(v *victim) error {
		v.armed, v.opts.Append = true, true
		return closed(v.attach())
	}},
	{name: "box of an untyped segment", setup: func(r *killRun) {
		s, err := shmem.CreateSegment("box", 64, r.opts())
		check(r, err)
		r.peer, r.value = s, func() *coin { return &coin{Check: ^uint64(0)} }
	}, victim: func(v *victim) error {
		v.armed = true
		s, err := shmem.AttachSegment("box", &v.opts)
		if err != nil {
			return err
		}
		return closed(shmem.BoxOf[coin](s))
	}},
	{name: "close as owner", asked: map[string]func(*killRun){"join": func(r *killRun) {
		r.join(shmem.Attach[coin]("box", r.opts()))
	}}, victim: func(v *victim) error {
		b, err := v.open()
		if err != nil {
			return err
		}
		if err := v.ask("join"); err != nil {
			return err
		}
		v.armed = true
		return b.Close()
	}},
	{name: "close last at an orphan", setup: ownedFirst, asked: orphan, victim: atOrphan((*shmem.Box[coin]).Close)},
	{name: "close at an orphan", setup: func(r *killRun) {
		ownedFirst(r)
		r.join(shmem.Attach[coin]("box", r.opts()))
	}, asked: orphan, victim: atOrphan((*shmem.Box[coin]).Close)},
	{name: "own", setup: create, victim: func(v *victim) error {
		b, err := v.attach()
		if err != nil {
			return err
		}
		v.armed = true
		return ownAndClose(b)
	}},
	{name: "own an orphan", setup: ownedFirst, asked: orphan, victim: atOrphan(ownAndClose)},
	{name: "create shared", victim: func(v *victim) error {
		v.armed, v.opts.Lifetime = true, shmem.Shared
		return closed(v.open())
	}},
	{name: "close last of a shared one", setup: sharedFirst, asked: orphan, victim: atOrphan((*shmem.Box[coin]).Close)},
	{name: "leak a shared one", setup: sharedFirst, asked: orphan, victim: atOrphan((*shmem.Box[coin]).Leak)},
	{name: "own a shared one", setup: sharedFirst, asked: orphan, victim: atOrphan(ownAndClose)},
	{name: "close at a shared one", setup: func(r *killRun) {
		sharedFirst(r)
		r.join(shmem.Attach[coin]("box", r.opts()))
	}, asked: orphan, victim: atOrphan((*shmem.Box[coin]).Close)},
	{name: "attach to shared garbage", setup: func(r *killRun) {
		sharedFirst(r)
		orphan["orphan"](r)
	}, victim: func(v *victim) error { v.armed = true; return closed(v.open()) }},
	{name: "own what was created kept", kept: true, setup: createdKept, victim: func(v *victim) error {
		b, err := v.attach()
		if err != nil {
			return err
		}
		v.armed = true
		return ownAndClose(b)
	}},
	{name: "leak", victim: func(v *victim) error {
		b, err := v.open()
		if err != nil {
			return err
		}
		v.conn.Send("id %d", b.Value().ID)
		v.armed = true
		return b.Leak()
	}},
	{name: "leak an orphan", setup: ownedFirst, asked: orphan, victim: atOrphan((*shmem.Box[coin]).Leak)},
	{name: "remove live", setup: create, victim: func(v *victim) error { v.armed = true; return shmem.Remove(v.opts.Dir, "box") }},
	{name: "remove kept", kept: true, setup: leaked, victim: func(v *victim) error {
		v.armed = true
		return shmem.Remove(v.opts.Dir, "box")
	}},
	{name: "remove without the gate", setup: func(r *killRun) {
		create(r)
		f, err := sys.Open(filepath.Join(r.dir, "box"), true)
		check(r, err)
		check(r, f.Lock(sys.GateByte, false))
		r.heal = func() { check(r, f.Close()) }
	}, victim: func(v *victim) error {
		v.armed = true
		return shmem.Remove(v.opts.Dir, "box")
	}},
	{name: "reclaim", setup: func(r *killRun) {
		garbage(r)
		check(r, os.WriteFile(filepath.Join(r.dir, ".shmem-"+strings.Repeat("d", 32)), make([]byte, 100), 0o600))
		r.join(shmem.Create[coin]("live", r.opts()))
		r.at = "live"
	}, victim: func(v *victim) error {
		v.armed = true
		for info, err := range shmem.Reclaim(v.opts.Dir) {
			if err != nil || info.Name == "live" {
				return fmt.Errorf("reclaim: %v, %v", info.Name, err)
			}
		}
		return nil
	}},
}

// reachable says of steps that no scenario reaches on every system whether one should here.
var reachable = map[step.Point]func() bool{
	step.CreateNoSpace: func() bool { return false },
	step.AttachReader:  func() bool { return false },
}

// nameless reports whether this system has files without a name.
func nameless(t *testing.T) bool {
	fd, err := sys.CreateNameless(shmemtest.Dir(t), 0o600)
	if err == nil {
		check(t, fd.Close())
	}
	return err == nil
}

// TestKillMatrix kills a process at every step of every protocol, one process at a time. A process
// that is being started has copies of all descriptors of this process, and with them its locks,
// until it runs its program: a lock that this process has freed would still be seen for a moment.
// Race builds kill at a third of the steps.
func TestKillMatrix(t *testing.T) {
	dir := t.TempDir()
	dropLog = filepath.Join(dir, "drops")
	check(t, os.WriteFile(dropLog, nil, 0o666))
	// Wine cannot do what os.RemoveAll does.
	t.Cleanup(func() { check(t, errors.Join(os.Remove(dropLog), os.Remove(dir))) })
	reached := map[step.Point]bool{}
	kills, ran := 0, 0
	t.Run("at", func(t *testing.T) {
		for _, sc := range scenarios {
			t.Run(sc.name, func(t *testing.T) {
				ran++
				dir := shmemtest.Dir(t)
				whole := sc.run(t, dir, -1)
				n := 0
				for i, p := range whole {
					if (sc.once || raced) && slices.Contains(whole[:i], p) || raced && reached[p] && (i+kills)%3 > 0 {
						continue
					}
					got := sc.run(t, dir, i)
					if len(got) != i+1 || got[i] != p {
						t.Errorf("steps %v, then %v: the protocol is not the same every time", whole, got)
					}
					if n++; t.Failed() {
						break
					}
				}
				kills += n
				for _, p := range whole {
					reached[p] = true
				}
			})
		}
	})
	t.Logf("%d kills in %d scenarios", kills, len(scenarios))
	if testing.Short() || t.Failed() || ran < len(scenarios) {
		return // with -run of some scenarios not every step is reached
	}
	for _, p := range step.Lifecycle {
		if p == step.CreateFile && !nameless(t) {
			continue
		}
		if can := reachable[p]; !reached[p] && (can == nil || can()) {
			t.Errorf("step %s is never reached", p)
		}
	}
	wantOneDrop(t)
}

// run runs one victim, which dies at the given step or not at all, and checks what it leaves. It
// returns the steps that the victim has reached.
func (sc *scenario) run(t *testing.T, dir string, deadly int) []step.Point {
	t.Helper()
	r := &killRun{T: t, dir: dir, at: "box"}
	if sc.setup != nil {
		sc.setup(r)
	}
	c := shmemtest.Start(t, "victim", sc.name, r.dir, dropLog, strconv.Itoa(deadly))
	for {
		line, err := c.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		switch verb, rest, _ := strings.Cut(line, " "); verb {
		case "step":
			r.sofar = append(r.sofar, step.Point(rest))
		case "id":
			r.id, _ = strconv.ParseUint(rest, 10, 64)
		case "ask":
			sc.asked[rest](r)
			c.Send("done")
		}
	}
	if err := c.Wait(); deadly < 0 && err != nil || deadly >= 0 && !shmemtest.Killed(err) {
		t.Errorf("the victim that is to die at step %d: %v after %v", deadly, err, r.sofar)
	}
	r.aftermath(sc)
	if t.Failed() {
		t.Logf("at step %d: %v", deadly, r.sofar)
	}
	return r.sofar
}

func (r *killRun) past(points ...step.Point) bool {
	return slices.ContainsFunc(points, func(p step.Point) bool { return slices.Contains(r.sofar, p) })
}

// aftermath checks what the victim has left, and removes it.
func (r *killRun) aftermath(sc *scenario) {
	if r.heal != nil {
		r.heal()
	}
	for info, err := range shmem.List(r.dir) {
		if err != nil || info.Err != nil || info.State == shmem.Foreign {
			r.Errorf("half-made: %s is %v (%v, %v)", info.Name, info.State, info.Err, err)
		}
	}
	// Dropped or removed: the name must be gone, or lead to garbage.
	gone := r.past(step.DetachDropped, step.RemoveRenamed, step.RemoveUnlink)
	kept := !gone && (sc.kept || r.past(step.LeakWord) || sc.keptFrom != "" && r.past(sc.keptFrom))
	if r.first != nil { // the victim did not ask for the owner's death
		r.join(r.first, nil)
	}
	if r.peer != nil {
		r.withPeer(gone)
	}
	r.reclaimCopy(kept)

	b, err := shmem.Open[coin]("box", r.opts())
	if err != nil {
		r.Fatalf("the next Open: %v", err)
	}
	k := b.Value()
	switch {
	case k.Check != ^k.ID:
		r.Errorf("the next Open sees what was never initialised: %+v", *k)
	case kept && (r.id != 0 && k.ID != r.id || b.Owned()):
		r.Errorf("the next Open of a kept box sees another one, or owns it: %v", b.Owned())
	case !kept && (k.ID == r.id || !b.Owned()):
		r.Errorf("the next Open sees a dead box: owned %v", b.Owned())
	}
	if kept {
		check(r, b.Own())
	}
	check(r, b.Close())
	reclaim(r, r.dir)
	wantNames(r, r.dir)
}

// withPeer checks that a live peer has noticed nothing, and that the name leads to its segment
// unless gone.
func (r *killRun) withPeer(gone bool) {
	if taken := reclaim(r, r.dir); slices.Contains(taken, r.at) && !gone {
		r.Errorf("reclaim took a live segment away")
	}
	if v := r.value(); v.ID != r.id || v.Check != ^v.ID {
		r.Errorf("a live peer sees %+v", *v)
	}
	b, err := shmem.Attach[coin](r.at, r.opts())
	switch {
	case gone && !errors.Is(err, fs.ErrNotExist):
		r.Errorf("attach after the drop: %v", err)
	case gone:
	case err != nil:
		r.Errorf("a live segment is lost: %v", err)
	case b.Value().ID != r.id:
		r.Errorf("attach leads to %+v", *b.Value())
	}
	if err == nil {
		check(r, b.Close())
	}
	check(r, r.peer.Close())
}

// reclaimCopy checks that Reclaim alone removes everything that is not kept. There is no
// attachment, so a copy is as good as the directory.
func (r *killRun) reclaimCopy(kept bool) {
	dir := shmemtest.Dir(r)
	for _, n := range names(r, r.dir) {
		b, err := os.ReadFile(filepath.Join(r.dir, n))
		check(r, err)
		copyTo(r, filepath.Join(dir, n), b)
	}
	reclaim(r, dir)
	if kept {
		wantNames(r, dir, "box")
		check(r, shmem.Remove(dir, "box"))
		return
	}
	wantNames(r, dir)
}

// copyTo writes the bytes of a segment to a file, as if they had been written for it.
func copyTo(t testing.TB, path string, data []byte) {
	t.Helper()
	check(t, os.WriteFile(path, data, 0o600))
	if len(data) < format.HeaderSize || string(data[len(data)-format.HeaderSize:][:8]) != format.Magic {
		return
	}
	st, err := sys.Lstat(path)
	check(t, err)
	format.Adopt(data[len(data)-format.HeaderSize:], st.Ino, st.Dev)
	check(t, os.WriteFile(path, data, 0o600))
}

// wantOneDrop checks that no coin was dropped twice.
func wantOneDrop(t *testing.T) {
	log, err := os.ReadFile(dropLog)
	check(t, err)
	lines := bytes.Fields(log)
	if len(lines) == 0 {
		t.Error("no coin was dropped")
	}
	seen := map[string]bool{}
	for _, l := range lines {
		if seen[string(l)] {
			t.Errorf("coin %s was dropped twice", l)
		}
		seen[string(l)] = true
	}
}
