/* Includes the headers in the other order. */
#include "poly.h"
#include "tally.h"

int second(const char *path);

/* second opens a box with the code of another type, which is refused. */
int second(const char *path) {
	Poly_box b;
	Poly_Inner in;
	Tally_inner other;
	(void)in;
	(void)other;
	return Poly_open(&b, path);
}
