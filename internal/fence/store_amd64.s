//go:build !race

#include "textflag.h"

// func store(w *atomic.Uint32, v uint32)
TEXT ·store(SB), NOSPLIT, $0-12
	MOVQ w+0(FP), AX
	MOVL v+8(FP), BX
	MOVL BX, (AX)
	RET
