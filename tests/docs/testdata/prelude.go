// Prelude is what the blocks of the documents use without saying so: types of an imaginary program,
// and things of them that are open.
package prelude

type Settings struct{ Limit, Burst int64 }

type Route struct {
	Name   shmem.Text[[32]byte]
	Weight uint32
}

type Job struct{ ID, Try int64 }

type Tick struct{ Price, At int64 }

type Table struct {
	Mu      psync.Mutex
	RW      psync.RWMutex
	Changed psync.Cond
	Ready   psync.Event
	Once    psync.Once
	Tokens  psync.Semaphore
	Rows    [16]int64
	Sum     int64
}

func (t *Table) Repair() error { return nil }

var (
	box    *shmem.Box[Settings]
	shared *shmem.Box[Table]
	table  *Table
	jobs   *queue.Queue[Job]
	blobs  *queue.Bytes
	ticks  *topic.Topic[Tick]
)

func work(Job) error { return nil }
