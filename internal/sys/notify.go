package sys

// AvoidNotify makes NotifyFile and NotifyName fail, as on systems without inotify and for users who
// have as many instances as they may. Only tests set it, before anything else runs.
var AvoidNotify = false

// The functions of notices. Where they return errors.ErrUnsupported, callers look from time to
// time.
var (
	// NotifyFile tells when a name of an open file may be gone or another one. It needs permission
	// to read the file. The caller calls Cancel.
	_ func(fd FD) (*Notice, error) = NotifyFile

	// NotifyName tells when a file of that name may have come into a directory, and when the
	// directory may be gone. The caller calls Cancel.
	_ func(dir, name string) (*Notice, error) = NotifyName
)
