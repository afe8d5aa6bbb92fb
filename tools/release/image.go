package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// The media types of the OCI image specification, version 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// descriptor is how one blob names another.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *imagePlatform    `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type imagePlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

type imageConfig struct {
	Created time.Time `json:"created"`
	imagePlatform
	Config runConfig `json:"config"`
	RootFS rootFS    `json:"rootfs"`
}

type runConfig struct {
	User       string
	Env        []string
	Entrypoint []string
	Cmd        []string
	WorkingDir string
	Volumes    map[string]struct{}
	Labels     map[string]string
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// layout collects the blobs of an image.
type layout map[string]entry

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (l layout) add(mediaType string, data []byte) descriptor {
	sum := digest(data)
	l["blobs/sha256/"+sum] = entry{data: data, mode: 0o644}
	return descriptor{MediaType: mediaType, Digest: "sha256:" + sum, Size: len(data)}
}

func (l layout) addJSON(mediaType string, v any) (descriptor, error) {
	data, err := json.Marshal(v)
	return l.add(mediaType, data), err
}

// imageName is what the image is called once it is loaded. The registry is one that no
// engine asks.
func imageName(version string) string { return "localhost/nanoclaw:" + version }

// Whom the program runs as in a container, and where it keeps everything. As an
// ordinary user it needs no capability to build its boundaries.
const (
	imageUser = 1000
	imageHome = "/home/nanoclaw"
)

// image writes an OCI image layout with one layer: the program, and the little without
// which it could not look around. No system is in it, so no agent can work in it; it
// is to be built upon, or copied from. What the boundary can do in a container depends on
// how that is started, see docs/releases.md.
func (r *release) image(p platform, program []byte) error {
	layer, err := tarball(map[string]entry{
		"usr/bin/nanoclaw": {data: program, mode: 0o755},
		"etc/passwd":       {data: fmt.Appendf(nil, "root:x:0:0:root:/root:/sbin/nologin\nnanoclaw:x:%d:%[1]d::%s:/sbin/nologin\n", imageUser, imageHome), mode: 0o644},
		"etc/group":        {data: fmt.Appendf(nil, "root:x:0:\nnanoclaw:x:%d:\n", imageUser), mode: 0o644},
		"home/nanoclaw":    {mode: 0o700, dir: true, uid: imageUser},
		"tmp":              {mode: 0o1777, dir: true},
	}, r.epoch)
	if err != nil {
		return err
	}
	zipped, err := zip(layer)
	if err != nil {
		return err
	}
	blobs := layout{}
	at := imagePlatform{p.arch, p.os}
	config, err := blobs.addJSON(typeConfig, imageConfig{
		Created: r.epoch, imagePlatform: at,
		Config: runConfig{
			User:       fmt.Sprintf("%d:%[1]d", imageUser),
			Env:        []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + imageHome, "NANOCLAW_HOME=" + imageHome + "/nanoclaw"},
			Entrypoint: []string{"/usr/bin/nanoclaw"}, Cmd: []string{"doctor"}, WorkingDir: imageHome, Volumes: map[string]struct{}{imageHome: {}},
			Labels: map[string]string{"org.opencontainers.image.title": "nanoclaw", "org.opencontainers.image.version": r.version, "org.opencontainers.image.licenses": "Apache-2.0"},
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return err
	}
	main, err := blobs.addJSON(typeManifest, manifest{SchemaVersion: 2, MediaType: typeManifest, Config: &config, Layers: []descriptor{blobs.add(typeLayer, zipped)}})
	if err != nil {
		return err
	}
	main.Platform = &at
	main.Annotations = map[string]string{"org.opencontainers.image.ref.name": imageName(r.version)}
	index, err := json.Marshal(manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{main}})
	if err != nil {
		return err
	}
	files := maps.Clone(blobs)
	files["oci-layout"] = entry{data: []byte(`{"imageLayoutVersion": "1.0.0"}`), mode: 0o644}
	files["index.json"] = entry{data: index, mode: 0o644}
	data, err := tarball(files, r.epoch)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.name(p, ".oci.tar")), data, 0o644)
}
