package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// dir returns an empty directory in shared memory.
func dir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp(sys.DefaultDir, "shmem-segment-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(d) })
	return d
}

// open attaches to, or creates, a segment "s" of 64 bytes, and closes it at the end of the test.
func open(t testing.TB, dir string, edit ...func(*Request)) *Attachment {
	t.Helper()
	a, err := tryOpen(dir, edit...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Detach(false) })
	return a
}

func tryOpen(dir string, edit ...func(*Request)) (*Attachment, error) {
	r := Request{Name: "s", Config: Config{Dir: dir}, Create: true, Attach: true, Size: 64}
	for _, f := range edit {
		f(&r)
	}
	return Open(r)
}

func attachOnly(r *Request)    { r.Create, r.Size = false, 0 }
func createdKept(r *Request)   { r.Config.Lifetime = format.LifetimeKept }
func createdShared(r *Request) { r.Config.Lifetime = format.LifetimeShared }
func passive(r *Request)       { r.Config.Passive = true }
func noCleanup(r *Request)     { r.NoCleanup = true }

func exists(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "s"))
	return err == nil
}

// steps returns the steps that f reaches.
func steps(f func()) (reached []step.Point) {
	step.Hook(func(p step.Point) { reached = append(reached, p) })
	defer step.Hook(nil)
	f()
	return reached
}

// nameless reports whether files in dir can be without a name.
func nameless(dir string) bool {
	fd, err := sys.CreateNameless(dir, 0o600)
	if err == nil {
		fd.Close()
	}
	return err == nil
}

func TestSteps(t *testing.T) {
	long := &format.Type{Kind: format.Array, Size: 64, Align: 1, Len: 64, Elem: &format.Type{Kind: format.Uint8, Size: 1, Align: 1}}
	var d string
	var a *Attachment
	leave := func(a *Attachment) { _ = a.Detach(false) }
	for _, c := range []struct {
		name    string
		prepare func()
		do      func()
		want    string
	}{
		{"create", nil, func() { a = open(t, d) },
			"create.file create.allocate create.map create.slot create.control create.owner create.init create.link"},
		{"create with a temporary name", func() { sys.AvoidNameless = true }, func() { a = open(t, d) },
			"create.temp create.tempgate create.allocate create.map create.slot create.control create.owner create.init create.link"},
		{"attach", func() { open(t, d) }, func() { a = open(t, d) },
			"attach.open attach.map attach.gate attach.read attach.slot attach.record attach.release attach.counted attach.populate"},
		{"attach to garbage", func() { open(t, d).Abandon() }, func() { _, _ = tryOpen(d, attachOnly) },
			"attach.open attach.map attach.gate attach.read attach.release"},
		{"bind", func() { a = open(t, d) }, func() { _ = a.BindTyped(long, Binding{}) },
			"schema.gate schema.write"},
		{"own", func() { open(t, d); a = open(t, d) }, func() { _ = a.Own() },
			"own.gate own.word own.release own.counted"},
		{"close as owner", func() { a = open(t, d) }, func() { leave(a) },
			"detach.read detach.gate detach.dropped detach.unlink detach.release detach.told detach.drop detach.retire detach.slot"},
		{"close", func() { open(t, d); a = open(t, d) }, func() { leave(a) },
			"detach.read detach.unlock detach.look detach.counted detach.drop detach.retire detach.slot"},
		{"close the last one", func() { a = open(t, d, createdShared) }, func() { leave(a) },
			"detach.read detach.gate detach.unread detach.dropped detach.unlink detach.release detach.told detach.drop detach.retire detach.slot"},
		{"close the last one beside a record of a dead one", func() { a = open(t, d, createdShared); open(t, d).Abandon() }, func() { leave(a) },
			"detach.read detach.unlock detach.look detach.gate detach.unread detach.dropped detach.unlink detach.relock detach.release detach.told detach.drop detach.retire detach.slot"},
		{"close a kept one", func() { a = open(t, d, createdKept) }, func() { leave(a) },
			"detach.read detach.unlock detach.counted detach.drop detach.retire detach.slot"},
		{"leak", func() { a = open(t, d) }, func() { _ = a.Detach(true) },
			"detach.read leak.gate leak.word detach.release detach.counted detach.drop detach.retire detach.slot"},
		{"remove", func() { open(t, d) }, func() { _ = Remove(d, "s") },
			"remove.gate remove.unlink remove.told"},
		{"reclaim", func() { open(t, d).Abandon() }, func() {
			for range Reclaim(d) {
			}
		},
			"reclaim.open reclaim.gate reclaim.unlink"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d = dir(t)
			want := c.want
			if !nameless(d) {
				want = strings.Replace(want, "create.file", "create.temp create.tempgate", 1)
			}
			defer func() { sys.AvoidNameless = false }()
			if c.prepare != nil {
				c.prepare()
			}
			got := steps(c.do)
			if s := strings.Trim(fmt.Sprint(got), "[]"); s != want {
				t.Errorf("steps\n%s, want\n%s", s, want)
			}
			at := -1
			for _, p := range got {
				i := slices.Index(step.Lifecycle, p)
				if !slices.Contains(got, step.LeakGate) && i < at {
					t.Errorf("%s is not where step.Lifecycle lists it", p)
				}
				at = i
			}
		})
	}
}

