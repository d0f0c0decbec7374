// What C gives for sharing between processes: pthread mutexes, semaphores, shm_open.
#include "bench.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

static struct memory {
  pthread_mutex_t mu;
  pthread_cond_t cond;
  char pad0[128];
  sem_t there;
  char pad1[128];
  sem_t back;
  char pad2[128];
  volatile uint64_t count, other;
  volatile uint64_t up, got;
  char ball[64];
  uint64_t page[512];
} *m;

static void init_mutex(int robust) {
  pthread_mutexattr_t a;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
  if (robust) pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&m->mu, &a);
}
static void mutex(void) {
  pthread_mutex_lock(&m->mu);
  m->count++;
  pthread_mutex_unlock(&m->mu);
}
static void semaphore(void) {
  sem_wait(&m->there);
  m->count++;
  sem_post(&m->there);
}
static void (*the_lock)(void);
static void hammer(void) {
  for (;;) the_lock();
}

static void round_trip(void) {
  char b[64] = {0};
  memcpy(m->ball, b, 64);
  sem_post(&m->there);
  while (sem_wait(&m->back)) {}
  memcpy(b, m->ball, 64);
}
static void echo(void) {
  for (;;) {
    char b[64];
    while (sem_wait(&m->there)) {}
    memcpy(b, m->ball, 64);
    memcpy(m->ball, b, 64);
    sem_post(&m->back);
  }
}

static void write_page(void) {
  uint64_t page[512];
  for (uint64_t i = 1;; i++) {
    for (int k = 0; k < 512; k++) page[k] = i;
    pthread_mutex_lock(&m->mu);
    memcpy(m->page, page, sizeof page);
    pthread_mutex_unlock(&m->mu);
    m->count++;
  }
}
static uint64_t snapshot[512];
static void read_page(void) {
  pthread_mutex_lock(&m->mu);
  memcpy(snapshot, m->page, sizeof snapshot);
  pthread_mutex_unlock(&m->mu);
}

static char path[128];
static void open_map(int flags) {
  int fd = shm_open(path, flags, 0600);
  if (flags & O_CREAT && ftruncate(fd, 4096)) exit(1);
  volatile char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) exit(1);
  p[0]++;
  munmap((void *)p, 4096);
  close(fd);
}
static void existing(void) { open_map(O_RDWR); }
static void create(void) {
  open_map(O_RDWR | O_CREAT | O_EXCL);
  shm_unlink(path);
}

static void holder(void) {
  pthread_mutex_lock(&m->mu);
  m->up = 1;
  pause();
}
static void waiter(void) {
  int e = pthread_mutex_lock(&m->mu);
  m->got = now();
  if (e == EOWNERDEAD) pthread_mutex_consistent(&m->mu);
  pthread_mutex_unlock(&m->mu);
}
// One operation is the time from SIGKILL of the holder until the waiter has the lock.
static void recovery(void) {
  m->up = m->got = 0;
  pid_t h = spawn(holder);
  while (!m->up) usleep(100);
  pid_t w = spawn(waiter);
  usleep(20000);
  begin();
  uint64_t t = now();
  kill(h, SIGKILL);
  waitpid(w, 0, 0);
  uint64_t d = m->got - t;
  printf("1 %llu 0 2 0\n", (unsigned long long)d);
  fflush(stdout);
  fwrite(&d, sizeof d, 1, stdout);
}

static void *wait_cond(void *unused) {
  pthread_mutex_lock(&m->mu);
  m->up++;
  while (!m->count) pthread_cond_wait(&m->cond, &m->mu);
  pthread_mutex_unlock(&m->mu);
  return unused;
}
// So many threads wait for a condition.
static void idle(void) {
  uint64_t n = number("BENCH_N", 1000);
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setstacksize(&a, 64 << 10);
  for (uint64_t i = 0; i < n; i++) {
    pthread_t t;
    if ((errno = pthread_create(&t, &a, wait_cond, 0))) {
      fprintf(stderr, "%llu threads: %s\n", (unsigned long long)i, strerror(errno));
      exit(1);
    }
  }
  for (;;) {
    pthread_mutex_lock(&m->mu);
    int all = m->up == n;
    pthread_mutex_unlock(&m->mu);
    if (all) break;
    usleep(1000);
  }
  begin();
  usleep(duration() / 1000);
  end(n);
}

int main(int argc, char **argv) {
  const char *what = argv[1], *how = argc > 2 ? argv[2] : "", *kind = argc > 3 ? argv[3] : "";
  m = shared(sizeof *m);
  snprintf(path, sizeof path, "/%s.c", trial_name());
  if (!strcmp(what, "lock")) {
    if (!strcmp(kind, "semaphore")) {
      sem_init(&m->there, 1, 1);
      the_lock = semaphore;
    } else {
      init_mutex(!strcmp(kind, "robust"));
      the_lock = mutex;
    }
    if (!strcmp(how, "alone")) {
      loop(duration(), the_lock);
    } else {
      spawn(hammer);
      spawn(hammer);
      count(&m->count);
    }
  } else if (!strcmp(what, "pingpong")) {
    sem_init(&m->there, 1, 0);
    sem_init(&m->back, 1, 0);
    spawn(echo);
    each(round_trip);
  } else if (!strcmp(what, "open")) {
    if (!strcmp(how, "new")) {
      each(create);
    } else {
      open_map(O_RDWR | O_CREAT | O_EXCL);
      each(existing);
      shm_unlink(path);
    }
  } else if (!strcmp(what, "snapshot")) {
    init_mutex(1);
    spawn(write_page);
    while (!m->count) {}
    each(read_page);
  } else if (!strcmp(what, "recovery")) {
    init_mutex(1);
    recovery();
  } else if (!strcmp(what, "idle")) {
    init_mutex(0);
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&m->cond, &a);
    idle();
  } else {
    return 2;
  }
  killall();
  return 0;
}
