package sys

// The functions of memory and processors of the machine.
var (
	// Room returns what bounds the memory that this process can take most tightly: the memory
	// cgroup, those above it, or the machine. ok is false where the system does not say.
	//
	// It is an estimate, and other processes take memory meanwhile. Pages of files that the kernel
	// can drop, and swap, count as free.
	_ func() (r Memory, ok bool) = Room

	// RoomOf is Room for another process.
	_ func(pid int) (r Memory, ok bool) = RoomOf

	// CPUQuota returns how many CPUs the cgroups of this process let it use on average. It returns
	// 0 if they set no limit, or if they cannot be read.
	_ func() float64 = CPUQuota

	// Huge returns how many of the n mapped bytes from addr lie in huge pages of this process.
	_ func(addr, n uintptr) (bytes int64, err error) = Huge
)
