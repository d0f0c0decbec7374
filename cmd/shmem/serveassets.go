package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"
)

//go:embed page
var page embed.FS

// kinds are the media types of assets. The tables of the machine do not count.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// assets are the files of the page, by their names.
var assets = loadAssets()

// An asset is a file that browsers keep, and ask for again by its tag.
type asset struct {
	name, kind, tag string
	bytes           []byte
}

func loadAssets() map[string]*asset {
	all := map[string]*asset{}
	files, err := page.ReadDir("page")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, f := range files {
		b, err := page.ReadFile("page/" + f.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(b)
		all[f.Name()] = &asset{f.Name(), kinds[path.Ext(f.Name())],
			`"` + hex.EncodeToString(sum[:8]) + `"`, b}
	}
	return all
}

// ServeHTTP answers with the file, or says that the browser has it.
func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache") // keep it, and ask
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("ETag", a.tag)
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.bytes))
}
