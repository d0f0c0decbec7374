package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// count is a number in at most 5 characters: 9999, 10k, 123M.
func count(n uint64) string {
	f, unit := float64(n), 0
	for n >= 10_000 && f >= 1000 {
		f, unit = f/1000, unit+1
	}
	return fmt.Sprintf("%.0f%s", f, []string{"", "k", "M", "G", "T", "P", "E"}[unit])
}

// size is a number of bytes in at most 5 characters: 9999B, 9.8K, 123M. A negative one is unknown.
func size(n int64) string {
	switch {
	case n < 0:
		return "-"
	case n < 10000:
		return fmt.Sprintf("%dB", n)
	}
	f, units := float64(n), "BKMGTPE"
	i := 0
	for f >= 1000 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if f < 10 {
		return fmt.Sprintf("%.1f%c", f, units[i])
	}
	return fmt.Sprintf("%.0f%c", f, units[i])
}

// bytesText is a number of bytes for a sentence: 1 byte, 384 bytes, 12 KiB.
func bytesText(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}

// plural is a number of things: 1 hold, 2 holds.
func plural(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// since is how long ago t was, in at most 3 or 4 characters. A time that is not known is -.
func since(t time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return "-"
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// perSecond is a rate with its sign: +1.5, -20, +20k.
func perSecond(f float64) string {
	sign := "+"
	if f < 0 {
		sign, f = "-", -f
	}
	switch {
	case f == 0:
		return "0"
	case f < 10:
		return fmt.Sprintf("%s%.1f", sign, f)
	case f < 10e3:
		return fmt.Sprintf("%s%.0f", sign, f)
	case f < 10e6:
		return fmt.Sprintf("%s%.0fk", sign, f/1e3)
	}
	return fmt.Sprintf("%s%.0fM", sign, f/1e6)
}

// Columns are counted as code points: names of segments and fields are seldom wider.

func width(s string) int { return utf8.RuneCountInString(s) }

// pad fills s with spaces up to n columns, at its end; lpad at its beginning.
func pad(s string, n int) string  { return s + strings.Repeat(" ", max(0, n-width(s))) }
func lpad(s string, n int) string { return strings.Repeat(" ", max(0, n-width(s))) + s }

// cut shortens s to n columns.
func cut(s string, n int) string {
	if width(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

// fold breaks text into lines of at most n columns, between words. A longer word is a line of its
// own.
func fold(text string, n int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && width(line)+1+width(w) > n {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}
