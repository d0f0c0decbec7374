package sys

import "io/fs"

// A file is published under its name in one step, complete: other processes see all of it or
// nothing. Where there are files without a name, it gets the name at the end (CreateNameless,
// Link). Elsewhere it has a temporary name first (CreateExclusive, RenameExclusive).

// An unpublished is what an FD does with a file that other processes do not see yet.
type unpublished interface {
	// Link gives a nameless file the name path. It returns fs.ErrExist if path exists.
	Link(path string) error

	// Seal makes the size of an anonymous file final: no process can change it afterwards. Where
	// the system has no seals it does nothing.
	Seal() error

	// Sealed reports whether no process can shrink the file.
	Sealed() bool
}

// The functions of publication.
var (
	_ unpublished = NoFD

	// CreateNameless creates a file in dir that has no name; see Link.
	_ func(dir string, mode fs.FileMode) (FD, error) = CreateNameless

	// NoNameless reports whether an error of CreateNameless or Link means that the system or the
	// file system has no nameless files.
	_ func(err error) bool = NoNameless

	// CreateExclusive creates the file at path. It returns fs.ErrExist if path exists.
	_ func(path string, mode fs.FileMode) (FD, error) = CreateExclusive

	// CreateAnonymous creates a file that has no name in any directory, in memory if the system
	// has that; see Seal.
	_ func(name string) (FD, error) = CreateAnonymous

	// Rename renames a file. What to leads to is replaced.
	_ func(from, to string) error = Rename

	// RenameExclusive renames a file. It returns fs.ErrExist if to exists.
	_ func(from, to string) error = RenameExclusive

	// Unlink removes a name.
	_ func(path string) error = Unlink
)

// AvoidNameless makes every new file get a temporary name first, as on systems without nameless
// files. Only tests and tests/chaos set it, before anything else runs.
var AvoidNameless = false
