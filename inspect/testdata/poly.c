#include "poly.h"
#include <stdlib.h>

static void fill(Poly *v, uint64_t n) {
	v->N = v->End = n;
	for (int i = 0; i < 7; i++) v->A[i] = (uint32_t)n;
	for (int i = 0; i < 200; i++) v->Tail[i] = n;
	snprintf(v->Name, sizeof v->Name, "%llu", (unsigned long long)n % 100000000);
	v->In.X = (int16_t)(n & 0x7fff);
	v->In.Y = (double)n;
}

static int good(const Poly *v) {
	Poly w = *v;
	memset(w.Name, 0, sizeof w.Name);
	fill(&w, v->N);
	return memcmp(w.A, v->A, sizeof w.A) == 0 && memcmp(w.Tail, v->Tail, sizeof w.Tail) == 0 && w.End == v->End &&
	       strcmp(w.Name, v->Name) == 0 && w.In.X == v->In.X && w.In.Y == v->In.Y;
}

int main(int argc, char **argv) {
	Poly_box b;
	static Poly v;
	int write = argc > 1 && strcmp(argv[1], "write") == 0;
	if ((write ? Poly_attach : Poly_open)(&b, argv[2]) < 0) {
		printf("error %s\n", b.error);
		return 1;
	}
	puts("up");
	fflush(stdout);
	getchar();
	int64_t end = shmembox_now() + (int64_t)(atof(argv[3]) * 1e9);
	uint64_t n = 0, torn = 0, busy = 0, last = 0, distinct = 0;
	if (write) {
		if (Poly_load(&b, &v) < 0) return printf("error %s\n", b.error), 1;
		n = v.N;
	}
	uint64_t first = n;
	while (shmembox_now() < end) {
		if (write) {
			memset(&v, 0, sizeof v);
			fill(&v, n + 1);
			__atomic_fetch_add(&Poly_value(&b)->Hits, 1, __ATOMIC_SEQ_CST);
			if (Poly_store(&b, &v) < 0) return printf("error %s\n", b.error), 1;
		} else if (Poly_load(&b, &v) < 0) {
			busy++;
			continue;
		} else {
			if (!good(&v)) torn++;
			if (v.N != last) distinct++;
			last = v.N;
		}
		n++;
	}
	Poly_close(&b);
	printf("done %llu torn %llu busy %llu distinct %llu\n", (unsigned long long)(n - first), (unsigned long long)torn, (unsigned long long)busy, (unsigned long long)distinct);
	return 0;
}
