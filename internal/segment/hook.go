package segment

// Shmem converts between the types of this package and the public ones of package shmem, which sets
// it. The packages above shmem open segments here and use it to return *shmem.Segment, shmem.Info
// and *shmem.Error; this package cannot name those types.
var Shmem interface {
	// Config converts a *shmem.Options, which may be nil.
	Config(opts any) (Config, error)
	// Segment returns a *shmem.Segment around an attachment. There is one for each attachment.
	Segment(a *Attachment) any
	// Attachment returns the attachment of a *shmem.Segment.
	Attachment(seg any) *Attachment
	// Info converts a Look to a shmem.Info.
	Info(l Look) any
	// Error returns a *shmem.Error with operation and name. A nil err stays nil, a *shmem.Error is
	// returned as it is, and typed errors of this package and of package format become public ones.
	Error(op, name string, err error) error
}
