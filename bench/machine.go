package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine describes where the figures come from.
type Machine struct {
	CPU, Caches, Kernel, Go, Compiler, Python, Redis, Boost, Governor string
	CPUs                                                              int
	MemoryGiB                                                         int
	Virtual                                                           bool
	Commit                                                            string // of ShmemBox
}

func thisMachine() Machine {
	var u unix.Utsname
	unix.Uname(&u)
	info := file("/proc/cpuinfo")
	m := Machine{
		CPU: field(info, "model name"), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Kernel: unix.ByteSliceToString(u.Sysname[:]) + " " +
			unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:]),
		Governor: strings.TrimSpace(file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
		Virtual:  strings.Contains(info, " hypervisor"),
		Compiler: firstLine("gcc", "--version"), Python: firstLine("python3", "--version"),
		Redis:  redisVersion(),
		Commit: cmp.Or(firstLine("git", "describe", "--always", "--dirty"), "(no git)"),
	}
	fmt.Sscan(field(file("/proc/meminfo"), "MemTotal"), &m.MemoryGiB)
	m.MemoryGiB >>= 20
	for i := range 4 {
		c := fmt.Sprintf("/sys/devices/system/cpu/cpu0/cache/index%d/", i)
		if size := strings.TrimSpace(file(c + "size")); size != "" {
			m.Caches += fmt.Sprintf(" L%s %s %s", strings.TrimSpace(file(c+"level")),
				strings.ToLower(strings.TrimSpace(file(c+"type"))), size)
		}
	}
	m.Caches = strings.TrimSpace(m.Caches)
	_, v, _ := strings.Cut(file("/usr/include/boost/version.hpp"), "#define BOOST_LIB_VERSION ")
	m.Boost, _, _ = strings.Cut(strings.ReplaceAll(strings.Trim(v, `"`), "_", "."), `"`)
	return m
}

func (m Machine) String() string {
	s := fmt.Sprintf("%s, %d CPUs, %d GiB, %s, %s", m.CPU, m.CPUs, m.MemoryGiB, m.Kernel, m.Go)
	if m.Caches != "" {
		s += ", " + m.Caches
	}
	if m.Virtual {
		s += ", a virtual machine"
	}
	for _, t := range []string{m.Compiler, m.Python, m.Redis} {
		if t != "" {
			s += "; " + t
		}
	}
	if m.Boost != "" {
		s += "; Boost " + m.Boost
	}
	if m.Governor != "" {
		s += "; governor " + m.Governor
	}
	return s
}

func loadAverage() string { return strings.Join(strings.Fields(file("/proc/loadavg"))[:3], " ") }

func file(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func field(text, key string) string {
	_, rest, _ := strings.Cut(text, key)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, " \t:"))
}

func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

func redisVersion() string {
	_, v, _ := strings.Cut(firstLine("redis-server", "--version"), " v=")
	if v, _, _ = strings.Cut(v, " "); v != "" {
		v = "Redis " + v
	}
	return v
}
