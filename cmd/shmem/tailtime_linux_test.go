package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// TestTailTimeOfQueues: tail --time begins the line of each message of a queue with when it was sent,
// and stat, cat and its JSON tell the age of what waits. A queue without time stamps has no times.
func TestTailTimeOfQueues(t *testing.T) {
	dir, bin := interruptible(t)
	for _, single := range []bool{false, true} {
		for _, stamped := range []bool{true, false} {
			name := fmt.Sprintf("-%v-%v", single, stamped)
			o := queue.Options{
				Dir: dir, Single: single, Stamped: stamped, Capacity: 8, Lifetime: shmem.Kept,
			}
			q, err := queue.Create[Job]("jobs"+name, &o)
			if err != nil {
				t.Fatal(err)
			}
			b, err := queue.CreateBytes("lines"+name, &queue.BytesOptions{
				Dir: dir, Single: single, Stamped: stamped, Capacity: 8, Lifetime: shmem.Kept,
			})
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now().Round(0)
			for range 2 {
				if err := q.Send(t.Context(), Job{7}); err != nil {
					t.Fatal(err)
				}
				if err := b.Send(t.Context(), []byte("text")); err != nil {
					t.Fatal(err)
				}
			}
			q.Close()
			b.Close()
			for _, kind := range []string{"jobs", "lines"} {
				waitsSince(t, bin, dir, kind+name, stamped, before)
				tailTimes(t, bin, dir, kind+name, stamped, before)
			}
		}
	}
}

// shmemOutput runs the command.
func shmemOutput(t *testing.T, bin, dir string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(bin, append([]string{"--dir", dir}, args...)...).Output()
	if err != nil {
		t.Fatal(args, err)
	}
	return out
}

// waitsSince looks at what cat tells of the age of messages.
func waitsSince(t *testing.T, bin, dir, name string, stamped bool, before time.Time) {
	t.Helper()
	var j struct {
		OldestSent time.Time
		Messages   []struct{ Published time.Time }
	}
	if err := json.Unmarshal(shmemOutput(t, bin, dir, "cat", "--json", name), &j); err != nil {
		t.Fatal(err)
	}
	if len(j.Messages) != 2 || j.OldestSent.IsZero() == stamped ||
		stamped && (j.OldestSent.Before(before) || !j.OldestSent.Equal(j.Messages[0].Published) ||
			j.Messages[1].Published.Before(j.OldestSent)) {
		t.Errorf("%s: %+v, sent after %v", name, j, before)
	}
	text := string(shmemOutput(t, bin, dir, "cat", name))
	if strings.Contains(text, "waiting, the oldest for ") != stamped {
		t.Errorf("%s: %s", name, text)
	}
}

func tailTimes(t *testing.T, bin, dir, name string, stamped bool, before time.Time) {
	t.Helper()
	text := strings.TrimSpace(string(shmemOutput(t, bin, dir, "tail", "--time", "-n", "2", name)))
	for line := range strings.Lines(text) {
		stamp, message, found := strings.Cut(strings.TrimSpace(line), " ")
		if !stamped {
			if found {
				t.Errorf("%s: %q", name, line)
			}
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil || at.Before(before) || at.After(time.Now()) ||
			message != "text" && !strings.Contains(message, "7") {
			t.Errorf("%s: %q, %v", name, line, err)
		}
	}
}
