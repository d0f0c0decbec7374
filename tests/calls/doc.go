// Package calls counts the system calls of opening and closing. Its test says how many there are,
// and which.
package calls
