package main

import "slices"

// theCases is made once: making it also gives the roles their names.
var theCases = slices.Concat(messageCases(), bulkCases(), lockCases(), snapshotCases(), fanCases(),
	openCases(), idleCases(), recoveryCases())

func allCases() []Case { return theCases }
