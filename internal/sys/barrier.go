package sys

// The functions of barriers. Where the system has none of them they return errors.ErrUnsupported,
// and package fence has both sides run a barrier of the processor.
var (
	// RegisterBarrier makes Barrier of every process reach this one.
	_ func() error = RegisterBarrier

	// Barrier is a full memory barrier in every running thread of every process that has called
	// RegisterBarrier. It takes some microseconds.
	_ func() error = Barrier
)
