package metrics

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

// Options say what a Scanner reads. A nil *Options, and the zero value of each field, is the
// default.
type Options struct {
	// Dir is the directory of the segments. Default: /dev/shm.
	Dir string
	// AnyUser reads the segments of all users. Default: those of this user, so that no other user
	// can add time series.
	AnyUser bool
	// Segments reports which segments are read, by their names. It is called once a scan for each
	// file. Default: all.
	Segments func(name string) bool
	// MaxSegments is how many files a scan looks at, in the order of their names. Default: 1000.
	// Negative: all.
	MaxSegments int
	// Timeout is when a scan leaves out the segments that it has not looked at. Default: 5 s.
	// Negative: never.
	Timeout time.Duration
	// Findings returns what is wrong, as shmem check finds it. It is called once a scan. Default:
	// there is no shmem_findings.
	Findings func() []Finding
	// Process adds the metrics of this process itself.
	Process bool
}

// A Finding is one trouble.
type Finding struct {
	Kind  string // such as "dead-holder"
	Level string // "critical", "warning" or "note"
}

// A Sample is the value of a metric for one set of labels.
type Sample struct {
	Metric *Metric
	Labels []string // values, as many as Metric.Labels; escaped, so that they are printable UTF-8
	Value  float64
}

// A Scanner reads the metrics of the segments in a directory. It remembers from one scan to the
// next how long locks are held, and no more. Several goroutines may use it; scans come one after
// the other.
type Scanner struct {
	o  Options
	mu sync.Mutex
	// guarded by mu
	holds  map[hold]held // of the last scan
	dead   map[string]bool
	deaths uint64
}

// Bounds of a scan.
const (
	defaultMax     = 1000
	defaultTimeout = 5 * time.Second
	chunk          = 1024 // names read at a time
	maxHolds       = 100  // holds of a segment that are remembered
)

// New returns a Scanner. It looks at nothing yet.
func New(opts *Options) *Scanner {
	s := &Scanner{holds: map[hold]held{}, dead: map[string]bool{}}
	if opts != nil {
		s.o = *opts
	}
	if s.o.Dir == "" {
		s.o.Dir = sys.DefaultDir
	}
	if s.o.MaxSegments == 0 {
		s.o.MaxSegments = defaultMax
	}
	if s.o.Timeout == 0 {
		s.o.Timeout = defaultTimeout
	}
	return s
}

// Scan looks at the segments and returns the samples in the order of Table. Each is from a moment
// during the scan. A segment that vanishes meanwhile, or that cannot be read, has none. The error
// is that of the directory; on systems without shared memory it is errors.ErrUnsupported.
func (s *Scanner) Scan() ([]Sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &scan{s: s, start: time.Now(), holds: map[hold]held{}, dead: map[string]bool{},
		omitted: map[string]int{}, files: map[string]int{}, memory: map[string]int64{}}
	if !sys.Supported {
		return nil, &shmem.Error{Op: "metrics scan", Name: s.o.Dir, Err: errors.ErrUnsupported}
	}
	names, err := c.names()
	if err != nil {
		return nil, &shmem.Error{Op: "metrics scan", Name: s.o.Dir, Err: err}
	}
	for i, name := range names {
		if c.late() {
			c.omitted["timeout"] += len(names) - i
			break
		}
		c.file(name)
	}
	s.holds, s.dead = c.holds, c.dead
	c.directory()
	if s.o.Process {
		c.process()
	}
	c.put(scanDuration, time.Since(c.start).Seconds())
	slices.SortStableFunc(c.all, func(a, b Sample) int { return a.Metric.index - b.Metric.index })
	return c.all, nil
}

// A scan is one scan of a Scanner.
type scan struct {
	s       *Scanner
	start   time.Time
	all     []Sample
	holds   map[hold]held   // for the next scan
	dead    map[string]bool // IDs of segments without a living owner or user
	omitted map[string]int
	files   map[string]int   // by state
	memory  map[string]int64 // by state
	// of the segment that is looked at: how many of its holds were remembered
	keptID    string
	keptCount int
}