func protocol(p step.Point) string {
	name, _, _ := strings.Cut(string(p), ".")
	return name
}

// While an attachment maps the file and makes its pages present, other processes can have the gate.
func TestPopulateWithoutGate(t *testing.T) {
	d := dir(t)
	const size = 1 << 20
	open(t, d, func(r *Request) { r.Size, r.Config.Populate = size, -1 })
	other, err := sys.Open(filepath.Join(d, "s"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	gate := map[step.Point]bool{}
	step.Hook(func(p step.Point) {
		if held, err := other.Held(sys.GateByte, 1); protocol(p) == "attach" && err == nil {
			gate[p] = held
		}
	})
	defer step.Hook(nil)
	open(t, d, attachOnly)
	for p, want := range map[step.Point]bool{
		step.AttachMap: false, step.AttachGate: true, step.AttachRead: true, step.AttachRecord: true,
		step.AttachRelease: false, step.AttachPopulate: false,
	} {
		if held, reached := gate[p]; !reached || held != want {
			t.Errorf("at %s: reached %v, the gate is held %v, want %v", p, reached, held, want)
		}
	}
	if got, want := resident(t, d), size; got < want {
		t.Errorf("%d bytes of the payload are present, want %d", got, want)
	}
}

// resident returns the bytes of files in dir that this process has present in its largest mapping.
func resident(t testing.TB, dir string) (most int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for line := range strings.Lines(string(smaps)) {
		if f := strings.Fields(line); strings.Contains(f[0], "-") && len(f) > 4 {
			in = strings.Contains(line, dir)
		}
		var kb int
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &kb); err == nil && in {
			most = max(most, kb<<10)
		}
	}
	return most
}

// What an attach, a look and a reclaim make of each owner word.
func TestGarbage(t *testing.T) {
	for _, c := range []struct {
		name     string
		owner    func(a, b *Attachment) format.Owner // a has died, b may live
		attached bool
		state    State
	}{
		{"dropped", word(format.Dropped), false, Garbage},
		{"dropped, attached", word(format.Dropped), true, Garbage},
		{"kept", word(format.Kept), false, Idle},
		{"kept, attached", word(format.Kept), true, Live},
		{"shared", word(format.Shared), false, Garbage},
		{"shared, attached", word(format.Shared), true, Live},
		{"no owner", word(format.NoOwner), false, Garbage},
		{"no owner, attached", word(format.NoOwner), true, Orphaned},
		{"dead owner", func(a, _ *Attachment) format.Owner { return format.Owner{State: format.Owned, ID: a.id} }, false, Garbage},
		{"dead owner, attached", func(a, _ *Attachment) format.Owner { return format.Owner{State: format.Owned, ID: a.id} }, true, Orphaned},
		{"living owner", func(_, b *Attachment) format.Owner { return format.Owner{State: format.Owned, ID: b.id} }, true, Live},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dir(t)
			a, b := open(t, d), open(t, d)
			if err := a.setOwner(c.owner(a, b)); err != nil {
				t.Fatal(err)
			}
			a.Abandon()
			if !c.attached {
				b.Abandon()
			}
			l, err := Stat(d, "s")
			if err != nil || l.State != c.state {
				t.Errorf("state %v (%v), want %v", l.State, err, c.state)
			}
			garbage := c.state == Garbage
			got, err := tryOpen(d, attachOnly)
			if garbage != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("attach: %v, garbage %v", err, garbage)
			}
			if err == nil {
				got.Abandon()
			}
			for range Reclaim(d) {
			}
			if exists(d) == garbage {
				t.Errorf("after Reclaim the name exists: %v, garbage %v", exists(d), garbage)
			}
		})
	}
}

func word(s format.OwnerState) func(a, b *Attachment) format.Owner {
	return func(*Attachment, *Attachment) format.Owner { return format.Owner{State: s} }
}

