package limit_test

import (
	"testing"

	"github.com/shmembox/shmem/shmemtest"
)

// roles are added by the files that start them.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }
