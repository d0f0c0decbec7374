package world

import "time"

// Length is how many steps the scenario has when nothing happens to it. Faults and changes of
// priority are drawn among them.
func (s *Scenario) Length() int { return s.Do(Play(nil)).steps }

// Shrink takes steps out of a schedule for as long as the run fails in the same way, and returns
// what is left, and how many runs that took.
func (s *Scenario) Shrink(schedule Schedule, class Class, limit time.Duration) (Schedule, int) {
	end, runs := time.Now().Add(limit), 0
	fails := func(x Schedule) bool {
		runs++
		f := s.Do(Play(x)).failure
		return f != nil && f.Class == class
	}
	schedule = schedule.compact()
	for size := max(len(schedule)/2, 1); time.Now().Before(end); {
		shorter := false
		for i := 0; i < len(schedule) && time.Now().Before(end); {
			x := append(schedule[:i:i], schedule[min(i+size, len(schedule)):]...)
			if fails(x) {
				schedule, shorter = x, true
			} else {
				i += size
			}
		}
		if size == 1 && !shorter {
			break
		}
		if !shorter || size > len(schedule) {
			size = max(min(size, len(schedule))/2, 1)
		}
	}
	return schedule, runs
}
