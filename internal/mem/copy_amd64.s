//go:build !race

#include "textflag.h"

// COPY_BLOCK copies 64 bytes from SI to DI, and counts them in CX. Each aligned word is loaded and
// stored by one access: an aligned 16-byte move is a single access on processors with AVX, and two
// of 8 bytes on older ones.
#define COPY_BLOCK \
	MOVOU 0(SI), X0; \
	MOVOU 16(SI), X1; \
	MOVOU 32(SI), X2; \
	MOVOU 48(SI), X3; \
	MOVOU X0, 0(DI); \
	MOVOU X1, 16(DI); \
	MOVOU X2, 32(DI); \
	MOVOU X3, 48(DI); \
	ADDQ  $64, SI; \
	ADDQ  $64, DI; \
	SUBQ  $64, CX

// func copyBlocks(dst, src unsafe.Pointer, n uintptr)
// n is a multiple of 64 and not 0.
TEXT ·copyBlocks(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
next:
	COPY_BLOCK
	JNZ  next
	RET

// func load(dst, src unsafe.Pointer, n uintptr)
// src is aligned to words; the word with the last bytes is loaded as a whole.
TEXT ·load(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	CMPQ CX, $64
	JLT  words
	CMPQ CX, ·stringsFrom(SB)
	JCC  string
blocks:
	COPY_BLOCK
	CMPQ CX, $64
	JGE  blocks
words:
	CMPQ CX, $8
	JLT  bytes
	MOVQ 0(SI), AX
	MOVQ AX, 0(DI)
	ADDQ $8, SI
	ADDQ $8, DI
	SUBQ $8, CX
	JMP  words
bytes:
	TESTQ CX, CX
	JZ   done
	MOVQ 0(SI), AX
byte:
	MOVB AX, 0(DI)
	SHRQ $8, AX
	INCQ DI
	DECQ CX
	JNZ  byte
done:
	RET
string:
	MOVQ CX, AX
	ANDQ $~63, CX
	SUBQ CX, AX
	CLD
	REP; MOVSB
	MOVQ AX, CX
	JMP  words

// func copyString(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyString(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	CLD
	REP; MOVSB
	RET

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func prefetchWrite(p unsafe.Pointer)
TEXT ·prefetchWrite(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	BYTE $0x0F; BYTE $0x0D; BYTE $0x08 // PREFETCHW (AX)
	RET
