//go:build !windows

package sys

func NameProblem(string) string { return "" }
