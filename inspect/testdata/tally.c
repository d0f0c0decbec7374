/* Compiled as C and as C++. second.c is the other half of the program. */
#include "tally.h"
#include "poly.h"
#include <stdlib.h>
#include <sys/wait.h>

int second(const char *path);

static int fail(const char *what, Tally_box *b) {
	printf("error %s: %s\n", what, b->error);
	return 1;
}

static int count(Tally_box *b, long n) {
	static Tally v;
	for (long i = 0; i < n; i++) {
		int err = Tally_begin(b, &v);
		if (err == -ETIMEDOUT) { /* a loaded machine */
			i--;
			continue;
		}
		if (err < 0) return fail("begin", b);
		v.N++;
		v.In.Sum++;
		v.M++;
		if (i % 3 == 2) { /* a change that is given up */
			Tally w = v;
			w.N = 0;
			Tally_cancel(b);
			if (Tally_commit(b, &w) != -EPERM) return fail("commit after cancel", b);
			if (Tally_begin(b, &w) < 0) return fail("begin", b);
			if (Tally_begin(b, &w) != -EDEADLK || Tally_store(b, &w) != -EDEADLK) return fail("begin in a begin", b);
			v = w;
			v.N++;
			v.In.Sum++;
			v.M++;
		}
		if (Tally_commit(b, &v) < 0) return fail("commit", b);
	}
#ifdef __cplusplus
	int err = Tally_update(b, [](Tally &t) { t.N++; t.N--; });
	if (err < 0) return fail("update", b);
	try {
		Tally_update(b, [](Tally &t) { t.N = 0; throw 7; });
		return fail("no exception", b);
	} catch (int) {
	}
#endif
	printf("done %ld\n", n);
	return 0;
}

static int forked(Tally_box *b) {
	static Tally v;
	if (Tally_begin(b, &v) < 0) return fail("begin", b);
	pid_t child = fork();
	if (child == 0) {
		int bad = Tally_load(b, &v) != -ECHILD || Tally_store(b, &v) != -ECHILD || Tally_begin(b, &v) != -ECHILD || Tally_commit(b, &v) != -ECHILD ||
			  Tally_value(b) != NULL || Tally_version(b) != 0;
		Tally_cancel(b);
		Tally_close(b);
		Tally_close(b);
		_exit(bad);
	}
	int status = 1;
	waitpid(child, &status, 0);
	if (status != 0) return fail("the child", b);
	v.N++;
	v.In.Sum++;
	v.M++;
	if (Tally_commit(b, &v) < 0) return fail("commit after the child", b); /* it has not unlocked */
	if (Tally_load(b, &v) < 0 || Tally_value(b) == NULL) return fail("load after the child", b);
	puts("done 1");
	return 0;
}

int main(int argc, char **argv) {
	Tally_box b;
	static Tally v;
	const char *mode = argc > 3 ? argv[1] : "";
	int write = strcmp(mode, "read") != 0;
	if ((write ? Tally_attach : Tally_open)(&b, argv[2]) < 0) return fail("open", &b);
	if (second(argv[2]) == 0) return fail("second", &b);
	puts("up");
	fflush(stdout);
	int c = getchar();
	int err = 0;
	if (strcmp(mode, "count") == 0) err = count(&b, atol(argv[3]));
	if (strcmp(mode, "fork") == 0) err = forked(&b);
	if (strcmp(mode, "hold") == 0) {
		if (Tally_begin(&b, &v) < 0) return fail("begin", &b);
		v.N = 12345;
		puts("held");
		fflush(stdout);
		pause();
	}
	if (strcmp(mode, "read") == 0) {
		if (Tally_load(&b, &v) < 0) return fail("load", &b);
		printf("done %llu\n", (unsigned long long)v.N);
	}
	(void)c;
	Tally_close(&b);
	if (Tally_load(&b, &v) != -EBADF) return fail("load after close", &b);
	return err;
}
