module github.com/shmembox/shmem/bench

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // latencies
	github.com/edsrzf/mmap-go v1.2.0 // a contender: opening
	github.com/gofrs/flock v0.13.2 // a contender: locks
	github.com/shmembox/shmem v0.0.0
	github.com/shmembox/shmem/blob/blobgrpc v0.0.0
	golang.org/x/perf v0.0.0-20260908200009-22c9c6c9d4da // compare: significance
	golang.org/x/sys v0.49.0 // what the contenders by hand call
	gonum.org/v1/plot v0.17.0 // -svg
)

require (
	github.com/VictoriaMetrics/fastcache v1.13.2 // a contender: caches
	github.com/coocood/freecache v1.2.4 // a contender: caches
)

require (
	github.com/bradfitz/gomemcache v0.0.0-20260422231931-4d751bb6e37c
	github.com/gomodule/redigo v1.9.3
	github.com/maypok86/otter/v2 v2.4.0
	github.com/puzpuzpuz/xsync/v4 v4.5.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/golang/snappy v1.0.0 // indirect
	golang.org/x/image v0.46.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
)

replace github.com/shmembox/shmem => ../

replace github.com/shmembox/shmem/blob/blobgrpc => ../blob/blobgrpc
