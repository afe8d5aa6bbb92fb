package attack

import (
	"bytes"
	"os"
	"testing"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/boundary/dockertest"
	"nanoclaw/internal/boundary/podmantest"
)

// hollow is the image: the grant mounts this machine's system into it.
const hollow = "localhost/hollow:latest"

// Every line comes out as it says in containers of a real podman too, and in those that
// have gVisor's kernel, where its runsc is installed.
func TestCatalogueInContainers(t *testing.T) {
	p := podmantest.New(t)
	p.Hollow(hollow)
	with := boundary.ContainerOptions{Program: p.Program, Env: p.Env}
	t.Run("podman", func(t *testing.T) { tryCatalogue(t, contained(t, boundary.PodmanEngine, with)) })
	if with.Runtime = podmantest.Runsc(); with.Runtime != "" && os.Geteuid() == 0 { // an ordinary user's is refused here
		t.Run("podman with gVisor", func(t *testing.T) { tryCatalogue(t, contained(t, boundary.PodmanEngine, with)) })
	}
}

// And in those of a real docker, whose daemon only root can start.
func TestCatalogueInDocker(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	d := dockertest.New(t)
	d.Hollow(hollow)
	tryCatalogue(t, contained(t, boundary.DockerEngine, boundary.ContainerOptions{Program: d.Program, Env: d.Env}))
}

// contained are the options of a run in containers.
func contained(t *testing.T, engine string, with boundary.ContainerOptions) Options {
	t.Helper()
	with.Image, with.Install = hollow, "attack"
	e, err := boundary.NewContainer(engine, boundary.Options{Init: bytes.NewReader(boundarytest.Init(t)), Dir: openDir(t), Container: with})
	if err != nil {
		t.Fatal(err)
	}
	return optionsOf(t, e)
}
