// Command stub writes a library that Go's programs for Windows need and Wine 8 has not:
// bcryptprimitives.dll, of which Go calls ProcessPrng alone. It has no code: the name leads to a
// function of advapi32.dll that does the same.
//
// Usage: stub path
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stub path")
		os.Exit(2)
	}
	b := library("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036")
	if err := os.WriteFile(os.Args[1], b, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "stub:", err)
		os.Exit(1)
	}
}

// The file has its headers in the first part, and its only section in the second one.
const (
	part    = 0x200
	address = 0x1000 // of the section
)

// library returns a DLL for amd64 that exports a name, which leads to a function of another one.
func library(file, name, leadsTo string) []byte {
	section := exports(file, name, leadsTo)
	var b bytes.Buffer
	put := func(v ...any) {
		for _, v := range v {
			_ = binary.Write(&b, binary.LittleEndian, v) // a Buffer takes everything
		}
	}
	put([]byte("MZ"), make([]byte, 58), uint32(64)) // where the next header is
	put([]byte("PE\x00\x00"))
	put(uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), uint16(240))
	put(uint16(0x2022)) // a DLL, of large addresses

	put(uint16(0x20b), uint16(0), uint32(0), uint32(part), uint32(0), uint32(0), uint32(address))
	put(uint64(0x180000000), uint32(0x1000), uint32(part))
	put(uint16(6), uint16(0), uint16(0), uint16(0), uint16(6), uint16(0), uint32(0)) // versions
	put(uint32(2*address), uint32(part), uint32(0))
	put(uint16(3), uint16(0x160)) // subsystem, and that it may lie anywhere
	put(uint64(1<<20), uint64(1<<12), uint64(1<<20), uint64(1<<12), uint32(0), uint32(16))
	put(uint32(address), uint32(len(section))) // the exports; no other tables
	put(make([]byte, 15*8))

	put([]byte(".edata\x00\x00"), uint32(len(section)), uint32(address), uint32(part), uint32(part))
	put(make([]byte, 12), uint32(0x40000040)) // data that is read
	put(make([]byte, part-b.Len()), section, make([]byte, part-len(section)))
	return b.Bytes()
}

// exports returns a table of one name. The address of what it leads to lies in the table: so it is
// the name of another library's function.
func exports(file, name, leadsTo string) []byte {
	const (
		table     = 40
		functions = address + table
		names     = functions + 4
		ordinals  = names + 4
		texts     = ordinals + 2
	)
	fileAt := uint32(texts)
	nameAt := fileAt + uint32(len(file)) + 1
	leadsAt := nameAt + uint32(len(name)) + 1
	var b bytes.Buffer
	for _, v := range []any{
		uint32(0), uint32(0), uint32(0), fileAt, uint32(1), uint32(1), uint32(1),
		uint32(functions), uint32(names), uint32(ordinals),
		leadsAt, nameAt, uint16(0),
		[]byte(file + "\x00" + name + "\x00" + leadsTo + "\x00"),
	} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	return b.Bytes()
}
