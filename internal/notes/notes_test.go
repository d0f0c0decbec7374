package notes

import (
	"context"
	"log/slog"
	"testing"
)

// A slow handler takes a record when the test lets it.
type slow struct {
	slog.Handler
	records chan slog.Record
}

func (s slow) Enabled(context.Context, slog.Level) bool { return true }

func (s slow) Handle(_ context.Context, r slog.Record) error {
	s.records <- r
	return nil
}

// TestSlowLogger: Add never waits, and what comes while the logger is busy becomes one record.
func TestSlowLogger(t *testing.T) {
	h := slow{records: make(chan slog.Record)}
	n := New(slog.New(h))
	n.Add(Note{Kind: OwnerDied, What: "lock", Segment: "s", Count: 1, PID: 7})
	first := <-h.records
	if first.Message != "shmem: owner died" || first.Level != slog.LevelWarn ||
		attrs(first)["pid"].Int64() != 7 || attrs(first)["segment"].String() != "s" {
		t.Errorf("%v, %v", first, attrs(first))
	}
	n.Add(Note{Kind: Skipped, What: "message", Segment: "s", Count: 1}) // the logger is in this one
	const many = 1000
	for i := range many {
		n.Add(Note{Kind: Lost, What: "message", Segment: "s", Count: 2, PID: i})
	}
	total := uint64(0)
	for records := 0; total < 2*many; records++ {
		r := <-h.records
		if r.Message == "shmem: lost" {
			total += attrs(r)["count"].Uint64()
		}
		if records > 10 {
			t.Fatal("notes do not become one record while the logger is busy")
		}
	}
	n.Add(Note{Kind: Lost, What: "message", Segment: "s"}) // none
	select {
	case r := <-h.records:
		t.Error(r)
	default:
	}
}

func attrs(r slog.Record) map[string]slog.Value {
	all := map[string]slog.Value{}
	r.Attrs(func(a slog.Attr) bool { all[a.Key] = a.Value; return true })
	return all
}

// TestNoLogger: without a logger nothing is done, and nothing is allocated.
func TestNoLogger(t *testing.T) {
	n := New(nil)
	if a := testing.AllocsPerRun(100, func() { n.Add(Note{Kind: Lost, Count: 1}) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