// Which attachment cleans up, by the owner word and the other attachments.
func TestResign(t *testing.T) {
	owned := func(a *Attachment) format.Owner { return format.Owner{State: format.Owned, ID: a.id} }
	is := func(s format.OwnerState) func(a, other *Attachment) format.Owner {
		return func(*Attachment, *Attachment) format.Owner { return format.Owner{State: s} }
	}
	mine := func(a, _ *Attachment) format.Owner { return owned(a) }
	others := func(_, other *Attachment) format.Owner { return owned(other) }
	for _, c := range []struct {
		name    string
		owner   func(a, other *Attachment) format.Owner
		dead    bool // the other one dies
		leak    bool
		edit    func(*Request)
		cleanup bool
		state   format.OwnerState // afterwards
		linked  bool
	}{
		{name: "owner", owner: mine, cleanup: true, state: format.Dropped},
		{name: "owner, the last one", owner: mine, dead: true, cleanup: true, state: format.Dropped},
		{name: "owner leaks", owner: mine, leak: true, state: format.Kept, linked: true},
		{name: "not the owner", owner: others, state: format.Owned, linked: true},
		{name: "not the owner leaks", owner: others, leak: true, state: format.Owned, linked: true},
		{name: "orphan, the last one", owner: others, dead: true, cleanup: true, state: format.Dropped},
		{name: "orphan, the last one leaks", owner: others, dead: true, leak: true, state: format.Kept, linked: true},
		{name: "orphan, without cleanup", owner: others, dead: true, edit: noCleanup, state: format.Dropped},
		{name: "orphan, passive", owner: others, dead: true, edit: passive, state: format.Owned, linked: true},
		{name: "shared, passive", owner: is(format.Shared), dead: true, edit: passive, state: format.Shared, linked: true},
		{name: "dropped, not unlinked, passive", owner: is(format.Dropped), edit: passive, state: format.Dropped, linked: true},
		{name: "shared", owner: is(format.Shared), state: format.Shared, linked: true},
		{name: "shared, the last one", owner: is(format.Shared), dead: true, cleanup: true, state: format.Dropped},
		{name: "shared, leaked", owner: is(format.Shared), leak: true, state: format.Kept, linked: true},
		{name: "created kept, owner dead", owner: others, dead: true, edit: createdKept, state: format.Owned, linked: true},
		{name: "created shared, owner dead", owner: others, dead: true, edit: createdShared, cleanup: true, state: format.Dropped},

		{name: "no owner", owner: is(format.NoOwner), state: format.NoOwner, linked: true},
		{name: "no owner, the last one", owner: is(format.NoOwner), dead: true, cleanup: true, state: format.Dropped},
		{name: "kept", owner: is(format.Kept), dead: true, state: format.Kept, linked: true},
		{name: "dropped, not unlinked", owner: is(format.Dropped), state: format.Dropped},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dir(t)
			edit := c.edit
			if edit == nil {
				edit = func(*Request) {}
			}
			other := open(t, d, edit, func(r *Request) { r.Config.Passive = false })
			a := open(t, d, edit)
			if err := a.setOwner(c.owner(a, other)); err != nil {
				t.Fatal(err)
			}
			if c.dead {
				other.Abandon()
			}
			dropped := false
			a.Bind(Binding{Drop: func() { dropped = true }})
			look, err := sys.Open(filepath.Join(d, "s"), false)
			if err != nil {
				t.Fatal(err)
			}
			defer look.Close()
			if err := a.Detach(c.leak); err != nil {
				t.Error(err)
			}
			ctl := control{file: look, stat: a.stat, head: a.head}
			o, err := ctl.owner()
			if err != nil || dropped != c.cleanup || o.State != c.state || exists(d) != c.linked {
				t.Errorf("dropped %v, owner %v (%v), linked %v; want %v, %v, %v",
					dropped, o.State, err, exists(d), c.cleanup, c.state, c.linked)
			}
		})
	}
}

// The name of another segment is never unlinked.
func TestUnlinksOnlyItsOwn(t *testing.T) {
	d := dir(t)
	a := open(t, d)
	if err := Remove(d, "s"); err != nil {
		t.Fatal(err)
	}
	b := open(t, d)
	if err := a.Detach(false); err != nil || !b.Linked() {
		t.Errorf("after the Close of a former owner (%v) the new segment is linked: %v", err, b.Linked())
	}
}

func TestSlots(t *testing.T) {
	d := dir(t)
	two := func(r *Request) { r.Config.Slots = 2 }
	a, b := open(t, d, two), open(t, d)
	_, err := tryOpen(d)
	if !errors.Is(err, errs.NoSlot) || !strings.Contains(err.Error(), "Options.Slots") {
		t.Errorf("with every slot taken: %v", err)
	}
	first := b.id
	_ = b.Detach(false)
	c := open(t, d)
	if c.id.Slot() != first.Slot() || c.id.Gen() == first.Gen() {
		t.Errorf("the next attachment has id %d:%d, the former one had %d:%d", c.id.Slot(), c.id.Gen(), first.Slot(), first.Gen())
	}
	if alive, err := a.alive(first); alive || err != nil {
		t.Errorf("the former attachment lives: %v, %v", alive, err)
	}
	if alive, err := a.alive(c.id); !alive || err != nil {
		t.Errorf("the new attachment lives: %v, %v", alive, err)
	}
}

