package delayed

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A scan costs time for each name, and more for each folder.
func BenchmarkScan(b *testing.B) {
	for _, folders := range []int{10, 1000} {
		dir := tree(b, ".git/HEAD", ".git/config")
		const files = 10
		for i := range folders {
			sub := filepath.Join(dir, fmt.Sprintf("d%d", i/100), fmt.Sprint(i))
			must(b, os.MkdirAll(sub, 0o755))
			for j := range files {
				must(b, os.WriteFile(filepath.Join(sub, fmt.Sprintf("file%d.go", j)), nil, 0o644))
			}
		}
		b.Run(fmt.Sprintf("%d files in %d folders", folders*files, folders), func(b *testing.B) {
			for b.Loop() {
				if s := scanOf(b, dir, Before); s.Short != "" {
					b.Fatal(s.Short)
				}
			}
		})
	}
}
