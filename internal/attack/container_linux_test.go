package attack

import (
	"bytes"
	"os/exec"
	"testing"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/boundary/podmantest"
)

// hollow is the image: the grant mounts this machine's system into it.
const hollow = "localhost/hollow:latest"

// Every line comes out as it says in containers of a real podman too, and with
// gVisor's runsc as its OCI runtime where that is installed.
func TestCatalogueInContainers(t *testing.T) {
	p := podmantest.New(t)
	p.Hollow(hollow)
	runtimes := map[string]string{"podman": ""}
	if path, err := exec.LookPath("runsc"); err == nil {
		runtimes["podman with runsc"] = path
	}
	for name, runtime := range runtimes {
		t.Run(name, func(t *testing.T) {
			engine, err := boundary.NewContainer(boundary.PodmanEngine, boundary.Options{
				Init: bytes.NewReader(boundarytest.Init(t)), Dir: openDir(t),
				Container: boundary.ContainerOptions{Program: p.Program, Env: p.Env, Image: hollow, Install: "attack", Runtime: runtime},
			})
			if err != nil {
				t.Fatal(err)
			}
			tryCatalogue(t, optionsOf(t, engine))
		})
	}
}