// The error of a segment that does not fit stays errs.NoSpace when Timeout ends the tries.
func TestNoSpaceAtDeadline(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		t.Skip("memory may be larger than the largest segment here")
	}
	_, err := tryOpen(dir(t), func(r *Request) {
		r.Size, r.Config.Timeout, r.Config.UndoLimit = math.MaxInt/4, 1, -1
	})
	e, ok := errors.AsType[*SpaceError](err)
	if !ok || !errors.Is(err, errs.NoSpace) || e.Need < math.MaxInt/4 {
		t.Errorf("%v, want a *SpaceError", err)
	}
}

// A gate that another attachment holds is errs.Busy, with how to find that process.
func TestBusy(t *testing.T) {
	d := dir(t)
	a := open(t, d)
	if err := a.enter(time.Now()); err != nil {
		t.Fatal(err)
	}
	defer a.leave()
	soon := func(r *Request) { r.Config.Timeout = time.Millisecond }
	if _, err := tryOpen(d, soon); !errors.Is(err, errs.Busy) || !strings.Contains(err.Error(), "OFDLCK") {
		t.Errorf("%v, want errs.Busy", err)
	}
}

// A name that leads to another file whenever the gate is taken is errs.Contended, not errs.Busy.
func TestContended(t *testing.T) {
	d := dir(t)
	a := open(t, d)
	image := make([]byte, a.stat.Size)
	if _, err := a.file.ReadAt(image, 0); err != nil {
		t.Fatal(err)
	}
	step.Hook(func(p step.Point) {
		if p == step.AttachRead {
			_ = os.Remove(filepath.Join(d, "s"))
			_ = os.WriteFile(filepath.Join(d, "s"), image, 0o600)
			st, _ := sys.Lstat(filepath.Join(d, "s"))
			format.Adopt(image[len(image)-format.HeaderSize:], st.Ino, st.Dev)
			_ = os.WriteFile(filepath.Join(d, "s"), image, 0o600)
		}
	})
	defer step.Hook(nil)
	_, err := tryOpen(d, func(r *Request) { r.Config.Timeout = time.Millisecond })
	if !errors.Is(err, errs.Contended) || errors.Is(err, errs.Busy) {
		t.Errorf("%v, want errs.Contended", err)
	}
}

func TestWithDefaults(t *testing.T) {
	got, err := Config{}.withDefaults()
	want := Config{
		Dir: sys.DefaultDir, Timeout: 5 * time.Second, Mode: 0o600, Slots: 256, Populate: 64 << 20, UndoLimit: 1 << 20,
		Lifetime: format.LifetimeOwned, DefaultLifetime: format.LifetimeOwned,
	}
	if err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for field, c := range map[string]Config{
		"Mode -rwx": {Mode: fs.ModeSetuid | 0o600}, "Mode ": {Mode: 0o400}, "Slots 1025": {Slots: 1025}, "Slots -1": {Slots: -1},
		"Reserve -1": {Reserve: -1}, "Timeout -1ns": {Timeout: -1}, "Offset -1": {Offset: -1, Foreign: true}, "Offset 8": {Offset: 8},
	} {
		name, _, _ := strings.Cut(field, " ")
		if _, err := c.withDefaults(); err == nil || !strings.Contains(err.Error(), "Options."+name) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestUndoLimit(t *testing.T) {
	for _, c := range []struct {
		limit, size int
		image       bool
	}{{0, 1 << 20, true}, {0, 1<<20 + 1, false}, {-1, 1, false}, {math.MaxInt, 2 << 20, true}} {
		a := open(t, dir(t), func(r *Request) { r.Size, r.Config.UndoLimit = c.size, c.limit })
		if got := a.head.ImageOff != 0; got != c.image {
			t.Errorf("limit %d, %d bytes: undo image %v, want %v", c.limit, c.size, got, c.image)
		}
	}
}

// Init sees zero memory and no name; its error leaves nothing.
func TestInit(t *testing.T) {
	d := dir(t)
	fails := errors.New("no")
	_, err := tryOpen(d, func(r *Request) {
		r.Init = func(m *mem.Mapping) error {
			if exists(d) || slices.Max(m.Payload()[:64]) != 0 {
				t.Error("Init sees the name, or memory that is not zero")
			}
			return fails
		}
	})
	if !errors.Is(err, fails) || exists(d) {
		t.Errorf("%v, the name exists: %v", err, exists(d))
	}
}
