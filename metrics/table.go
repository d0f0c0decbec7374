package metrics

import "strings"

// A Type says how the values of a metric change.
type Type int

// Types of metrics.
const (
	Gauge   Type = iota + 1 // goes up and down
	Counter                 // only grows, while the segment is the same
)

// String returns the type as Prometheus writes it.
func (t Type) String() string {
	switch t {
	case Gauge:
		return "gauge"
	case Counter:
		return "counter"
	}
	return "untyped"
}

// A Metric is a line of the table of metrics.
type Metric struct {
	Name   string // as Prometheus has it: shmem_, a thing, a unit
	Help   string // one sentence
	Type   Type
	Labels []string // names of the labels; "segment" first, if there is one
	index  int
}

// Unit returns what a value counts: "bytes", "seconds", or "" for a mere number.
func (m *Metric) Unit() string {
	name := strings.TrimSuffix(m.Name, "_total")
	for _, unit := range []string{"bytes", "seconds"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	return ""
}

// Table returns all metrics, in the order in which they are written.
func Table() []*Metric { return append([]*Metric(nil), table...) }

// table is filled by the declarations below, in their order.
var table []*Metric

func gauge(name, help string, labels ...string) *Metric {
	return add(Gauge, name, help, labels)
}

func counter(name, help string, labels ...string) *Metric {
	return add(Counter, name, help, labels)
}

func add(t Type, name, help string, labels []string) *Metric {
	m := &Metric{Name: "shmem_" + name, Help: help, Type: t, Labels: labels, index: len(table)}
	table = append(table, m)
	return m
}

// The directory as a whole.
var (
	directorySize = gauge("directory_size_bytes",
		"Size of the file system of the directory.")
	directoryAvailable = gauge("directory_available_bytes",
		"Memory that the file system of the directory can still give.")
	directoryInodes = gauge("directory_inodes",
		"Files that there can be in the file system of the directory; 0 means no limit.")
	directoryInodesFree = gauge("directory_inodes_free",
		"Files that can still be created in the file system of the directory.")
	segments = gauge("segments",
		"Files in the directory by state; unreadable means that this process may not read it.",
		"state")
	memory = gauge("memory_bytes",
		"Memory that the files of a state take.", "state")
	segmentsOmitted = gauge("segments_omitted",
		"Files that a scan left out: of other users, beyond the limit, or for lack of time.",
		"reason")
	ownerDeaths = counter("owner_deaths_total",
		"Segments that were found without a living owner, or user, since scans began.")
	findings = gauge("findings",
		"Troubles that shmem check finds, by kind and level.", "kind", "level")
	scanDuration = gauge("scan_duration_seconds",
		"Time that the scan took.")
)

// Every segment.
var (
	info = gauge("segment_info",
		"Always 1; the labels describe the segment.",
		"segment", "kind", "type", "state", "lifetime", "program")
	size = gauge("segment_size_bytes",
		"Size of the value.", "segment")
	inUse = gauge("segment_memory_bytes",
		"Memory that the segment takes, with its control block.", "segment")
	created = gauge("segment_created_timestamp_seconds",
		"When the segment was created, in Unix time.", "segment")
	attachments = gauge("segment_attachments",
		"Attachments that can write, of living processes.", "segment")
	deadAttachments = gauge("segment_dead_attachments",
		"Attachments of dead processes that are not cleaned up yet.", "segment")
	slots = gauge("segment_slots",
		"Attachments that there can be at a time.", "segment")
	orphaned = gauge("segment_orphaned",
		"1 if the owner has died and the segment is still attached to.", "segment")
	changes = counter("segment_changes_total",
		"Changes of the value under the box's lock.", "segment")
	waiters = gauge("segment_waiters",
		"Attachments that wait, by what they wait for.", "segment", "for")
)

// Locks of the box and in the value.
var (
	lockHolders = gauge("lock_holders",
		"Attachments that hold the box's lock, read under it, or hold locks in the value.",
		"segment", "state")
	locksDead = gauge("locks_dead",
		"Locks whose holder died and that are not recovered yet.", "segment")
	lockHeld = gauge("lock_held_seconds",
		"How long a lock was held by the same process at every scan; the longest.", "segment")
)

// Queues and topics.
var (
	leases = gauge("leases",
		"Attachments that are sending or receiving messages in place.", "segment", "direction")
	leasedMessages = gauge("leased_messages",
		"Messages that are being sent or received in place.", "segment", "direction")
	leaseAge = gauge("lease_age_seconds",
		"How long the oldest of these messages is being sent or received.", "segment")
	leasesBlocking = gauge("leases_blocking",
		"Attachments whose message keeps the ring full: nothing can be sent.", "segment")
	ended = gauge("stream_ended",
		"1 after End of the queue or topic.", "segment")

	queueDepth = gauge("queue_depth_messages",
		"Messages sent and not yet received.", "segment")
	queueCapacity = gauge("queue_capacity_messages",
		"Messages that there is room for.", "segment")
	queueSent = counter("queue_sent_messages_total",
		"Messages sent; of a dead-letter queue, the dead letters.", "segment")
	queueReceived = counter("queue_received_messages_total",
		"Messages received.", "segment")
	queueOldestAge = gauge("queue_oldest_message_age_seconds",
		"How long ago the oldest message was sent that waits, in a queue with time stamps.",
		"segment")
	queueDepthBytes = gauge("queue_depth_bytes",
		"Bytes that the messages of a queue.Bytes take.", "segment")
	queueCapacityBytes = gauge("queue_capacity_bytes",
		"Bytes that the messages of a queue.Bytes can take.", "segment")
	queueSentBytes = counter("queue_sent_bytes_total",
		"Bytes sent to a Single queue.Bytes, which counts no messages.", "segment")
	queueReceivedBytes = counter("queue_received_bytes_total",
		"Bytes received from a Single queue.Bytes.", "segment")
	queueSkipped = counter("queue_skipped_total",
		"Messages that were not sent because the sender died; of a Single queue, its deaths.",
		"segment")
	queueRedelivered = counter("queue_redelivered_total",
		"Messages redelivered because the receiver died; of a Single queue, its deaths.",
		"segment")

	topicPublished = counter("topic_published_messages_total",
		"Messages published.", "segment")
	topicCapacity = gauge("topic_capacity_messages",
		"Messages that the topic keeps.", "segment")
	topicLag = gauge("topic_lag_messages",
		"How far the slowest subscriber that holds publishers back is behind.", "segment")
	topicHolds = gauge("topic_holds",
		"Subscribers that hold publishers back.", "segment")
	topicMaxHolds = gauge("topic_holds_limit",
		"Subscribers that can hold publishers back.", "segment")
	topicLost = counter("topic_lost_messages_total",
		"Messages overwritten before a subscriber received them, over all subscribers.",
		"segment")
	topicSkipped = counter("topic_skipped_total",
		"Messages that were not published because the publisher died.", "segment")
	topicReleased = counter("topic_released_holds_total",
		"Holds released because the subscriber died.", "segment")
)

// Maps.
var (
	mapEntries = gauge("map_entries",
		"Entries of the map, with expired ones whose room was not needed yet.", "segment")
	mapCapacity = gauge("map_capacity_entries",
		"Entries that there is room for.", "segment")
	mapChanges = counter("map_changes_total",
		"Changes of the map.", "segment")
	mapEvicted = counter("map_evicted_entries_total",
		"Entries that were removed to make room.", "segment")
	mapExpired = counter("map_expired_entries_total",
		"Expired entries that were removed to make room.", "segment")
	mapRepaired = counter("map_repaired_total",
		"Changes that dead processes had left half done.", "segment")
)

// Caches.
var (
	cacheEntries = gauge("cache_entries",
		"Entries of the cache, with expired ones whose room was not needed yet.", "segment")
	cacheBytes = gauge("cache_bytes",
		"Bytes of the keys and values of the cache.", "segment")
	cacheSize = gauge("cache_size_bytes",
		"Memory of entries and index of the cache.", "segment")
	cacheReads = counter("cache_reads_total",
		"Reads of the cache, by what they found: hit or miss.", "segment", "result")
	cacheChanges = counter("cache_changes_total",
		"Changes of the cache.", "segment")
	cacheEvicted = counter("cache_evicted_entries_total",
		"Entries that were removed to make room.", "segment")
	cacheExpired = counter("cache_expired_entries_total",
		"Expired entries that were removed to make room.", "segment")
	cacheRepaired = counter("cache_repaired_total",
		"Times that a process had died over a change of the cache.", "segment")
)

// Services of calls.
var (
	serviceServers = gauge("service_servers",
		"Processes that serve.", "segment")
	serviceClients = gauge("service_clients",
		"Processes that have calls now.", "segment")
	serviceCapacity = gauge("service_capacity_calls",
		"Calls that there is room for at a time.", "segment")
	serviceWaiting = gauge("service_waiting_calls",
		"Calls that no server has begun.", "segment")
	serviceRunning = gauge("service_running_calls",
		"Calls whose handlers run.", "segment")
	serviceOldest = gauge("service_oldest_call_seconds",
		"How long the oldest of these calls has been there; 0: there is none.", "segment")
	serviceHandled = counter("service_handled_calls_total",
		"Calls that were replied to.", "segment")
	serviceFailed = counter("service_failed_calls_total",
		"Calls for which the handler returned an error.", "segment")
	serviceFreed = counter("service_freed_calls_total",
		"Calls whose clients died.", "segment")
	serviceRequeued = counter("service_requeued_calls_total",
		"Calls that went to another server when theirs died.", "segment")
)

// Pools of buffers.
var (
	poolSize = gauge("pool_size_bytes",
		"Memory of the buffers of the pool.", "segment")
	poolUsed = gauge("pool_used_bytes",
		"Memory of the buffers that are taken.", "segment")
	poolFullest = gauge("pool_fullest_ratio",
		"Part of the buffers that is taken, of the size of which the largest part is.", "segment")
	poolTaken = counter("pool_taken_buffers_total",
		"Times that a buffer was taken.", "segment")
	poolInFlight = gauge("pool_in_flight_buffers",
		"Shares of buffers that were handed over and not resolved yet.", "segment")
	poolDead = counter("pool_dead_shares_total",
		"Shares of buffers that were removed because their process died.", "segment")
	poolExpired = counter("pool_expired_shares_total",
		"Shares that were handed over and removed because they were not resolved in time.",
		"segment")
)

// This process; see Options.Process.
var (
	spinLimit = gauge("process_spin_limit",
		"Goroutines of this process that may spin at a time.")
	spinning = gauge("process_spinning",
		"Goroutines of this process that spin now.")
	spins = counter("process_spins_total",
		"Waits of this process by what spinning did: paid, in vain, or skipped.", "result")
	spinTime = counter("process_spin_seconds_total",
		"Time that spinning took in this process.")
)
