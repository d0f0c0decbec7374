package metrics_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/metrics"
)

// A program serves its metrics to Prometheus, without another package.
func Example_handler() {
	scanner := metrics.New(&metrics.Options{Process: true})
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		var text bytes.Buffer
		if err := scanner.WriteText(&text); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", metrics.ContentType)
		_, _ = w.Write(text.Bytes())
	})
}

func ExampleScanner_Scan() {
	dir, err := os.MkdirTemp("/dev/shm", "example-")
	if err != nil {
		return
	}
	defer os.RemoveAll(dir)
	box, err := shmem.Create[uint64]("hits", &shmem.Options{Dir: dir})
	if err != nil {
		return
	}
	defer box.Close()

	samples, err := metrics.New(&metrics.Options{Dir: dir}).Scan()
	if err != nil {
		return
	}
	for _, s := range samples {
		if s.Metric.Name == "shmem_segment_attachments" {
			fmt.Println(s.Metric.Name, s.Labels, s.Value)
		}
	}
	// Output: shmem_segment_attachments [hits] 1
}
