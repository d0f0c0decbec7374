package sys

// NameProblem says why the system has no file of that name, which is made of letters, digits, dot,
// underscore and hyphen. It returns "" if it can have one.
var _ func(name string) (why string) = NameProblem
