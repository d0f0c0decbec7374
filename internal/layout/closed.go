package layout

import "github.com/shmembox/shmem/internal/format"

// Closed returns where in the payload of a ring the word is that closes it. ok is false where form
// is that of no ring.
func Closed(form format.Form) (off int, ok bool) {
	header := map[format.Form]*format.Type{
		format.FormQueue: ManyHeader, format.FormBytes: ManyHeader,
		format.FormSingle: SingleHeader, format.FormSingleBytes: SingleHeader,
		format.FormTopic: TopicHeader,
	}[form]
	if header == nil {
		return 0, false
	}
	return Offset(header, "Closed"), true
}
