package main

// examples are command lines for each verb: --help and the man page show them, and a test parses
// them.
var examples = map[string][]string{
	"ls": {
		"shmem ls",
		"shmem ls 'psm_*' --sort size",
		"shmem ls --json | jq -r '.[].name'",
	},
	"stat": {"shmem stat config", "shmem stat --json config | jq .lock"},
	"cat": {
		"shmem cat config",
		"shmem cat config 'Routes[0].Name'",
		"shmem cat --json config",
	},
	"set":   {"shmem set config Limit=0x40 'Routes[0]={\"Name\":\"up\"}'"},
	"watch": {"shmem watch config", "shmem watch --json config Limit"},
	"top":   {"shmem top", "shmem top -n 1", "shmem top --json -i 10s"},
	"serve": {
		"shmem serve",
		"shmem serve --listen 127.0.0.1:8080 --values",
		"shmem serve --listen unix:/run/shmem.sock",
	},
	"pump": {
		"seq 10 | shmem pump numbers",
		"shmem tail --json ticks | shmem pump --json copy",
	},
	"tail":   {"shmem tail --wait numbers", "shmem tail --json --from oldest ticks"},
	"record": {"shmem record ticks ticks.rec", "shmem record --json jobs -"},
	"replay": {"shmem replay ticks.rec ticks --speed 10"},
	"diff":   {"shmem diff config 10s", "shmem diff --json config 1s Routes"},
	"gc":     {"shmem gc -n", "shmem gc", "shmem gc --foreign -n"},
	"rm":     {"shmem rm -n config", "shmem rm --force config"},
	"check": {
		"shmem check",
		"shmem check --watch --level warning",
		"shmem --containers check",
	},
	"ps":         {"shmem ps", "shmem ps 4711", "shmem --pid 4711 ps"},
	"recover":    {"shmem recover config", "shmem recover config Mu"},
	"doctor":     {"shmem doctor"},
	"gen":        {"shmem gen c config", "shmem gen python config"},
	"completion": {"shmem completion bash"},
	"version":    {"shmem version", "shmem version --json"},
	"man":        {"shmem man | man -l -"},
}
