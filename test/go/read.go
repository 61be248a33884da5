// Reads and verifies a whole tlog-tiles log with the code of Go's checksum database alone: read <url> <Ed25519 vkey>.
package main

import (
	"encoding/binary"
	"fmt"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"io"
	"net/http"
	"os"
	"strings"
)

type reader map[string][]byte // what was read, by address

func try[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
func (r reader) get(path string) []byte {
	if r[path] == nil { // whatever comes instead of the resource will not verify
		r[path] = try(io.ReadAll(try(http.Get(os.Args[1] + path)).Body))
	}
	return r[path]
}
func (r reader) Height() int                     { return 8 }
func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r reader) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles { // tile/8/0/001 there is tile/0/001 here, and a data tile an entry bundle
		data = append(data, r.get(strings.NewReplacer("tile/8/data/", "/tile/entries/", "tile/8/", "/tile/").Replace(t.Path())))
	}
	return data, nil
}
func main() {
	log, tree, origin, root, read := reader{}, tlog.Tree{}, "", "", int64(0)
	signed := try(note.Open(log.get("/checkpoint"), note.VerifierList(try(note.NewVerifier(os.Args[2])))))
	try(fmt.Sscan(signed.Text, &origin, &tree.N, &root))
	tree.Hash = try(tlog.ParseHash(root))
	hashes := tlog.TileHashReader(tree, log)
	for _, tile := range tlog.NewTiles(8, 0, tree.N) {
		if tile.L > 0 {
			continue
		}
		entries := try(log.ReadTiles([]tlog.Tile{{H: 8, L: -1, N: tile.N, W: tile.W}}))[0]
		for n := tile.N * 256; len(entries) > 0; n++ {
			end := 2 + int(binary.BigEndian.Uint16(entries))
			leaf, old := tlog.RecordHash(entries[2:end]), try(tlog.TreeHash(n+1, hashes))
			try(0, tlog.CheckRecord(try(tlog.ProveRecord(tree.N, n, hashes)), tree.N, tree.Hash, n, leaf))
			try(0, tlog.CheckTree(try(tlog.ProveTree(tree.N, n+1, hashes)), tree.N, tree.Hash, n+1, old))
			entries, read = entries[end:], n+1
		}
	}
	fmt.Println("verified", origin, read, "of", tree.N, root)
}
