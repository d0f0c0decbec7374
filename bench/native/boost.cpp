// Boost.Interprocess: message_queue, interprocess_mutex, shared_memory_object.
#include "bench.h"
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <new>
#include <string>
#include <vector>

namespace bip = boost::interprocess;

struct memory {
  bip::interprocess_mutex mu;
  volatile uint64_t count = 0, up = 0, got = 0;
};
static memory *m;
static bip::message_queue *there, *back;
static std::vector<char> buffer;
static std::string name;

static void lock() {
  m->mu.lock();
  m->count = m->count + 1;
  m->mu.unlock();
}
static void hammer() {
  for (;;) lock();
}
static void send(bip::message_queue *q) { q->send(buffer.data(), buffer.size(), 0); }
static void receive(bip::message_queue *q) {
  bip::message_queue::size_type n;
  unsigned priority;
  q->receive(buffer.data(), buffer.size(), n, priority);
}
static void echo() {
  for (;;) receive(there), send(back);
}
static void source() {
  for (;;) send(back);
}
static void round_trip() { send(there), receive(back); }
static void receive_one() { receive(back); }

static void map_it(bip::shared_memory_object &o) {
  bip::mapped_region r(o, bip::read_write);
  ++*static_cast<volatile char *>(r.get_address());
}
static void existing() {
  bip::shared_memory_object o(bip::open_only, name.c_str(), bip::read_write);
  map_it(o);
}
static void create() {
  {
    bip::shared_memory_object o(bip::create_only, name.c_str(), bip::read_write);
    o.truncate(4096);
    map_it(o);
  }
  bip::shared_memory_object::remove(name.c_str());
}

static void holder() {
  m->mu.lock();
  m->up = 1;
  pause();
}
static void waiter() {
  m->mu.lock();
  m->got = now();
}

int main(int argc, char **argv) {
  std::string what = argv[1], how = argc > 2 ? argv[2] : "";
  size_t size = number("BENCH_SIZE", 64), room = size > 65536 ? 8 : 1024;
  name = std::string(trial_name()) + ".boost";
  m = new (shared(sizeof *m)) memory;
  buffer.resize(size);
  auto queue = [&](const char *suffix) {
    return new bip::message_queue(bip::create_only, (name + suffix).c_str(), room, size);
  };
  if (what == "lock") {
    if (how == "alone") {
      loop(duration(), lock);
    } else {
      spawn(hammer);
      spawn(hammer);
      count(&m->count);
    }
  } else if (what == "roundtrip" || what == "stream") {
    there = queue("-there"), back = queue("-back");
    bip::message_queue::remove((name + "-there").c_str());
    bip::message_queue::remove((name + "-back").c_str());
    spawn(what == "roundtrip" ? echo : source);
    if (what == "roundtrip") {
      each(round_trip);
    } else {
      loop(duration(), receive_one);
    }
  } else if (what == "open") {
    if (how == "new") {
      each(create);
    } else {
      bip::shared_memory_object o(bip::create_only, name.c_str(), bip::read_write);
      o.truncate(4096);
      each(existing);
      bip::shared_memory_object::remove(name.c_str());
    }
  } else if (what == "recovery") {
    pid_t h = spawn(holder);
    while (!m->up) usleep(100);
    spawn(waiter);
    usleep(20000);
    kill(h, SIGKILL);
    usleep(1000000);
    fprintf(stderr, m->got ? "recovered\n" : "never: still waiting 1 s after the holder's death\n");
    killall();
    return 1;
  } else {
    return 2;
  }
  killall();
  return 0;
}
