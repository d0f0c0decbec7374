/* A process that uses a robust mutex in a file: crowd PATH HOLD PAUSE BUSY, times in ns. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct shared { pthread_mutex_t mu; };

static long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void spend(long ns, int busy) {
	if (ns == 0) return;
	if (!busy) {
		struct timespec t = {ns / 1000000000L, ns % 1000000000L};
		nanosleep(&t, NULL);
		return;
	}
	for (long start = now(); now() - start < ns;) {}
}

static struct shared *map(const char *path) {
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	int made = fd >= 0;
	if (!made) fd = open(path, O_RDWR);
	if (fd < 0 || (made && ftruncate(fd, 4096))) exit(2);
	while (!made && lseek(fd, 0, SEEK_END) < 4096) usleep(1000);
	struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED) exit(2);
	if (made) {
		pthread_mutexattr_t a;
		pthread_mutexattr_init(&a);
		pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
		pthread_mutex_init(&s->mu, &a);
	}
	return s;
}

static volatile int stop;

static void *untilLine(void *unused) {
	char line[16];
	if (!fgets(line, sizeof line, stdin)) exit(0);
	stop = 1;
	return unused;
}

static int byTime(const void *a, const void *b) {
	long d = *(const long *)a - *(const long *)b;
	return d < 0 ? -1 : d > 0;
}

static void use(struct rusage *r) { getrusage(RUSAGE_SELF, r); }

static long cpu(const struct rusage *r) {
	return (r->ru_utime.tv_sec + r->ru_stime.tv_sec) * 1000000000L +
	       (r->ru_utime.tv_usec + r->ru_stime.tv_usec) * 1000L;
}

enum { MOST = 1 << 20 };
static long unlocks[MOST];

int main(int argc, char **argv) {
	if (argc != 5) return 2;
	struct shared *s = map(argv[1]); /* the first process is ready before the next one starts */
	long hold = atol(argv[2]), pause = atol(argv[3]);
	int busy = !strcmp(argv[4], "true");
	char line[16];
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin)) return 0;
	pthread_t t;
	if (pthread_create(&t, NULL, untilLine, NULL)) return 2;
	struct rusage before, after;
	use(&before);
	long locks = 0, longest = 0, n = 0;
	while (!stop) {
		long start = now();
		int e = pthread_mutex_lock(&s->mu);
		if (e == EOWNERDEAD) pthread_mutex_consistent(&s->mu);
		else if (e) return 3;
		long got = now();
		if (got - start > longest) longest = got - start;
		locks++;
		spend(hold, busy);
		long end = now();
		pthread_mutex_unlock(&s->mu);
		if ((hold > 0 || locks % 16 == 1) && n < MOST) unlocks[n++] = now() - end;
		spend(pause, 0);
	}
	use(&after);
	qsort(unlocks, n, sizeof *unlocks, byTime);
	printf("{\"Locks\":%ld,\"Unlock\":%ld,\"Longest\":%ld,\"Usage\":{\"CPU\":%ld,\"Switches\":%ld}}\n",
	       locks, n ? unlocks[n / 2] : 0, longest, cpu(&after) - cpu(&before),
	       after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw);
	return 0;
}
