//go:build !linux

package sys

// CPUQuota returns 0: this system has no cgroups.
func CPUQuota() float64 { return 0 }