func (c *scan) put(m *Metric, value float64, labels ...string) {
	c.all = append(c.all, Sample{m, labels, value})
}

func (c *scan) late() bool { return c.s.o.Timeout > 0 && time.Since(c.start) > c.s.o.Timeout }

// names returns the names of the files to look at, sorted. It keeps no more names than needed,
// however many files there are.
func (c *scan) names() ([]string, error) {
	d, err := os.Open(c.s.o.Dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	most := c.s.o.MaxSegments
	cut := func(room int) {
		if most >= 0 && len(names) > most+room {
			slices.Sort(names)
			c.omitted["limit"] += len(names) - most
			names = slices.Delete(names, most, len(names))
		}
	}
	for {
		some, err := d.Readdirnames(chunk)
		for i, name := range some {
			if c.late() {
				c.omitted["timeout"] += len(some) - i
				break
			}
			if c.wanted(name) {
				names = append(names, name)
			}
		}
		cut(chunk)
		if err == io.EOF || c.late() {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	cut(0)
	slices.Sort(names)
	return names, nil
}

// wanted reports whether a file is to be looked at. A name with a dot in front is one that a
// segment has only while it is created.
func (c *scan) wanted(name string) bool {
	if name[0] == '.' || c.s.o.Segments != nil && !c.s.o.Segments(name) {
		return false
	}
	st, err := sys.Lstat(filepath.Join(c.s.o.Dir, name))
	if err != nil || !st.Mode.IsRegular() {
		return false
	}
	if !c.s.o.AnyUser && st.UID != uint32(os.Geteuid()) {
		c.omitted["user"]++
		return false
	}
	return true
}

const unreadable = "unreadable"

// states are the values of the label state.
var states = []string{
	shmem.Live.String(), shmem.Orphaned.String(), shmem.Idle.String(), shmem.Garbage.String(),
	shmem.Foreign.String(), shmem.Copied.String(), shmem.OtherVersion.String(),
	shmem.Damaged.String(), unreadable,
}

// file looks at a file.
func (c *scan) file(name string) {
	o, err := inspect.Open(c.s.o.Dir, name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, shmem.ErrNotRegular) {
			c.files[unreadable]++
		}
		return
	}
	defer o.Close()
	st, err := o.Status()
	if err != nil {
		c.files[unreadable]++
		return
	}
	c.files[st.State.String()]++
	c.memory[st.State.String()] += st.InUse
	if st.State == shmem.Foreign { // its name may be another one each time
		return
	}
	c.segment(o, st)
}

// directory adds the samples of the directory as a whole.
func (c *scan) directory() {
	if m, err := sys.MountOf(c.s.o.Dir); err == nil {
		c.put(directorySize, float64(m.Size))
		c.put(directoryAvailable, float64(m.Avail))
		c.put(directoryInodes, float64(m.Files))
		c.put(directoryInodesFree, float64(m.Inodes))
	}
	for _, state := range states {
		c.put(segments, float64(c.files[state]), state)
		if state != unreadable {
			c.put(memory, float64(c.memory[state]), state)
		}
	}
	for _, reason := range []string{"limit", "timeout", "user"} {
		c.put(segmentsOmitted, float64(c.omitted[reason]), reason)
	}
	c.put(ownerDeaths, float64(c.s.deaths))
	if c.s.o.Findings != nil {
		c.findings()
	}
}

// findings counts the findings of each kind and level.
func (c *scan) findings() {
	count := map[Finding]int{}
	var order []Finding
	for _, f := range c.s.o.Findings() {
		if count[f]++; count[f] == 1 {
			order = append(order, f)
		}
	}
	for _, f := range order {
		c.put(findings, float64(count[f]), label(f.Kind), label(f.Level))
	}
}

// process adds the samples of this process.
func (c *scan) process() {
	st := shmem.ReadSpinStats()
	c.put(spinLimit, float64(st.Limit))
	c.put(spinning, float64(st.Spinning))
	c.put(spins, float64(st.Paid), "paid")
	c.put(spins, float64(st.Vain), "vain")
	c.put(spins, float64(st.Skipped), "skipped")
	c.put(spinTime, st.Time.Seconds())
}
