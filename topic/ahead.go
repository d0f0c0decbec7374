package topic

import (
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
)

// publishedAt asks for the lines that a publisher at pos comes to soon.
func (t *Topic[T]) publishedAt(pos uint64) {
	word, i := t.pub.Ahead(pos)
	if word != nil {
		mem.PrefetchWrite(word)
	}
	mem.PrefetchWrite(&t.items[i])
}

// readBy asks for those that a subscriber comes to.
func (t *Topic[T]) readBy(c *ring.Cursor) {
	word, i, ok := c.Ahead()
	if !ok {
		return
	}
	if word != nil {
		mem.Prefetch(word)
	}
	mem.Prefetch(&t.items[i])
}
