package sys

// A sparse is what an FD says of the holes of its file.
type sparse interface {
	// Data returns the first range of the file at off or behind it that is no hole. It returns
	// io.EOF if there is none.
	Data(off int64) (start, end int64, err error)
}

var _ sparse = NoFD
