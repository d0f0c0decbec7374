package world

import (
	"fmt"
	"testing"
	"time"
)

// losing is a scenario in which two processes count without a lock: one switch loses a count.
func losing(c Config) *Scenario {
	return &Scenario{Name: "losing", Config: c, Setup: func(r *Run) {
		n := 0
		for i := range 2 {
			p := r.Process(fmt.Sprint("P", i))
			p.Go("main", func() {
				Yield("load")
				was := n
				Yield("store")
				n = was + 1
			})
		}
		r.Check(func() error {
			if n != 2 && !r.Killed() {
				return fmt.Errorf("counted %d", n)
			}
			return nil
		})
	}}
}

// Every chooser finds the lost count, and the schedule that it leaves repeats it.
func TestChoosers(t *testing.T) {
	s := losing(Config{})
	for name, chooser := range map[string]func(uint64) Chooser{
		"random": func(n uint64) Chooser { return Random(n, 4) },
		"sticky": func(n uint64) Chooser { return Sticky(n, 4) },
		"pct":    func(n uint64) Chooser { return PCT(n, 4, 2) },
	} {
		seed := uint64(1)
		for s.Do(chooser(seed)).Err() == nil {
			if seed++; seed > 1000 {
				t.Fatalf("%s does not find it", name)
			}
		}
		r, schedule := s.Record(chooser(seed))
		x, err := ParseSchedule(schedule.String())
		if err != nil {
			t.Fatal(err)
		}
		again := s.Do(Play(x))
		if again.Hash() != r.Hash() || again.Err() == nil {
			t.Errorf("%s: %v does not repeat the run", name, schedule)
		}
		small, _ := s.Shrink(x, Broken, time.Second)
		if len(small) > 1 {
			t.Errorf("%s: %v shrinks to %v", name, x, small)
		}
		t.Logf("%s: seed %d, %v, shrunk %v", name, seed, x, small)
	}
}

// A walk goes through all runs: without preemptions none fails, with one some do.
func TestWalk(t *testing.T) {
	for preemptions, want := range []bool{false, true} {
		s, walk := losing(Config{}), &Walk{Preemptions: preemptions}
		runs, failed := 0, 0
		for more := true; more; more = walk.Next() {
			runs++
			if s.Do(walk).Err() != nil {
				failed++
				if s.Do(Play(walk.Schedule())).Err() == nil {
					t.Errorf("%v does not repeat the run", walk.Schedule())
				}
			}
		}
		t.Logf("%d preemptions: %d runs, %d failed", preemptions, runs, failed)
		if (failed > 0) != want {
			t.Errorf("%d preemptions: %d of %d runs failed", preemptions, failed, runs)
		}
	}
}

// Every kind of end of a run that is not the scenario's own is found.
func TestClasses(t *testing.T) {
	for class, f := range map[Class]func(){
		Deadlock: func() { Block(-1, Key{Kind: Lock}) },
		Hang:     func() { Sleep(time.Second) },
		Livelock: func() {
			for {
				Point()
			}
		},
		Panicked: func() { panic("oh") },
		Broken:   func() { Fail("no") },
	} {
		s := &Scenario{Setup: func(r *Run) { r.Process("P").Go("main", f) }}
		if r := s.Do(Play(nil)); r.Err() == nil || r.Err().Class != class {
			t.Errorf("%s: %v", class, r.Err())
		}
	}
}

// What a killed process holds is released later, or by the last of its children.
func TestKill(t *testing.T) {
	released := 0
	s := &Scenario{Config: Config{Kills: 1, Forks: 1}, Setup: func(r *Run) {
		p := r.Process("P")
		p.Hold("a thing", func() { released++ })
		after := false
		p.Go("main", func() {
			defer func() { after = true }()
			Yield("one")
			Fail("a killed thread goes on")
		})
		q := r.Process("Q").Spare()
		q.Go("main", func() {
			Await(func() bool { return p.Told() })
			if !after {
				Fail("the thread was not unwound")
			}
		})
		r.Check(func() error { return nil })
	}}
	x, err := ParseSchedule("-1.0:h0 0.1:k0")
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Do(Play(x)); r.Err() != nil {
		t.Error(r.Err())
	}
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}

// A stopped process does nothing until it is continued, and time that passes meanwhile counts for no hang.
func TestStop(t *testing.T) {
	s := &Scenario{Config: Config{Stops: 1}, Setup: func(r *Run) {
		p := r.Process("P")
		stopped := false
		p.Go("main", func() { Yield("one"); stopped = true })
		r.Process("Q").Go("main", func() {
			Await(func() bool { return true })
			_ = stopped
			Sleep(time.Microsecond)
		})
	}}
	x, _ := ParseSchedule("-1.0:r0 0.1:s0")
	if r := s.Do(Play(x)); r.Err() != nil {
		t.Error(r.Err())
	}
}
