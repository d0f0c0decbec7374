package kv_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "victim", Run: victim},
		shmemtest.Role{Name: "counter", Run: counter})
}

// value has words enough for a mixture to be seen.
type value [20]uint64

func valueOf(n uint64) (v value) {
	for i := range v {
		v[i] = n
	}
	return v
}

// whole returns the number in a value.
func (v value) whole(t *testing.T) uint64 {
	t.Helper()
	if v != valueOf(v[0]) {
		t.Errorf("a mixture: %v", v)
	}
	return v[0]
}

// victim makes a change, and stays at a step of it.
func victim(c *shmemtest.Conn) error {
	m, err := kv.Attach[uint64, value]("m", &kv.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if string(p) == c.Args()[2] {
			c.Send("reached")
			select {}
		}
	})
	op := changes[c.Args()[1]]
	if op == nil {
		return fmt.Errorf("what is %q?", c.Args()[1])
	}
	if err := op(m); err != nil {
		return err
	}
	c.Send("done")
	_, err = c.Recv()
	return err
}

// The changes that a victim makes. Key 1 is there, key 2 is not.
var changes = map[string]func(*kv.Map[uint64, value]) error{
	"replace": func(m *kv.Map[uint64, value]) error { return m.Set(background, 1, valueOf(100)) },
	"insert":  func(m *kv.Map[uint64, value]) error { return m.Set(background, 2, valueOf(100)) },
	"delete":  func(m *kv.Map[uint64, value]) error { return second(m.Delete(background, 1)) },
	"update": func(m *kv.Map[uint64, value]) error {
		return m.Update(background, 1, func(v *value, _ bool) (bool, error) {
			*v = valueOf(v[0] + 99)
			return true, nil
		})
	},
}

// The steps of these changes.
var stepsOf = map[string][]step.Point{
	"replace": {step.LockTaken, step.MapIntent, step.MapFilled, step.MapLinked, step.MapVersion, step.MapSpare,
		step.MapDone, step.UnlockFree},
	"insert": {step.MapIntent, step.MapTaken, step.MapFilled, step.MapLinked, step.MapVersion,
		step.MapSpare, step.MapDone},
	"delete": {step.MapIntent, step.MapLinked, step.MapVersion, step.MapFreed, step.MapDone},
	"update": {step.MapFilled, step.MapLinked},
	// insert into a full map that evicts
	"evict": {step.MapEvict, step.MapIntent, step.MapFreed, step.MapDone, step.MapTaken, step.MapLinked},
	// replace where another process has died at MapLinked
	"repair": {step.LockOver, step.MapRepair, step.MapFilled},
}

const (
	killCapacity = 40
	lastKey      = 100 // no key before the deaths is larger
)

// TestKillAtEveryStep stops a process at each step of each change, and then kills it. Get waits for
// neither. The change is made or not, and every entry that there is room for can be stored.
func TestKillAtEveryStep(t *testing.T) {
	reached := map[step.Point]bool{}
	for _, change := range slices.Sorted(maps.Keys(stepsOf)) {
		for i, p := range stepsOf[change] {
			reached[p] = true
			if robust.RaceEnabled && i > 0 {
				continue // the race detector sees nothing in another process, and starts slowly
			}
			t.Run(change+" "+string(p), func(t *testing.T) { killAt(t, change, p) })
		}
	}
	for _, p := range step.Map {
		if !reached[p] {
			t.Errorf("no process is killed at %s", p)
		}
	}
}

func killAt(t *testing.T, change string, p step.Point) {
	dir := shmemtest.Dir(t)
	m := open[uint64, value](t, dir, kv.Options{Capacity: killCapacity, Evict: change == "evict"})
	before := map[uint64]uint64{1: 1}
	for k := uint64(10); k < 20; k++ {
		before[k] = k
	}
	for k, v := range before {
		check(t, m.Set(background, k, valueOf(v)))
	}
	next := uint64(20)
	fill := func() { // where the hashes are unlucky, one of the last keys takes another's place
		for ; change == "evict" && m.Len() < killCapacity; next++ {
			check(t, m.Set(background, next, valueOf(next)))
		}
	}
	fill()
	op := change
	switch change {
	case "evict":
		op = "insert"
	case "repair":
		op = "replace"
		c := shmemtest.Start(t, "victim", dir, op, string(step.MapLinked))
		c.Expect(t, "reached")
		c.Kill()
	}
	c := shmemtest.Start(t, "victim", dir, op, string(p))
	for p == step.MapEvict {
		line, err := c.Recv()
		check(t, err)
		if line == "reached" {
			break
		}
		c.Kill() // the entry that it removed was one of the same stripe
		_, err = m.Delete(background, 2)
		check(t, err)
		fill()
		c = shmemtest.Start(t, "victim", dir, op, string(p))
	}
	if p != step.MapEvict {
		c.Expect(t, "reached")
	}
	check(t, c.Stop())
	during := map[uint64]uint64{}
	for k := range uint64(lastKey) { // no Get waits for a stopped process
		if v, found, err := m.Get(k); err != nil {
			t.Fatal(err)
		} else if found {
			during[k] = v.whole(t)
		}
	}
	c.Kill()
	outcome(t, change, before, during)
	checkMap(t, m, change, before, during)
	check(t, m.Close())
}

