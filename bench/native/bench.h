// How the programs in C and C++ measure and report: as Trial in trial.go does.
// Standard output is a line "operations ns cpu-ns threads rss", then latencies of 8 bytes each.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t peers[128];
static int npeers;

static uint64_t clock_ns(clockid_t c) {
  struct timespec t;
  clock_gettime(c, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static uint64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }
static uint64_t cpu(void) {
  uint64_t sum = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  for (int i = 0; i < npeers; i++) sum += clock_ns((clockid_t)((~(unsigned)peers[i] << 3) | 2));
  return sum;
}
static long number(const char *name, long otherwise) {
  const char *s = getenv(name);
  return s ? atol(s) : otherwise;
}
// trial_name is unique; what is named by it and something behind it is removed after the trial.
static const char *trial_name(void) {
  const char *d = getenv("BENCH_DIR");
  return d && strrchr(d, '/') ? strrchr(d, '/') + 1 : "shmem-bench";
}
static uint64_t duration(void) { return number("BENCH_MS", 100) * 1000000ull; }

// spawn forks a process that runs f for ever, and dies with us.
static pid_t spawn(void (*f)(void)) {
  pid_t parent = getpid(), p = fork();
  if (p == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (getenv("BENCH_PIN")) {
      cpu_set_t s;
      CPU_ZERO(&s);
      CPU_SET((1 + npeers) % sysconf(_SC_NPROCESSORS_ONLN), &s);
      sched_setaffinity(0, sizeof s, &s);
    }
    f();
    _exit(0);
  }
  peers[npeers++] = p;
  return p;
}
static void killall(void) {
  for (int i = 0; i < npeers; i++) kill(peers[i], SIGKILL);
  while (wait(0) > 0) {}
}

static void usage(pid_t p, long *threads, long *rss) {
  char path[64], line[256];
  long v;
  snprintf(path, sizeof path, "/proc/%d/status", p);
  FILE *f = fopen(path, "r");
  while (f && fgets(line, sizeof line, f)) {
    if (sscanf(line, "VmRSS: %ld", &v) == 1) *rss += v * 1024;
    if (sscanf(line, "Threads: %ld", &v) == 1) *threads += v;
  }
  if (f) fclose(f);
}

static uint64_t began, cpu0;
static void begin(void) {
  cpu0 = cpu();
  began = now();
}
static void end(uint64_t ops) {
  uint64_t ns = now() - began, c = cpu() - cpu0;
  long threads = 0, rss = 0;
  usage(getpid(), &threads, &rss);
  for (int i = 0; i < npeers; i++) usage(peers[i], &threads, &rss);
  printf("%llu %llu %llu %ld %ld\n", (unsigned long long)ops, (unsigned long long)ns, (unsigned long long)c, threads, rss);
  fflush(stdout);
}

// loop measures op for so many ns.
static inline __attribute__((always_inline)) void loop(uint64_t limit, void (*op)(void)) {
  uint64_t n = 1, ops = 0;
  for (uint64_t start = now(); now() - start < limit / 5;) {
    uint64_t t = now();
    for (uint64_t i = 0; i < n; i++) op();
    if (now() - t < limit / 50) n *= 2;
  }
  for (begin(); now() - began < limit; ops += n)
    for (uint64_t i = 0; i < n; i++) op();
  end(ops);
}
// each measures op, and its latencies.
static inline __attribute__((always_inline)) void each(void (*op)(void)) {
  uint64_t limit = duration() / 2;
  loop(limit, op);
  for (uint64_t start = now(), t = start; t - start < limit;) {
    t = now();
    op();
    uint64_t d = now() - t;
    fwrite(&d, sizeof d, 1, stdout);
  }
  fflush(stdout);
}
// count measures what others do, not too briefly.
static void count(volatile uint64_t *counter) {
  uint64_t us = duration() / 1000;
  usleep(us / 5);
  begin();
  uint64_t before = *counter;
  usleep(us < 100000 ? 100000 : us);
  end(*counter - before);
}
static void *shared(size_t n) {
  return mmap(0, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}
