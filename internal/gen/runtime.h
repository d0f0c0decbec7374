/* ---- ShmemBox runtime, the same in every generated header: the first one that is included brings it. It is C11
 * and C++17. docs/format.md describes the bytes and the protocols.
 *
 * A box is for one thread at a time, and for the process that opened it: after a fork the child's copy fails with
 * ECHILD, and shmembox_close in the child only unmaps. A child that lives on calls it, or exec: until then the
 * attachment of the parent seems to live even if the parent has died. ---- */
#if defined(SHMEMBOX_RUNTIME) && SHMEMBOX_RUNTIME != 3
#error "the generated headers are of different versions of shmem: generate all of them anew"
#endif
#ifndef SHMEMBOX_RUNTIME
#define SHMEMBOX_RUNTIME 3

#ifndef __linux__
#error "ShmemBox segments need Linux"
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif
#ifndef O_CLOEXEC
#define O_CLOEXEC 02000000
#endif

#ifdef __cplusplus
#define SHMEMBOX_ASSERT static_assert
#else
#define SHMEMBOX_ASSERT _Static_assert
#endif

SHMEMBOX_ASSERT(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64");

typedef struct { uint64_t off, len; } shmembox_part; /* bytes that the box's lock protects */

typedef struct { /* the type that a header is for */
	uint64_t fingerprint;
	size_t size;
	const shmembox_part *parts;
	size_t part_count;
	const unsigned char *schema; /* the encoding that the fingerprint covers; a longer type begins like it */
	size_t schema_size;          /* 0: no longer type is accepted */
} shmembox_type;

typedef struct {
	unsigned char *base; /* the mapping; the value is at its beginning */
	size_t size;
	int fd;
	uint32_t id; /* of the attachment: generation << 10 | slot; 0: read-only, without a slot */
	uint64_t cap, image, slots; /* size of the payload, offsets of the undo image (0: none) and the slots */
	uint32_t lifetime, form; /* as which it was created; which ring it is */
	const shmembox_type *type;
	uint64_t fingerprint; /* of the type in the segment when it was last looked at; that type may have more fields */
	uint64_t stored; /* its size */
	shmembox_part *more; /* the parts of these fields */
	size_t more_count;
	uint64_t more_end; /* where the next one begins, while they are collected */
	uint32_t slot_count;
	pid_t pid; /* of the process that opened it */
	int held; /* the lock is held */
	dev_t dev; /* with ino: which file it is, to see whether the name still leads to it */
	ino_t ino;
	char path[512];
	char error[512]; /* the cause, after a call that returned less than 0 */
} shmembox;

/* Bytes of the file that are locked; no data is there. */
#define SHMEMBOX_GATE ((int64_t)1 << 62)
#define SHMEMBOX_SLOT (SHMEMBOX_GATE + 16)
#define SHMEMBOX_PASSIVE (SHMEMBOX_SLOT + 1024)
#define SHMEMBOX_WAITERS 0x80000000u /* bit of a lock word */
/* Offsets in the header page, the last 4096 bytes of the file. */
#define SHMEMBOX_OWNER 256
#define SHMEMBOX_HIGH 264
#define SHMEMBOX_LOCK 320
#define SHMEMBOX_LOCK_ARMED 324
#define SHMEMBOX_SEQ 384
#define SHMEMBOX_SEQ_ARMED 392
#define SHMEMBOX_EVENTS 512
#define SHMEMBOX_EVENTS_ARMED 520

__attribute__((format(printf, 3, 4))) static inline int shmembox_fail(shmembox *b, int code, const char *format, ...) {
	va_list a;
	va_start(a, format);
	vsnprintf(b->error, sizeof b->error, format, a);
	va_end(a);
	return -code;
}

static inline uint32_t shmembox_u32(const unsigned char *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t shmembox_u64(const unsigned char *p) { uint64_t v; memcpy(&v, p, 8); return v; }

static inline unsigned char *shmembox_head(shmembox *b) { return b->base + b->size - 4096; }
static inline uint32_t *shmembox_w32(shmembox *b, size_t off) { return (uint32_t *)(void *)(shmembox_head(b) + off); }
static inline uint64_t *shmembox_seq(shmembox *b) { return (uint64_t *)(void *)(shmembox_head(b) + SHMEMBOX_SEQ); }
static inline unsigned char *shmembox_slot(shmembox *b, uint32_t i) { return b->base + b->size - 4096 - ((uint64_t)i + 1) * 64; } /* in reverse order */

static inline uint32_t shmembox_crc(const unsigned char *p, size_t n) { /* CRC-32C */
	uint32_t c = ~0u;
	while (n--) {
		c ^= *p++;
		for (int k = 0; k < 8; k++) c = c >> 1 ^ (0x82F63B78u & -(c & 1));
	}
	return ~c;
}

static inline void shmembox_sleep(long ns) {
	struct timespec t = {0, ns};
	nanosleep(&t, NULL);
}

static inline int64_t shmembox_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* OFD locks belong to the open file: the kernel releases them when the process dies. */
static inline int shmembox_setlk(int fd, int type, int64_t off) {
	struct flock l;
	memset(&l, 0, sizeof l);
	l.l_type = (short)type;
	l.l_whence = SEEK_SET;
	l.l_start = off;
	l.l_len = 1;
	return fcntl(fd, F_OFD_SETLK, &l);
}

static inline int shmembox_held(int fd, int64_t off, int64_t n) { /* by another open file than this one? */
	struct flock l;
	memset(&l, 0, sizeof l);
	l.l_type = F_RDLCK; /* locks that readers share do not count */
	l.l_whence = SEEK_SET;
	l.l_start = off;
	l.l_len = n;
	if (fcntl(fd, F_OFD_GETLK, &l) < 0) return 1;
	return l.l_type != F_UNLCK;
}

/* shmembox_enter takes the gate, under which a segment changes hands. It polls: a waiter in the kernel could
 * wait for ever for a process that is stopped. */
static inline int shmembox_enter(shmembox *b, int64_t deadline) {
	while (shmembox_setlk(b->fd, F_WRLCK, SHMEMBOX_GATE) < 0) {
		if (errno != EAGAIN && errno != EACCES) return shmembox_fail(b, errno, "%s: lock: %s", b->path, strerror(errno));
		if (shmembox_now() > deadline) return shmembox_fail(b, EBUSY, "%s: another process holds the gate; it may be stopped", b->path);
		shmembox_sleep(50000);
	}
	return 0;
}

static inline void shmembox_leave(shmembox *b) { shmembox_setlk(b->fd, F_UNLCK, SHMEMBOX_GATE); }

typedef struct { const unsigned char *p, *end; int bad; } shmembox_in; /* the rest of an encoded schema */

static inline uint64_t shmembox_left(const shmembox_in *d) { return (uint64_t)(d->end - d->p); }

static inline void shmembox_skip(shmembox_in *d, uint64_t n) {
	if (n > shmembox_left(d)) {
		d->bad = 1;
		n = shmembox_left(d);
	}
	d->p += n;
}

static inline uint64_t shmembox_uint(shmembox_in *d) { /* a uvarint */
	uint64_t v = 0;
	for (int shift = 0; shift < 64 && d->p < d->end; shift += 7) {
		unsigned char c = *d->p++;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) return v;
	}
	d->bad = 1;
	return 0;
}

static inline int shmembox_same_name(shmembox_in *d, shmembox_in *own) {
	uint64_t n = shmembox_uint(d), m = shmembox_uint(own);
	if (d->bad || own->bad || n != m || n > shmembox_left(d) || n > shmembox_left(own) || memcmp(d->p, own->p, n) != 0) return 0;
	d->p += n;
	own->p += n;
	return 1;
}

#define SHMEMBOX_ATOMIC 0x80 /* bit of a kind */
#define SHMEMBOX_ARRAY 17
#define SHMEMBOX_STRUCT 18
#define SHMEMBOX_SYNC 19

/* shmembox_equal compares a type of a stored schema with one of this code, which lacks the names and alignments of
 * Go types. */
static inline int shmembox_equal(shmembox_in *d, shmembox_in *own, int depth) {
	if (depth > 64 || !shmembox_left(d) || !shmembox_left(own)) return 0;
	int kind = *d->p++;
	if (kind != *own->p++) return 0;
	if ((kind & 0x7f) == SHMEMBOX_SYNC) {
		if (!shmembox_same_name(d, own)) return 0;
	} else {
		shmembox_skip(d, shmembox_uint(d));
	}
	if (shmembox_uint(d) != shmembox_uint(own)) return 0; /* size */
	shmembox_uint(d);                                     /* alignment */
	if (kind == SHMEMBOX_ARRAY) return shmembox_uint(d) == shmembox_uint(own) && shmembox_equal(d, own, depth + 1);
	if (kind == SHMEMBOX_STRUCT) {
		uint64_t n = shmembox_uint(d);
		if (n != shmembox_uint(own)) return 0;
		for (; n; n--)
			if (!shmembox_same_name(d, own) || shmembox_uint(d) != shmembox_uint(own) || !shmembox_equal(d, own, depth + 1)) return 0;
	}
	return !d->bad && !own->bad;
}

/* shmembox_apart ends a part before bytes that the box's lock does not protect, and begins one behind them. */
static inline int shmembox_apart(shmembox *b, uint64_t off, uint64_t size) {
	if (off < b->more_end || off > b->stored || size > b->stored - off) return 0;
	if (off > b->more_end) {
		if (b->more_count % 64 == 0) {
			shmembox_part *p = b->more_count < 16384 ? (shmembox_part *)realloc(b->more, (b->more_count + 64) * sizeof *p) : NULL;
			if (!p) return 0;
			b->more = p;
		}
		b->more[b->more_count].off = b->more_end;
		b->more[b->more_count++].len = off - b->more_end;
	}
	b->more_end = off + size;
	return 1;
}

/* shmembox_parts collects the parts of an appended field, which is at off. It returns how many sync/atomic and psync
 * fields there are, at most 1, and -1 for a schema that makes no sense. */
static inline int shmembox_parts(shmembox *b, shmembox_in *d, uint64_t off, int depth) {
	if (depth > 64 || !shmembox_left(d)) return -1;
	int kind = *d->p++, found = 0;
	shmembox_skip(d, shmembox_uint(d));
	uint64_t size = shmembox_uint(d), n;
	shmembox_uint(d);
	if (d->bad || size == 0) return -1;
	if (kind & SHMEMBOX_ATOMIC || kind == SHMEMBOX_SYNC) return shmembox_apart(b, off, size) ? 1 : -1;
	if (kind == SHMEMBOX_ARRAY) {
		shmembox_in elem;
		n = shmembox_uint(d);
		if (d->bad || n == 0 || size % n) return -1;
		elem = *d;
		for (uint64_t i = 0; i < n; i++) {
			*d = elem;
			found = shmembox_parts(b, d, off + i * (size / n), depth + 1);
			if (found < 1) break;
		}
	}
	if (kind == SHMEMBOX_STRUCT)
		for (n = shmembox_uint(d); n; n--) {
			shmembox_skip(d, shmembox_uint(d));
			uint64_t at = shmembox_uint(d);
			int one = shmembox_parts(b, d, off + at, depth + 1);
			if (one < 0) return -1;
			found |= one;
		}
	return d->bad ? -1 : found;
}

/* shmembox_longer reports whether an encoded schema is the type of this code with appended fields, of at most most
 * bytes, and collects the parts of these. */
static inline int shmembox_longer(shmembox *b, const unsigned char *schema, uint64_t size, uint64_t most) {
	shmembox_in d = {schema, schema + size, 0}, own = {b->type->schema, b->type->schema + b->type->schema_size, 0};
	if (size < 2 || own.p == own.end || d.p[0] != 1 || d.p[1] != SHMEMBOX_STRUCT || own.p[0] != SHMEMBOX_STRUCT) return 0;
	d.p += 2;
	own.p += 1;
	shmembox_skip(&d, shmembox_uint(&d));
	b->stored = shmembox_uint(&d);
	shmembox_uint(&d);
	b->more_count = 0;
	b->more_end = shmembox_uint(&own);
	uint64_t n = shmembox_uint(&d), m = shmembox_uint(&own);
	if (d.bad || n < m || b->stored < b->more_end || b->stored > most) return 0;
	for (; m; m--, n--)
		if (!shmembox_same_name(&d, &own) || shmembox_uint(&d) != shmembox_uint(&own) || !shmembox_equal(&d, &own, 1)) return 0;
	for (; n; n--) {
		shmembox_skip(&d, shmembox_uint(&d));
		uint64_t at = shmembox_uint(&d);
		if (d.bad || at < b->type->size || shmembox_parts(b, &d, at, 1) < 0) return 0;
	}
	return !d.bad && shmembox_apart(b, b->stored, 0);
}

/* shmembox_learn checks by the schema record in the header page that the segment holds the type of this code, with or
 * without appended fields. It fails with EAGAIN if the record is half written. */
static inline int shmembox_learn(shmembox *b, const unsigned char *page) {
	uint32_t kind = shmembox_u32(page + 960), length = shmembox_u32(page + 964);
	uint64_t print = shmembox_u64(page + 968), size = shmembox_u64(page + 976), off = shmembox_u64(page + 984);
	unsigned long long here = b->type->fingerprint;
	if (kind < 1 || kind > 3) return shmembox_fail(b, EINVAL, "%s: it has no schema; this code is for fingerprint %016llx", b->path, here);
	if (size > b->cap || (print == b->type->fingerprint && size < b->type->size)) return shmembox_fail(b, EINVAL, "%s: its schema is damaged", b->path);
	b->fingerprint = print;
	b->stored = b->type->size;
	b->more_count = 0;
	if (print == b->type->fingerprint) return 0;
	int longer = 0, torn = 0;
	if (kind == 1 ? length <= 3096 : kind == 2 && off <= b->size && length <= b->size - off) {
		unsigned char *schema = (unsigned char *)malloc((size_t)length + 32);
		if (!schema) return shmembox_fail(b, ENOMEM, "%s: no memory", b->path);
		memcpy(schema, page + 960, 32);
		if (kind == 1) memcpy(schema + 32, page + 1000, length);
		else torn = pread(b->fd, schema + 32, length, (off_t)off) != (ssize_t)length;
		torn = torn || shmembox_crc(schema, (size_t)length + 32) != shmembox_u32(page + 992);
		longer = !torn && shmembox_longer(b, schema + 32, length, size);
		free(schema);
	}
	if (torn) return shmembox_fail(b, EAGAIN, "%s: its schema is damaged, or being written", b->path);
	if (longer) return 0;
	return shmembox_fail(b, EINVAL, "%s: holds another type: fingerprint %016llx in the segment, %016llx in this code; generate it anew",
		b->path, (unsigned long long)print, here);
}

/* shmembox_check reads the control block of the open file into page, and checks everything that this code
 * relies on. */
static inline int shmembox_check(shmembox *b, unsigned char *page) {
	struct stat st;
	if (fstat(b->fd, &st) < 0) return shmembox_fail(b, errno, "%s: %s", b->path, strerror(errno));
	if (!S_ISREG(st.st_mode)) return shmembox_fail(b, EINVAL, "%s: not a regular file", b->path);
	if (st.st_size < 4096 || pread(b->fd, page, 4096, st.st_size - 4096) != 4096 || memcmp(page, "ShmemBox", 8) != 0)
		return shmembox_fail(b, EINVAL, "%s: not a ShmemBox segment", b->path);
	if (shmembox_u32(page + 12) != 0x01020304u) return shmembox_fail(b, EINVAL, "%s: made by a machine of the other byte order", b->path);
	if (shmembox_u32(page + 8) != 2) return shmembox_fail(b, EINVAL, "%s: it is of format version %u, this code reads 2", b->path, shmembox_u32(page + 8));
	if (shmembox_crc(page, 244) != shmembox_u32(page + 244)) return shmembox_fail(b, EINVAL, "%s: its control block is damaged", b->path);
	uint64_t total = shmembox_u64(page + 16), control = shmembox_u64(page + 32);
	b->cap = shmembox_u64(page + 24);
	b->image = shmembox_u64(page + 40);
	b->slots = shmembox_u64(page + 64);
	b->slot_count = shmembox_u32(page + 72);
	b->lifetime = shmembox_u32(page + 160);
	b->form = shmembox_u32(page + 164);
	if (total != (uint64_t)st.st_size || total % 4096 || shmembox_u32(page + 84) != 0 || b->cap > total || control > total || b->cap > control ||
	    b->slot_count < 1 || b->slot_count > 1024 || b->slots > total || b->slots + (uint64_t)b->slot_count * 64 + 4096 != total ||
	    b->slots < control || b->image % 64 || (b->image && (b->image < control || b->image > b->slots || b->cap > b->slots - b->image)))
		return shmembox_fail(b, EINVAL, "%s: its control block is damaged", b->path);
	if (b->lifetime < 1 || b->lifetime > 3 || b->form > 5) return shmembox_fail(b, EINVAL, "%s: its control block is damaged", b->path);
	if (shmembox_u64(page + 184) != (uint64_t)st.st_ino) return shmembox_fail(b, EINVAL, "%s: it is a copy of a segment", b->path);
	if (b->base && b->size != total) return shmembox_fail(b, EINVAL, "%s: its control block is damaged", b->path); /* mapped by another size */
	b->size = total;
	b->dev = st.st_dev;
	b->ino = st.st_ino;
	return shmembox_learn(b, page);
}

/* shmembox_check_patiently is shmembox_check that waits for another process to have written a longer type. */
static inline int shmembox_check_patiently(shmembox *b, unsigned char *page) {
	int err = shmembox_check(b, page);
	for (int tries = 0; err == -EAGAIN && tries < 100; tries++) {
		shmembox_sleep(100000);
		err = shmembox_check(b, page);
	}
	return err;
}

static inline int shmembox_map(shmembox *b, int prot) {
	void *p = mmap(NULL, b->size, prot, MAP_SHARED, b->fd, 0);
	if (p == MAP_FAILED) return shmembox_fail(b, errno, "%s: mmap: %s", b->path, strerror(errno));
	b->base = (unsigned char *)p;
	return 0;
}

static inline int shmembox_openat(shmembox *b, const char *name, int flags, const shmembox_type *type) {
	memset(b, 0, sizeof *b);
	b->fd = -1;
	b->pid = getpid();
	b->type = type;
	if (snprintf(b->path, sizeof b->path, strchr(name, '/') ? "%s" : "/dev/shm/%s", name) >= (int)sizeof b->path)
		return shmembox_fail(b, ENAMETOOLONG, "%s: the name is too long", b->path);
	b->fd = open(b->path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (b->fd < 0) return shmembox_fail(b, errno, "%s: %s", b->path, strerror(errno));
	return 0;
}

static inline void shmembox_unmap(shmembox *b) {
	if (b->base) munmap(b->base, b->size);
	if (b->fd >= 0) close(b->fd);
	free(b->more);
	b->base = NULL;
	b->fd = -1;
	b->id = 0;
	b->more = NULL;
	b->more_count = 0;
	b->held = 0;
}

/* shmembox_mine fails where the box is closed, and in a child that was forked since it was opened. */
static inline int shmembox_mine(shmembox *b) {
	if (!b->base) return shmembox_fail(b, EBADF, "%s: the box is closed", b->path);
	if (b->pid != getpid()) return shmembox_fail(b, ECHILD, "%s: process %ld opened it before a fork; open it anew in this one", b->path, (long)b->pid);
	return 0;
}

/* shmembox_open opens a segment to read it. It takes no slot and no lock, so reading keeps nothing alive. */
static inline int shmembox_open(shmembox *b, const char *name, const shmembox_type *type) {
	unsigned char page[4096];
	int err = shmembox_openat(b, name, O_RDONLY, type);
	if (!err) err = shmembox_check_patiently(b, page);
	if (!err) err = shmembox_map(b, PROT_READ);
	if (err) shmembox_unmap(b);
	return err;
}

/* shmembox_copy reads memory that other processes may write meanwhile, in whole words where it can. The
 * caller finds out by the counter whether the copy counts. */
static inline void shmembox_copy(unsigned char *dst, const unsigned char *src, size_t n) {
	for (; n && ((uintptr_t)src & 7); n--) *dst++ = __atomic_load_n(src++, __ATOMIC_RELAXED);
	for (; n >= 8; n -= 8, dst += 8, src += 8) {
		uint64_t w = __atomic_load_n((const uint64_t *)(const void *)src, __ATOMIC_RELAXED);
		memcpy(dst, &w, 8);
	}
	while (n--) *dst++ = __atomic_load_n(src++, __ATOMIC_RELAXED);
}

/* shmembox_put writes memory that other processes may read meanwhile. */
static inline void shmembox_put(unsigned char *dst, const unsigned char *src, size_t n) {
	for (; n && ((uintptr_t)dst & 7); n--) __atomic_store_n(dst++, *src++, __ATOMIC_RELAXED);
	for (; n >= 8; n -= 8, dst += 8, src += 8) {
		uint64_t w;
		memcpy(&w, src, 8);
		__atomic_store_n((uint64_t *)(void *)dst, w, __ATOMIC_RELAXED);
	}
	while (n--) __atomic_store_n(dst++, *src++, __ATOMIC_RELAXED);
}

static inline void shmembox_put_all(unsigned char *dst, const unsigned char *src, const shmembox_part *parts, size_t n) {
	for (size_t i = 0; i < n; i++) shmembox_put(dst + parts[i].off, src + parts[i].off, parts[i].len);
}

/* shmembox_put_parts copies what the box's lock protects: all but sync/atomic and psync fields. */
static inline void shmembox_put_parts(shmembox *b, unsigned char *dst, const unsigned char *src) {
	shmembox_put_all(dst, src, b->type->parts, b->type->part_count);
}

/* shmembox_put_more copies the fields that were appended to the type of this code. */
static inline void shmembox_put_more(shmembox *b, unsigned char *dst, const unsigned char *src) {
	shmembox_put_all(dst, src, b->more, b->more_count);
}

/* shmembox_load copies the value as it was at one moment. It takes no lock, and no writer waits for it.
 * Atomics may be newer than the rest, and the state of a lock means nothing in a copy.
 *
 * seq is even while the payload is the value, and odd while the undo image is; a copy counts if seq is the
 * same before and after. */
static inline int shmembox_load(shmembox *b, void *value) {
	int err = shmembox_mine(b);
	if (err) return err;
	unsigned char *v = (unsigned char *)value;
	uint64_t *seq = shmembox_seq(b);
	int64_t deadline = 0;
	for (int tries = 1;; tries++) {
		uint64_t s = __atomic_load_n(seq, __ATOMIC_ACQUIRE);
		if (!(s & 1) || b->image) {
			shmembox_copy(v, b->base, b->type->size);
			if (s & 1) /* the image, except for what it lacks: atomics and locks */
				for (size_t i = 0; i < b->type->part_count; i++) {
					const shmembox_part *p = &b->type->parts[i];
					shmembox_copy(v + p->off, b->base + b->image + p->off, p->len);
				}
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			if (__atomic_load_n(seq, __ATOMIC_RELAXED) == s) return 0;
		}
		if (tries % 64 == 0) {
			if (!deadline) deadline = shmembox_now() + 1000000000;
			if (shmembox_now() > deadline) return shmembox_fail(b, EBUSY, "%s: the value is being changed all the time, or its writer died and there is no undo image", b->path);
			shmembox_sleep(20000);
		}
	}
}

/* shmembox_version returns how often the value has changed. */
static inline uint64_t shmembox_version(shmembox *b) { return shmembox_mine(b) ? 0 : __atomic_load_n(shmembox_seq(b), __ATOMIC_ACQUIRE) / 2; }

/* shmembox_value returns the value itself; NULL where the box cannot be used. */
static inline void *shmembox_value(shmembox *b) { return shmembox_mine(b) ? NULL : b->base; }

/* shmembox_alive reports whether an attachment lives: its slot still has its generation, and the byte of the
 * slot is locked. */
static inline int shmembox_alive(shmembox *b, uint32_t id) {
	uint32_t slot = id & 1023, gen = id >> 10 & 0x1fffff;
	if (id == b->id) return 1;
	if (gen == 0 || slot >= b->slot_count) return 0;
	if (__atomic_load_n((uint32_t *)(void *)shmembox_slot(b, slot), __ATOMIC_SEQ_CST) != gen) return 0;
	return shmembox_held(b->fd, SHMEMBOX_SLOT + slot, 1) || shmembox_held(b->fd, SHMEMBOX_PASSIVE + slot, 1);
}

/* shmembox_high returns one more than the highest slot ever taken. */
static inline uint32_t shmembox_high(shmembox *b) {
	uint32_t n = __atomic_load_n(shmembox_w32(b, SHMEMBOX_HIGH), __ATOMIC_SEQ_CST);
	return n < b->slot_count ? n : b->slot_count;
}

/* shmembox_wake wakes the waiters of the object whose armed word is at off in the header page. It rings every
 * slot that is interested in the object's bucket, and then clears bit 0 of the word it saw at first: so a waker
 * that dies leaves it set, and a slow one does not clear what was armed later. */
static inline void shmembox_wake(shmembox *b, size_t off) {
	uint32_t *armed = shmembox_w32(b, off);
	uint32_t g = __atomic_load_n(armed, __ATOMIC_SEQ_CST);
	if (!(g & 1)) return;
	uint64_t at = b->size - 4096 + off;
	uint64_t bit = (uint64_t)1 << ((uint32_t)((uint32_t)(at >> 2) * 0x9E3779B1u) >> 26);
	for (uint32_t i = 0; i < shmembox_high(b); i++) {
		unsigned char *s = shmembox_slot(b, i);
		if (!(__atomic_load_n((uint64_t *)(void *)(s + 16), __ATOMIC_SEQ_CST) & bit)) continue;
		__atomic_fetch_or((uint64_t *)(void *)(s + 24), bit, __ATOMIC_SEQ_CST);
		__atomic_fetch_add((uint32_t *)(void *)(s + 4), 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n((uint32_t *)(void *)(s + 8), __ATOMIC_SEQ_CST)) syscall(SYS_futex, s + 4, 1 /* FUTEX_WAKE */, INT_MAX, NULL, NULL, 0);
	}
	__atomic_compare_exchange_n(armed, &g, g & ~1u, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline int shmembox_same(shmembox *b) { /* does the name still lead to this file? */
	struct stat st;
	return lstat(b->path, &st) == 0 && st.st_dev == b->dev && st.st_ino == b->ino;
}

/* shmembox_stays reports whether a segment stays although no other attachment exists, by its owner word. A dead owner
 * counts for nothing: the segment is again what it was created as. A shared queue may have unread messages, which this
 * code does not look for. */
static inline int shmembox_stays(shmembox *b, uint32_t state) {
	uint32_t lifetime = state == 2 ? 3 : state == 4 ? 2 : b->lifetime;
	if (state == 3) return 0;
	return lifetime == 3 || (lifetime == 2 && b->form >= 1 && b->form <= 4);
}

/* shmembox_count tells those who wait for events that this attachment has come or gone. */
static inline void shmembox_count(shmembox *b) {
	__atomic_fetch_add((uint64_t *)(void *)(shmembox_head(b) + SHMEMBOX_EVENTS), 1, __ATOMIC_SEQ_CST);
	shmembox_wake(b, SHMEMBOX_EVENTS_ARMED);
}

/* shmembox_take_slot locks a free slot and writes its record. The gate is held. */
static inline int shmembox_take_slot(shmembox *b, const unsigned char *page) {
	unsigned char rec[64], old[64];
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < b->slot_count; i++) {
			int64_t at = (int64_t)b->size - 4096 - ((int64_t)i + 1) * 64;
			if (pread(b->fd, old, 64, at) != 64) return shmembox_fail(b, EIO, "%s: slots cannot be read", b->path);
			if ((shmembox_u32(old + 32) != 0) != pass) continue; /* slots without a pid are most likely free; the lock decides */
			if (shmembox_setlk(b->fd, F_WRLCK, SHMEMBOX_SLOT + i) < 0) {
				if (errno == EAGAIN || errno == EACCES) continue;
				return shmembox_fail(b, errno, "%s: lock: %s", b->path, strerror(errno));
			}
			uint32_t gen = (shmembox_u32(old) + 1) & 0x1fffff, pid = (uint32_t)getpid(), high = i + 1;
			if (gen == 0) gen = 1;
			struct stat ns;
			uint64_t inode = stat("/proc/self/ns/pid", &ns) == 0 ? (uint64_t)ns.st_ino : 0;
			struct timespec t;
			clock_gettime(CLOCK_REALTIME, &t);
			int64_t now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
			uint32_t flags = shmembox_u32(old + 32) ? 8 : 0; /* the one before did not detach */
			memset(rec, 0, 64);
			memcpy(rec + 36, &flags, 4);
			memcpy(rec, &gen, 4);
			memcpy(rec + 32, &pid, 4);
			memcpy(rec + 40, &inode, 8);
			memcpy(rec + 48, &now, 8);
			if (pwrite(b->fd, rec, 64, at) != 64) return shmembox_fail(b, EIO, "%s: its slot cannot be written", b->path);
			if (shmembox_u32(page + SHMEMBOX_HIGH) < high && pwrite(b->fd, &high, 4, (off_t)(b->size - 4096 + SHMEMBOX_HIGH)) != 4)
				return shmembox_fail(b, EIO, "%s: its slot cannot be written", b->path);
			b->id = gen << 10 | i;
			return 0;
		}
	return shmembox_fail(b, EAGAIN, "%s: every slot is taken", b->path);
}

/* shmembox_attach attaches to a segment, to write as well. Steps: open, check and map the file; take the gate; see that
 * the name still leads to it; read again what changes; see that the segment is in use or kept; take a slot; release the
 * gate. Nothing may fail with a slot: another attachment may have left meanwhile, and rely on this one for the
 * cleanup. */
static inline int shmembox_attach(shmembox *b, const char *name, const shmembox_type *type) {
	unsigned char page[4096];
	int64_t deadline = shmembox_now() + 5000000000;
	for (;;) {
		int err = shmembox_openat(b, name, O_RDWR, type);
		if (!err) err = shmembox_check_patiently(b, page);
		if (!err) err = shmembox_map(b, PROT_READ | PROT_WRITE);
		if (!err) err = shmembox_enter(b, deadline);
		if (err) {
			shmembox_unmap(b);
			return err;
		}
		if (!shmembox_same(b)) { /* removed a moment ago: try the file that has the name now */
			shmembox_unmap(b);
			if (shmembox_now() < deadline) continue;
			return shmembox_fail(b, EBUSY, "%s: other processes create and remove it all the time", b->path);
		}
		err = shmembox_check(b, page); /* what may have changed before the gate was taken */
		uint64_t owner = shmembox_u64(page + SHMEMBOX_OWNER);
		uint32_t state = (uint32_t)(owner >> 32);
		if (!err && (state > 4 || (state == 1) != ((uint32_t)owner >> 10 != 0))) err = shmembox_fail(b, EINVAL, "%s: its owner word is damaged", b->path);
		if (!err && (state == 3 || (!shmembox_held(b->fd, SHMEMBOX_SLOT, (int64_t)b->slot_count) && !shmembox_stays(b, state))))
			err = shmembox_fail(b, ENOENT, "%s: its owner has left or died", b->path);
		if (!err) err = shmembox_take_slot(b, page);
		shmembox_leave(b);
		if (err) shmembox_unmap(b);
		else shmembox_count(b);
		return err;
	}
}

/* shmembox_unlock releases the box's lock, and wakes its waiters if there are any. */
static inline void shmembox_unlock(shmembox *b) {
	b->held = 0;
	uint32_t *word = shmembox_w32(b, SHMEMBOX_LOCK), w = b->id;
	if (__atomic_compare_exchange_n(word, &w, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
	while ((w & ~SHMEMBOX_WAITERS) == b->id)
		if (__atomic_compare_exchange_n(word, &w, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
			shmembox_wake(b, SHMEMBOX_LOCK_ARMED);
			return;
		}
}

/* shmembox_refresh looks at the type in the segment if another process has appended fields: the undo image must always
 * hold all of them. The lock is held. */
static inline int shmembox_refresh(shmembox *b) {
	unsigned char page[4096];
	int err = 0;
	for (int tries = 0; tries < 100; tries++) { /* without the gate the record may be half written */
		if (__atomic_load_n((uint64_t *)(void *)(shmembox_head(b) + 968), __ATOMIC_SEQ_CST) == b->fingerprint) return 0;
		if (tries) shmembox_sleep(100000);
		if (pread(b->fd, page, 4096, (off_t)(b->size - 4096)) != 4096) return shmembox_fail(b, EIO, "%s: its schema cannot be read", b->path);
		err = shmembox_learn(b, page);
		if (!err) return 0;
		b->fingerprint = b->type->fingerprint + 1; /* look again the next time */
		if (err != -EAGAIN) break;
	}
	return err;
}

/* shmembox_lock takes the box's own lock, and fails with ETIMEDOUT after timeout_ms. If the holder died it takes
 * the lock over and undoes the change that was not finished. It polls instead of sleeping in the kernel, so
 * that no waker has to know of it. A holder is checked for life about once a millisecond. */
static inline int shmembox_lock(shmembox *b, int timeout_ms) {
	int err = shmembox_mine(b);
	if (err) return err;
	if (b->held) return shmembox_fail(b, EDEADLK, "%s: this box holds the lock already", b->path);
	if (!b->id) return shmembox_fail(b, EROFS, "%s: it was opened to read; attach to write", b->path);
	uint32_t *word = shmembox_w32(b, SHMEMBOX_LOCK);
	int64_t deadline = 0;
	long pause = 20000, waited = 0;
	for (;;) {
		uint32_t w = __atomic_load_n(word, __ATOMIC_SEQ_CST), owner = w & ~SHMEMBOX_WAITERS;
		int probe = waited >= 1000000;
		if (probe) waited = 0;
		if (owner == 0 || owner == 1 || (probe && !shmembox_alive(b, owner))) {
			if (__atomic_compare_exchange_n(word, &w, b->id | (w & SHMEMBOX_WAITERS), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
			continue;
		}
		if (!deadline) deadline = shmembox_now() + (int64_t)timeout_ms * 1000000;
		if (shmembox_now() > deadline) return shmembox_fail(b, ETIMEDOUT, "%s: slot %u holds the lock", b->path, owner & 1023);
		shmembox_sleep(pause);
		waited += pause;
		if (pause < 500000) pause *= 2;
	}
	/* A reader sets its mark before it reads the lock word, so no new reader comes in now. Wait for those
	 * that were there before and are alive. */
	for (uint32_t i = 0; i < shmembox_high(b); i++) {
		uint32_t *mark = (uint32_t *)(void *)(shmembox_slot(b, i) + 12), id;
		while ((id = __atomic_load_n(mark, __ATOMIC_SEQ_CST)) != 0 && (id & 1023) == i && shmembox_alive(b, id)) {
			if (!deadline) deadline = shmembox_now() + (int64_t)timeout_ms * 1000000;
			if (shmembox_now() > deadline) {
				shmembox_unlock(b);
				return shmembox_fail(b, ETIMEDOUT, "%s: slot %u reads", b->path, i);
			}
			shmembox_sleep(20000);
		}
	}
	err = shmembox_refresh(b);
	if (err) {
		shmembox_unlock(b);
		return err;
	}
	uint64_t *seq = shmembox_seq(b), s = __atomic_load_n(seq, __ATOMIC_SEQ_CST);
	if (!(s & 1)) return 0;
	if (!b->image) {
		shmembox_unlock(b);
		return shmembox_fail(b, EOWNERDEAD, "%s: a writer died changing the value, and there is no undo image", b->path);
	}
	shmembox_put_parts(b, b->base, b->base + b->image);
	shmembox_put_more(b, b->base, b->base + b->image);
	__atomic_store_n(seq, s + 1, __ATOMIC_SEQ_CST);
	shmembox_wake(b, SHMEMBOX_SEQ_ARMED);
	return 0;
}

/* shmembox_put_value replaces the value. The lock is held. Other processes see either value, also if this one dies
 * between any two steps: new value to the image; seq odd; new value to the payload; seq even. */
static inline void shmembox_put_value(shmembox *b, const void *value) {
	const unsigned char *v = (const unsigned char *)value;
	uint64_t *seq = shmembox_seq(b), s = __atomic_load_n(seq, __ATOMIC_SEQ_CST);
	if (b->image) {
		shmembox_put_parts(b, b->base + b->image, v);
		shmembox_put_more(b, b->base + b->image, b->base);
	}
	__atomic_store_n(seq, s + 1, __ATOMIC_SEQ_CST); /* odd: the image is the value */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	shmembox_put_parts(b, b->base, v);
	__atomic_store_n(seq, s + 2, __ATOMIC_SEQ_CST); /* even: the payload is */
	shmembox_wake(b, SHMEMBOX_SEQ_ARMED);
}

/* shmembox_store replaces the whole value under the lock. Atomics and locks in it stay as they are. */
static inline int shmembox_store(shmembox *b, const void *value, int timeout_ms) {
	int err = shmembox_lock(b, timeout_ms);
	if (err) return err;
	shmembox_put_value(b, value);
	shmembox_unlock(b);
	return 0;
}

/* shmembox_begin takes the lock, and copies the value. Until shmembox_commit or shmembox_cancel no other process
 * changes the value; if this process dies, the value stays as it is, and the next one takes the lock over. */
static inline int shmembox_begin(shmembox *b, void *value, int timeout_ms) {
	int err = shmembox_lock(b, timeout_ms);
	if (err) return err;
	shmembox_copy((unsigned char *)value, b->base, b->type->size);
	b->held = 1;
	return 0;
}

static inline int shmembox_begun(shmembox *b) {
	int err = shmembox_mine(b);
	if (!err && !b->held) err = shmembox_fail(b, EPERM, "%s: begin has not been called, or has failed", b->path);
	return err;
}

/* shmembox_commit ends what shmembox_begin began: it stores the value as a whole, and unlocks. */
static inline int shmembox_commit(shmembox *b, const void *value) {
	int err = shmembox_begun(b);
	if (err) return err;
	shmembox_put_value(b, value);
	shmembox_unlock(b);
	return 0;
}

/* shmembox_cancel unlocks, and leaves the value as it is. It does nothing unless shmembox_begin has succeeded. */
static inline void shmembox_cancel(shmembox *b) {
	if (b->held && b->base && b->pid == getpid()) shmembox_unlock(b);
}

/* shmembox_resign gives up the slot. Each attachment unlocks its slot first and looks afterwards: of those that
 * leave, the last one to unlock sees no other. Only that one takes the gate, and decides there. */
static inline void shmembox_resign(shmembox *b) {
	uint64_t owner = 0, dropped = (uint64_t)3 << 32;
	uint32_t none = 0, slot = b->id & 1023;
	off_t word = (off_t)(b->size - 4096 + SHMEMBOX_OWNER);
	/* Before the unlock: after it the record may be another attachment's. A hint only. */
	if (pwrite(b->fd, &none, 4, (off_t)(b->size - 4096 - ((uint64_t)slot + 1) * 64 + 32)) != 4) none = 0;
	shmembox_setlk(b->fd, F_UNLCK, SHMEMBOX_SLOT + slot);
	if (shmembox_held(b->fd, SHMEMBOX_SLOT, (int64_t)b->slot_count)) return;
	if (shmembox_enter(b, shmembox_now() + 5000000000) != 0) return;
	if (pread(b->fd, &owner, 8, word) == 8) {
		uint32_t state = (uint32_t)(owner >> 32);
		int clean = state == 3; /* one that dropped it may have died before it unlinked the name */
		if (!clean && !shmembox_held(b->fd, SHMEMBOX_SLOT, (int64_t)b->slot_count) && !shmembox_stays(b, state))
			clean = pwrite(b->fd, &dropped, 8, word) == 8;
		if (clean && shmembox_same(b)) unlink(b->path);
	}
	shmembox_leave(b);
}

/* shmembox_close detaches. The last process to leave a segment that is shared, or whose owner died, unlinks it. */
static inline void shmembox_close(shmembox *b) {
	shmembox_cancel(b);
	if (b->id && b->pid == getpid()) {
		shmembox_resign(b);
		shmembox_count(b);
	}
	shmembox_unmap(b);
}

#ifdef __cplusplus
template <class T, class F> inline int shmembox_update(shmembox *b, F &&f) {
	T *v = new T();
	int err = shmembox_begin(b, v, 5000);
	if (err) { /* the lock may be that of an update around this one */
		delete v;
		return err;
	}
	struct update {
		shmembox *b;
		T *v;
		~update() { /* f may have thrown */
			shmembox_cancel(b);
			delete v;
		}
	} u = {b, v};
	f(*u.v);
	return shmembox_commit(b, u.v);
}
#endif

#endif /* SHMEMBOX_RUNTIME */