// outcome checks that a map is as before, or as after the change.
func outcome(t *testing.T, change string, before, is map[uint64]uint64) {
	t.Helper()
	after := maps.Clone(before)
	switch change {
	case "replace", "update", "repair":
		after[1] = 100
	case "insert":
		after[2] = 100
	case "delete":
		delete(after, 1)
	case "evict": // one entry may be missing, and the new one be there
		if v, found := is[2]; found && v != 100 || len(is) < killCapacity-1 || len(is) > killCapacity {
			t.Errorf("%d entries, %d in place of the new one", len(is), v)
		}
		return
	}
	if !maps.Equal(is, before) && !maps.Equal(is, after) {
		t.Errorf("%v\nbefore %v\nafter %v", is, before, after)
	}
}

// checkMap changes all entries after the death, and fills the map.
func checkMap(t *testing.T, m *kv.Map[uint64, value], change string, before, during map[uint64]uint64) {
	t.Helper()
	is := map[uint64]uint64{}
	for k, v := range contents(t, m) {
		is[k] = v.whole(t)
	}
	if !maps.Equal(is, during) {
		t.Errorf("%v after the death, %v before it", is, during)
	}
	for k := range uint64(lastKey) { // takes every lock
		if change == "evict" {
			break
		}
		_, err := m.Delete(background, k)
		check(t, err)
	}
	for k := range uint64(killCapacity) {
		check(t, m.Set(background, 1000+k, valueOf(k)))
	}
	if change != "evict" {
		if err := m.Set(background, 1, valueOf(1)); !errors.Is(err, kv.ErrFull) {
			t.Error(err)
		}
	}
	if n := len(contents(t, m)); n != killCapacity || m.Len() != n {
		t.Errorf("%d entries, Len %d", n, m.Len())
	}
}

// kills is how often TestKilledAtRandom kills.
var kills = flag.Int("kills", 10, "how many processes TestKilledAtRandom kills")

const (
	counters    = 3 // processes
	counterKeys = 6 // more than there is room for half of the time
)

// A ledger has what each process knows that it has added to each key.
type ledger struct {
	Added [counters][counterKeys]atomic.Uint64
}

// counter adds to keys of a map, and removes and evicts others, until it is killed.
func counter(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	me, err := strconv.Atoi(c.Args()[1])
	if err != nil {
		return err
	}
	m, err := kv.Attach[uint64, uint64]("m", &kv.Options{Dir: dir})
	if err != nil {
		return err
	}
	books, err := shmem.Attach[ledger]("books", &shmem.Options{Dir: dir})
	if err != nil {
		return err
	}
	c.Send("ready")
	for i := uint64(0); ; i++ {
		k := rand.Uint64N(counterKeys)
		if _, err := kv.Add(background, m, k, 1, 0); err != nil {
			return err
		}
		books.Value().Added[me][k].Add(1)
		passing := 100 + rand.Uint64N(20)
		switch i % 3 {
		case 0:
			if err := m.SetFor(background, passing, i, time.Microsecond); err != nil &&
				!errors.Is(err, kv.ErrFull) {
				return err
			}
		case 1:
			if _, err := m.Delete(background, passing); err != nil {
				return err
			}
		default:
			if _, _, err := m.Get(k); err != nil {
				return err
			}
		}
	}
}

// TestKilledAtRandom kills processes that count, at any moment, and keeps books: no count is lost,
// and for each death at most one is there that the process did not know of.
func TestKilledAtRandom(t *testing.T) {
	dir := shmemtest.Dir(t)
	m := open[uint64, uint64](t, dir, kv.Options{Capacity: counterKeys + 4})
	for k := range uint64(counterKeys) {
		check(t, m.Set(background, k, 0))
	}
	books, err := shmem.Create[ledger]("books", &shmem.Options{Dir: dir})
	check(t, err)
	defer books.Close()
	var all [counters]*shmemtest.Child
	for i := range all {
		all[i] = shmemtest.Start(t, "counter", dir, strconv.Itoa(i))
	}
	for i := range all {
		all[i].Expect(t, "ready")
	}
	if robust.RaceEnabled {
		*kills = min(*kills, 3)
	}
	for n := range *kills {
		i := n % counters
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		all[i].Kill()
		all[i] = shmemtest.Start(t, "counter", dir, strconv.Itoa(i))
		all[i].Expect(t, "ready")
	}
	for i := range all {
		all[i].Kill()
	}
	extra := uint64(0)
	for k := range uint64(counterKeys) {
		sum := uint64(0)
		for i := range all {
			sum += books.Value().Added[i][k].Load()
		}
		// Add also repairs what the last one to be killed has left.
		is, err := kv.Add(background, m, k, 0, 0)
		check(t, err)
		if is < sum {
			t.Errorf("key %d: %d counts are lost", k, sum-is)
		}
		extra += is - sum
	}
	if extra > uint64(*kills+counters) {
		t.Errorf("%d counts that no process knows of, %d were killed", extra, *kills+counters)
	}
	t.Logf("%d kills, %d of them between a change and its entry in the books, %d repairs", *kills,
		extra, m.Stats().Repaired)
}
