package layout

import "github.com/shmembox/shmem/internal/format"

// Closed returns where in the payload of a ring the word is that closes it. ok is false where form
// is that of no ring.
func Closed(form format.Form) (off int, ok bool) {
	switch form {
	case format.FormQueue, format.FormBytes:
		return Offset(ManyHeader, "Closed"), true
	case format.FormSingle, format.FormSingleBytes:
		return Offset(SingleHeader, "Closed"), true
	case format.FormTopic:
		return Offset(TopicHeader, "Closed"), true
	}
	return 0, false
}
